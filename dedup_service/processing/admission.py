"""Decides what enters: events of a group's devices, and among their readings those that the group allows.

R10: only what is admitted ever claims, so that a refused, unreadable or ignored copy can't silence another.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from dedup_service.core.clean_events import STRUCTURED
from dedup_service.core.dead_letters import dead_letter, dead_readings
from dedup_service.core.events import MESSAGE_SOURCE, BadReading, InputEvent, Reading
from dedup_service.core.groups import Group, Groups
from dedup_service.core.input_log import InputLog
from dedup_service.core.structured import rendered
from dedup_service.core.unknown_formats import counter_of
from dedup_service.errors import UndeliverableError
from dedup_service.ports.claims import Extractor
from dedup_service.processing.event_work import EventWork

TELEMETRY_SOURCE = "Telemetry"
NOT_TELEMETRY = "not-telemetry"
NO_GROUP = "no-group"
SOURCE_NOT_ALLOWED = "source-not-allowed"


@dataclass(frozen=True, slots=True)
class Admission:
    groups: Groups
    extractor: Extractor
    unmatched: str
    """What happens to events that are not telemetry of this deployment: `ignore`, `forward` or `dead-letter`."""
    kept_properties: frozenset[str] = frozenset()
    """See OutputPolicy.kept_adx_properties."""

    def admit(self, event: InputEvent, log: InputLog) -> EventWork:
        """Returns the event with its group and readings, or with the dead letters that it becomes."""
        work = EventWork(event, log, event.replica)
        source = event.annotations.get(MESSAGE_SOURCE, TELEMETRY_SOURCE)
        if source != TELEMETRY_SOURCE:
            return self._unmatched(work, NOT_TELEMETRY, f"message source is {source}")
        group = self.groups.of_replica(work.replica)
        if group is None:
            return self._unmatched(work, NO_GROUP, f"device {work.replica} is in no group")
        try:
            extraction = (group.extractor or self.extractor).extract(event, group.content)
        except UndeliverableError as error:
            if error.looks_like is not None:
                work.looks_like = counter_of(error.looks_like, group.name)
            self.refuse(work, error.reason, error.detail)
            return work
        work.group = group
        work.extraction = extraction
        if not extraction.readings and not extraction.bad:
            work.forwarded = group.passes_on_not_readings and group.output.content_mode != STRUCTURED
            return work
        self._render(work, group)
        self._refuse_sources(work, group)
        if extraction.bad:
            for reason in dict.fromkeys(bad.reason for bad in extraction.bad):
                self._refuse_readings(work, reason, [bad for bad in extraction.bad if bad.reason == reason])
        return work

    def refuse(self, work: EventWork, reason: str, detail: str) -> None:
        work.dead.append((reason, dead_letter(work.event, reason, detail, self.kept_properties, work.origin_text)))

    def refuse_all(self, work: EventWork, reason: str, detail: str) -> None:
        """Dead-letters the whole event, also the readings of it that were refused already."""
        readings = len(work.extraction.readings) + len(work.extraction.bad)
        letter = dead_letter(work.event, reason, detail, self.kept_properties, work.origin_text, readings)
        work.dead = [(reason, letter)]

    def refuse_copies(self, work: EventWork, reason: str, copies: list[Reading], detail: str = "") -> None:
        """Dead-letters readings that were extracted but must not be published."""
        if work.extraction.container is not None:
            self._refuse_readings(work, reason, [BadReading(r.index, reason, detail) for r in copies])
        elif copies:
            self.refuse(work, reason, detail or f"source {copies[0].source}")

    def _refuse_readings(self, work: EventWork, reason: str, bad: list[BadReading]) -> None:
        if bad and (container := work.extraction.container) is not None:
            letter = dead_readings(work.event, container, reason, bad, self.kept_properties, work.origin_text)
            work.dead.append((reason, letter))

    def _render(self, work: EventWork, group: Group) -> None:
        """R10: what can't be published in the group's content mode must not claim."""
        if group.output.content_mode == STRUCTURED:
            work.extraction, refused = rendered(work.event, work.extraction)
            for reason, (detail, readings) in refused.items():
                self._take_out(work, reason, readings, detail)

    def _refuse_sources(self, work: EventWork, group: Group) -> None:
        """R9: a device can't claim, and therefore can't suppress, readings that its group does not send."""
        if not self.groups.allows_all(group):
            foreign = [r for r in work.extraction.readings if not self.groups.allows(group, r.source)]
            self._take_out(work, SOURCE_NOT_ALLOWED, foreign)

    def _take_out(self, work: EventWork, reason: str, refused: list[Reading], detail: str = "") -> None:
        if not refused:
            return
        self.refuse_copies(work, reason, refused, detail)
        extraction, places = work.extraction, {reading.index for reading in refused}
        kept = [reading for reading in extraction.readings if reading.index not in places]
        bad = [BadReading(reading.index, reason) for reading in refused]
        work.extraction = msgspec.structs.replace(extraction, readings=kept, bad=[*extraction.bad, *bad])

    def _unmatched(self, work: EventWork, reason: str, detail: str) -> EventWork:
        work.ignored = reason
        if self.unmatched == "dead-letter":
            self.refuse(work, reason, detail)
        work.forwarded = self.unmatched == "forward"
        return work
