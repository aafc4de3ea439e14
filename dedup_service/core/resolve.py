"""What the clean stream says about copies in doubt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from dedup_service.core.events import Origin
from dedup_service.core.input_log import InputLog
from dedup_service.core.outgoing import DUPLICATE_PROPERTY, INDEXES_PROPERTY, ORIGIN_PROPERTY


def published_origins(events: Iterable[Mapping[str, Any]], log: InputLog) -> Iterator[Origin]:
    """The copies of one input log that these clean events carry as winners.

    They are found by origin, never by key, because in mode `mark` a duplicate has the winner's key. Events that this service
    did not write are skipped.
    """
    prefix = log.event_text(0).removesuffix("0")
    for properties in events:
        origin, indexes = properties.get(ORIGIN_PROPERTY), properties.get(INDEXES_PROPERTY)
        if not isinstance(origin, str) or not isinstance(indexes, str) or not origin.startswith(prefix):
            continue
        if properties.get(DUPLICATE_PROPERTY):
            continue
        number = origin.removeprefix(prefix)
        if number.isdecimal():
            yield from (log.origin(int(number), index) for index in indexes_of(indexes))


def indexes_of(text: str) -> Iterator[int]:
    """Those that `ranges` wrote; what is no number is left out."""
    for span in text.split(","):
        first, _, last = span.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            yield from range(int(first), int(last or first) + 1)
