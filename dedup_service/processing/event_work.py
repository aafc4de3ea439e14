"""An input event on its way through the pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field

from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import Verdict
from dedup_service.core.events import Extraction, InputEvent, Origin, Reading
from dedup_service.core.groups import Group
from dedup_service.core.outgoing import OutgoingEvent

NOTHING = Extraction([])


@dataclass(slots=True)
class EventWork:
    event: InputEvent
    replica: str
    group: Group | None = None
    """None: the event is not telemetry of this deployment, and nothing of it is claimed."""
    ignored: str | None = None
    """Why it is not."""
    extraction: Extraction = NOTHING
    request: ClaimRequest | None = None
    """None: there is nothing to be claimed."""
    verdicts: list[Verdict] = field(default_factory=list)
    """One for each reading, in order."""
    dead: list[tuple[str, OutgoingEvent]] = field(default_factory=list)
    """(reason, dead letter)"""
    forwarded: bool = False
    published: set[int] = field(default_factory=set)
    """Indexes of readings that the clean hub has acknowledged."""

    def with_verdict(self, *verdicts: Verdict) -> list[Reading]:
        return [r for r, v in zip(self.extraction.readings, self.verdicts, strict=True) if v in verdicts]

    def first_origin(self, incarnation: int) -> Origin:
        return Origin(incarnation, int(self.event.partition_id), self.event.sequence_number, 0)

    def origin(self, incarnation: int, reading: Reading) -> Origin:
        return Origin(incarnation, int(self.event.partition_id), self.event.sequence_number, reading.index)

    def output_partition(self, reading: Reading) -> str:
        assert self.group is not None
        return self.group.output.partition_of(reading)
