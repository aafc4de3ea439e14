"""What a notification is: a reading, or something to be counted. Pure.

Source: OPC 10000-4, 7.39 (status codes) and 7.22.2 (overflow).
"""

from __future__ import annotations

import json
from typing import Any, Literal

from asyncua import ua

from edge_sender.counters import Loss, Skip
from edge_sender.sources.opcua.decoding import Change
from edge_sender.sources.opcua.values import UnencodableError, plain
from wire.ids import Sample
from wire.times import nanoseconds

Payload = Literal["value", "json"]

INFO_TYPE, IS_DATA_VALUE = 0xC00, 0x400
OVERFLOW = 0x80
INFO_BITS = 0x3FF


class NoReadingError(Exception):
    """The notification is no reading; `reason` says how to count it."""

    def __init__(self, reason: Loss | Skip, why: str) -> None:
        super().__init__(why)
        self.reason: Loss | Skip = reason


def sample_of(change: Change, uri: str, payload: Payload) -> Sample:
    """The reading, also of a null or a bad status, which a machine that drops out has. Raises NoReadingError."""
    if change.problem is not None:
        raise NoReadingError("undecodable", change.problem)
    if change.value is None and change.status == ua.StatusCodes.BadWaitingForInitialData:
        raise NoReadingError("waiting", "the server has no value yet")
    try:
        data = _data(change, payload)
    except (UnencodableError, RecursionError) as error:
        raise NoReadingError("unencodable", str(error)) from None
    return Sample(uri, _time_ns(change.source_ticks), data)


def has_overflowed(status: int) -> bool:
    """Whether the server dropped readings before this one, because the item's queue was full."""
    return status & INFO_TYPE == IS_DATA_VALUE and bool(status & OVERFLOW)


def without_overflow(status: int) -> int:
    """The status as a server that dropped nothing gives it: a gateway's own loss must not make its copy differ."""
    if not has_overflowed(status):
        return status
    status &= ~OVERFLOW
    return status if status & INFO_BITS else status & ~INFO_TYPE


def _data(change: Change, payload: Payload) -> Any:
    if payload == "json" and isinstance(change.value, str | bytes):
        try:
            return json.loads(change.value)
        except (ValueError, RecursionError):
            pass  # it is sent as the text that it is
    return {"value": plain(change.value), "status": without_overflow(change.status)}


def _time_ns(ticks: int | None) -> int | None:
    """The library's microseconds, of which ids are made. 1601, where its count begins, is how servers write no time."""
    return None if ticks is None or ticks <= 0 else nanoseconds(ua.win_epoch_to_datetime(ticks))
