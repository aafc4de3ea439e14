"""What native.c compiles to. `decode` and `encode` return None for what is unusual; `events` stops before it."""

from typing import Any

from dedup_service.core.events import InputEvent
from dedup_service.core.property_types import Long, MessageId, Timestamp

def configure(event: type[InputEvent], timestamp: type[Timestamp], long: type[Long], /) -> None:
    """To be called first: the types of what `decode` makes."""

def decode(partition_id: str, data: bytes, at: int, end: int, /) -> InputEvent | None: ...
def events(
    partition_id: str, data: bytes, at: int, most: int, until: int, channel: int, handle: int, /
) -> tuple[list[InputEvent], int]: ...
def encode(
    body: bytes,
    message_id: MessageId | None,
    correlation_id: MessageId | None,
    content_type: str | None,
    content_encoding: str | None,
    properties: Any,
    /,
) -> bytes | None: ...
