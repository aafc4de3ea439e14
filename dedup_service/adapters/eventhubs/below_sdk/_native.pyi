"""What native.c compiles to. Both functions return None for what is unusual."""

from typing import Any

from dedup_service.core.events import InputEvent
from dedup_service.core.property_types import Long, MessageId, Timestamp

def configure(event: type[InputEvent], timestamp: type[Timestamp], long: type[Long], /) -> None:
    """To be called first: the types of what `decode` makes."""

def decode(partition_id: str, data: bytes, at: int, end: int, /) -> InputEvent | None: ...
def encode(
    body: bytes,
    message_id: MessageId | None,
    correlation_id: MessageId | None,
    content_type: str | None,
    content_encoding: str | None,
    properties: Any,
    /,
) -> bytes | None: ...
