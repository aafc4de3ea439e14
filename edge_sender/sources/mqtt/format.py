"""What a message says: its source, its time and its data. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edge_sender.sources.misfits import Misfit
from edge_sender.sources.payloads import as_text, decode_json, text_of
from wire.ids import Sample
from wire.times import TimeFormat, parse_time
from wire.uris import encoded, joined


@dataclass(frozen=True, slots=True)
class MqttFormat:
    topics: tuple[str, ...]
    uri_prefix: str
    """The source's URI is this prefix followed by the topic: the same on every replica, whichever broker it uses."""
    time: str | None
    """Member of the payload that holds the source time. The time of arrival is never used."""
    time_format: TimeFormat

    @property
    def reasons(self) -> tuple[str, ...]:
        """Of misfits, beside `unusable`."""
        return ()

    def samples(self, topic: str, payload: bytes) -> Iterator[Sample | Misfit]:
        """Whatever a message holds, it raises nothing."""
        try:
            yield self.sample(topic, payload)
        except (ValueError, ArithmeticError, RecursionError) as error:
            yield Misfit("unusable", str(error))

    def commands(self) -> Sequence[tuple[str, bytes]]:
        """What is to be published now: (topic, payload)."""
        return ()

    def sample(self, topic: str, payload: bytes) -> Sample:
        """Raises ValueError for a topic that makes no URI."""
        text = _text(payload)
        data = payload.hex() if text is None else _json_or_text(text)
        time_ns = self._time_ns(text) if self.time is not None and isinstance(data, dict) and text is not None else None
        return Sample(joined(self.uri_prefix, encoded(topic)), time_ns, data)

    def _time_ns(self, text: str) -> int | None:
        """From the number as it stands in the payload; a double would not hold all its digits."""
        try:
            return parse_time(text_of(as_text(text)[self.time]), self.time_format)
        except (KeyError, ValueError):
            return None


def _text(payload: bytes) -> str | None:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def _json_or_text(text: str) -> Any:
    """What is nested too deeply is text, too."""
    try:
        return decode_json(text.removeprefix("\ufeff"))
    except ValueError:
        return text
