"""What a format sees of an event, and what it finds there. Pure values; nothing of a service or an SDK."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import msgspec

Path = tuple[str | int, ...]
"""Names of members and indexes of elements, from the root of the body to a part of it; () is the whole body. Where a
text in it is itself JSON (also in base64), the path goes on inside that text."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One event. All of it comes from outside, and is hostile."""

    body: bytes
    """With all content codings undone."""
    content_type: str | None = None
    properties: Mapping[str, Any] = {}
    """Application properties, set by the sender."""
    system: Mapping[str, Any] = {}
    """`message-id`, `correlation-id`, `user-id`, `creation-time` and the like, set by the sender, too."""
    annotations: Mapping[str, Any] = {}
    """Set by the hub."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """A copy of a reading."""

    place: Path
    """The part of the body that is left out where this copy is a duplicate."""
    source: str
    """What gives readings of this kind, named by what is the same on every gateway."""
    value: Any
    """What two copies must agree on: the value and the status, as JSON, numbers by number and without times."""
    time_ns: int | None = None
    """Source time in ns since 1970; None where the sender gives none."""
    data: Any = None
    """What the strategies `content` and `sequence` look at; usually the part at `place`."""
    is_repetition: bool = False
    """Whether the sender itself says that it repeats an old value (a heartbeat)."""
    fixed: tuple[int, ...] = ()
    """Indexes into `place`, of array positions that name something: where the rest is left out, they must not move."""
    is_event: bool = False
    """Whether it is an event, not a value: its identity is what it says (`data`), whatever the strategy of values is."""


class NotReading(msgspec.Struct, frozen=True, gc=False):
    """A part of the body that is no reading, and passes as it is: metadata, keep-alives, states."""

    place: Path
    what: str
    """Such as `metadata`, for people and for counters; from a fixed set."""


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A part of the body, or all of it, that should be a reading and can't be one."""

    place: Path
    reason: str
    """From a fixed set; a metric label."""
    detail: str
    fixed: tuple[int, ...] = ()
    """See Found."""


Part = Found | NotReading | Refused


class Format(Protocol):
    """One format with its options."""

    @property
    def name(self) -> str: ...

    def read(self, message: Message) -> Iterator[Part]:
        """Every part of the message once, in the order of the body; at least one. Never raises; takes time linear in the
        body's size."""
        ...
