"""What a notification is: a reading, or something to be counted. Pure.

Source: OPC 10000-4, 7.39 (status codes) and 7.22.2 (overflow).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asyncua import ua

from edge_sender.config.nodes import Payload, TimeChoice
from edge_sender.counters import Loss, Skip
from edge_sender.sources.opcua.decoding import NULL, Change
from edge_sender.sources.opcua.json_encoding import Values, text_in
from edge_sender.sources.opcua.times import time_ns
from edge_sender.sources.payloads import decode_json
from wire.ids import Sample

INFO_TYPE, IS_DATA_VALUE = 0xC00, 0x400
OVERFLOW = 0x80
INFO_BITS = 0x3FF


@dataclass(frozen=True, slots=True)
class Form:
    """What of a notification becomes the reading."""

    payload: Payload = "value"
    time: TimeChoice = "source"


class NoReadingError(Exception):
    """The notification is no reading; `reason` says how to count it."""

    def __init__(self, reason: Loss | Skip, why: str) -> None:
        super().__init__(why)
        self.reason: Loss | Skip = reason


def sample_of(change: Change, uri: str, form: Form, values: Values) -> Sample:
    """The reading, also of a null or a bad status, which a machine that drops out has. Raises NoReadingError."""
    try:
        data = _data(change, form.payload, values)
    except ValueError as error:
        raise NoReadingError("undecodable", str(error)) from None
    if change.status == ua.StatusCodes.BadWaitingForInitialData and change.variant == NULL:
        raise NoReadingError("waiting", "the server has no value yet")
    return Sample(uri, _time_ns(change, form.time), data)


def _time_ns(change: Change, choice: TimeChoice) -> int | None:
    source = None if choice == "server" else time_ns(change.source_ticks)
    return source if source is not None or choice == "source" else time_ns(change.server_ticks)


def has_overflowed(status: int) -> bool:
    """Whether the server dropped readings before this one, because the item's queue was full."""
    return status & INFO_TYPE == IS_DATA_VALUE and bool(status & OVERFLOW)


def without_overflow(status: int) -> int:
    """The status as a server that dropped nothing gives it: a gateway's own loss must not make its copy differ."""
    if not has_overflowed(status):
        return status
    status &= ~OVERFLOW
    return status if status & INFO_BITS else status & ~INFO_TYPE


def _data(change: Change, payload: Payload, values: Values) -> Any:
    if payload == "json" and (text := text_in(change.variant)) is not None:
        try:
            return decode_json(text.decode().removeprefix("\ufeff"))
        except ValueError:
            pass  # it is sent as the text that it is
    return {"value": values.json(change.variant), "status": without_overflow(change.status)}
