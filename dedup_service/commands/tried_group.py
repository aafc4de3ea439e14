"""What `run` would make of the messages of one group. Pure.

The service's own code decides (processing/admission.py); here its answer is only told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dedup_service.commands.tried import Copy, Numbered, Place, Tried, pointer
from dedup_service.core.dead_letters import DETAIL_PROPERTY
from dedup_service.core.events import MESSAGE_SOURCE, UNKNOWN_REPLICA, BadReading, Extraction, Reading
from dedup_service.core.extract import JSON_ERRORS
from dedup_service.core.groups import Group, Groups
from dedup_service.core.input_log import InputLog
from dedup_service.processing.admission import NOT_TELEMETRY, SOURCE_NOT_ALLOWED, Admission
from dedup_service.processing.event_work import EventWork
from wire.formats.messages import Found, NotReading, Path
from wire.formats.minting import Minted
from wire.times import parse_rfc3339

LOG = InputLog(0, 0)
CONTENT = "content"
"""The strategy of events, whatever that of values is (wire/formats/minting.py)."""


@dataclass(frozen=True, slots=True)
class GroupTrial:
    admission: Admission
    group: Group
    strategy: str
    """What tells readings of a source apart."""
    _alone: Groups = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_alone", Groups([self.group]))

    def try_messages(self, name: str, events: Sequence[Numbered]) -> Tried:
        tried = Tried(name, len(events), passes_on=self.group.passes_on_not_readings)
        for number, event in events:
            work = self.admission.admit(event, LOG)
            if reason := self._why_ignored(work):
                tried.ignored.append(((number, ""), reason))
            elif work.group is None:  # refused as a whole
                for cause, letter in work.dead:
                    tried.refuse((number, ""), cause, str(letter.properties[DETAIL_PROPERTY]))
            else:
                self._tell(tried, number, work)
        return tried

    def _why_ignored(self, work: EventWork) -> str | None:
        if work.ignored == NOT_TELEMETRY:
            return f"not telemetry: its message source is {work.event.annotations[MESSAGE_SOURCE]}"
        group = self.admission.groups.of_replica(work.replica)
        if group is self.group:
            return None
        if group is None and work.replica == UNKNOWN_REPLICA:
            return "it names no device (annotation iothub-connection-device-id), and no group has all devices"
        if group is None:
            return f"device {work.replica} is in no group"
        first = ", which comes first in the file" if self._alone.of_replica(work.replica) else ""
        return f"device {work.replica} is in group {group.name}{first}"

    def _tell(self, tried: Tried, number: int, work: EventWork) -> None:
        extractor = self.group.extractor or self.admission.extractor
        whole = extractor.extract(work.event, self.group.content)  # also what the group refuses
        for what in whole.not_readings:
            tried.not_readings.append(((number, ""), NotReading((), what)))
        parts = self.group.extractor.candidates(work.event) if self.group.extractor is not None else None
        for reading in work.extraction.readings:
            found = _cloud_event(whole, reading) if parts is None else parts[reading.index]
            assert isinstance(found, Found)
            strategy = CONTENT if found.is_event else self.strategy
            tried.copies.append(Copy((number, pointer(found.place)), found, Minted(reading.id, strategy)))
        by_index = {reading.index: reading for reading in whole.readings}
        for bad in work.extraction.bad:
            place: Place = (number, pointer(_place(whole, bad.index) if parts is None else parts[bad.index].place))
            tried.refuse(place, bad.reason, self._detail(bad, by_index, work))

    def _detail(self, bad: BadReading, by_index: dict[int, Reading], work: EventWork) -> str:
        if bad.reason == SOURCE_NOT_ALLOWED:
            return f"{by_index[bad.index].source} is not among the `sources` of group {self.group.name}"
        letters = (str(letter.properties[DETAIL_PROPERTY]) for reason, letter in work.dead if reason == bad.reason)
        return bad.detail or next(letters, "")


def _cloud_event(whole: Extraction, reading: Reading) -> Found:
    value = _json(reading.raw)
    if not whole.binary and isinstance(value, dict):
        value = value.get("data", value.get("data_base64"))
    time_ns = parse_rfc3339(reading.time) if isinstance(reading.time, str) else reading.time
    return Found(_place(whole, reading.index), reading.source, value, time_ns, value)


def _place(whole: Extraction, index: int) -> Path:
    return () if whole.container is None else (index,)


def _json(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except JSON_ERRORS:
        return text.decode(errors="replace")
