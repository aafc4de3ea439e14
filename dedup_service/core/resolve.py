"""What the clean stream says about copies in doubt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from dedup_service.core.events import Origin
from dedup_service.core.extract import MAX_READINGS
from dedup_service.core.input_log import InputLog
from dedup_service.core.outgoing import DUPLICATE_PROPERTY, INDEXES_PROPERTY, ORIGIN_PROPERTY

_SPAN = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


class PublishedOrigins:
    """Finds the copies of one input log that clean events carry as winners.

    They are found by origin, never by key, because in mode `mark` a duplicate has the winner's key. Events that this service
    did not write are skipped.
    """

    def __init__(self, log: InputLog, behind: int = -1) -> None:
        """Copies up to the sequence number `behind` are left out."""
        self._log = log
        self._prefix = log.event_text(0).removesuffix("0")
        self._behind = behind

    def of(self, properties: Mapping[str, Any]) -> list[Origin]:
        """Those of one event, by its application properties."""
        origin, indexes = properties.get(ORIGIN_PROPERTY), properties.get(INDEXES_PROPERTY)
        if not isinstance(origin, str) or not isinstance(indexes, str) or not origin.startswith(self._prefix):
            return []
        number = origin.removeprefix(self._prefix)
        if properties.get(DUPLICATE_PROPERTY) or not number.isdecimal() or int(number) <= self._behind:
            return []
        return [self._log.origin(int(number), index) for index in indexes_of(indexes)]


def indexes_of(text: str) -> Iterator[int]:
    """Those that `ranges` wrote; what is none of an event's is left out. No more than an event may have, since anybody may
    write to the clean hub."""
    return islice(_all_indexes_of(text), MAX_READINGS)


def _all_indexes_of(text: str) -> Iterator[int]:
    for span in text.split(","):
        if found := _SPAN.fullmatch(span):
            first, last = int(found[1]), int(found[2] or found[1])
            yield from range(first, min(last + 1, MAX_READINGS))
