"""Finds the notifications in a Publish response, and the values in a Read response. A value stays encoded, so that one which
can't be decoded costs itself and not its message. Pure.

Source: OPC 10000-6, 5.2 (binary encoding); OPC 10000-4, 5.10.2 (Read), 5.13.5 (Publish) and 7.20 (notifications).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from asyncua import ua

from edge_sender.sources.opcua.walking import Walker

T = TypeVar("T")

DATA_CHANGE = ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary
EVENTS = ua.ObjectIds.EventNotificationList_Encoding_DefaultBinary
NULL = b"\x00"
"""A Variant without a value."""
STATUS_CHANGE = ua.ObjectIds.StatusChangeNotification_Encoding_DefaultBinary


@dataclass(frozen=True, slots=True)
class Change:
    """A notification of a monitored item."""

    handle: int
    variant: bytes = NULL
    """The value, encoded."""
    status: int = 0
    source_ticks: int | None = None
    """Source time in units of 100 ns since 1601."""
    server_ticks: int | None = None
    """The server's time, in the same units."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a monitored item."""

    handle: int
    fields: tuple[bytes, ...]
    """In the order in which they were asked for, each encoded as a Variant."""


@dataclass(slots=True)
class Message:
    """A notification message. `number` is its sequence number, of a keep-alive that of the next message."""

    subscription: int
    number: int
    changes: list[Change] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """Changes of the subscription's own status."""
    unreadable: int = 0
    """Number of notifications behind one whose end can't be found; they are lost with it."""
    is_keep_alive: bool = True


def publish_result(body: bytes) -> Message:
    """The message in the parameters of a Publish response. Raises ValueError."""
    walker = Walker(body)
    subscription = walker.uint32()
    walker.skip(4 * max(0, walker.int32()))  # the numbers that can be sent again: a Republish tells it just as well
    walker.skip(1)  # whether more are waiting: they are sent with the next answers in any case
    return notification_message(subscription, walker)


def read_result(body: bytes, handles: Sequence[int]) -> list[Change]:
    """The values in a Read response, as changes of the items that were asked for in this order. Raises ValueError."""
    walker = Walker(body)
    if (size := walker.int32()) != len(handles):
        raise ValueError(f"{size} results for {len(handles)} nodes")
    return [_data_value(walker, handle) for handle in handles]


def notification_message(subscription: int, walker: Walker) -> Message:
    """Raises ValueError."""
    message = Message(subscription, walker.uint32())
    walker.skip(8)  # the time of publishing
    for _ in range(max(0, walker.int32())):
        message.is_keep_alive = False
        type_id, body = walker.extension_object()
        _decode(message, type_id, body)
    return message


def _decode(message: Message, type_id: int, body: bytes) -> None:
    walker = Walker(body)
    if type_id == DATA_CHANGE:
        message.unreadable += _take(walker, _change, message.changes)
    elif type_id == EVENTS:
        message.unreadable += _take(walker, _event, message.events)
    elif type_id == STATUS_CHANGE:
        message.statuses.append(walker.uint32())
    else:
        message.unreadable += 1


def _take(walker: Walker, decode: Callable[[Walker], T], taken: list[T]) -> int:
    """Decode an array; return how many of its elements are lost behind one whose end can't be found."""
    count = max(0, walker.int32())
    for done in range(count):
        try:
            taken.append(decode(walker))
        except ValueError:
            return count - done
    return 0


def _event(walker: Walker) -> Event:
    """Raises ValueError, if its end can't be found."""
    handle, fields = walker.uint32(), []
    for _ in range(max(0, walker.int32())):
        start = walker.at
        walker.variant()
        fields.append(walker.data[start : walker.at])
    return Event(handle, tuple(fields))


def _change(walker: Walker) -> Change:
    """Raises ValueError, if its end can't be found."""
    return _data_value(walker, walker.uint32())


def _data_value(walker: Walker, handle: int) -> Change:
    """Raises ValueError, if its end can't be found."""
    mask = walker.byte()
    variant = NULL
    if mask & 0x01:
        start = walker.at
        walker.variant()
        variant = walker.data[start : walker.at]
    status = walker.uint32() if mask & 0x02 else 0
    source_ticks = walker.int64() if mask & 0x04 else None
    walker.skip(2 if mask & 0x10 else 0)  # picoseconds
    server_ticks = walker.int64() if mask & 0x08 else None
    walker.skip(2 if mask & 0x20 else 0)
    return Change(handle, variant, status, source_ticks, server_ticks)
