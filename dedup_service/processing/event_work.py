"""An input event on its way through the pipeline: what is known about it so far, and what became of its readings."""

from __future__ import annotations

import msgspec

from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import Verdict
from dedup_service.core.events import Extraction, InputEvent, Origin, Reading
from dedup_service.core.groups import OBSERVE, Group
from dedup_service.core.input_log import InputLog
from dedup_service.core.outgoing import OutgoingEvent

NOTHING = Extraction([])


class EventWork(msgspec.Struct):
    event: InputEvent
    log: InputLog
    """Where the event came from."""
    replica: str
    group: Group | None = None
    """None when the event is not telemetry of this deployment; then nothing of it is claimed."""
    ignored: str | None = None
    """The reason why the event is not telemetry of this deployment."""
    looks_like: str | None = None
    """The counter of what an event without a key seems to be; see core/unknown_formats.py."""
    extraction: Extraction = NOTHING
    request: ClaimRequest | None = None
    """None when there is nothing to claim."""
    unreadable_times: int = 0
    """How many of the readings that may claim have something else than a time as their time."""
    verdicts: list[Verdict] = []
    """One for each reading, in order."""
    dead: list[tuple[str, OutgoingEvent]] = []
    """(reason, dead letter)"""
    forwarded: bool = False
    """Whether the event is passed on unchanged, since there is nothing in it to claim."""
    held_seconds: float = 0.0
    """For how long it must wait before it may claim."""
    beyond_limits: int = 0
    """How many readings its replica has sent in it beyond its limits, and which are held or refused."""
    published: set[int] = set()
    """Indexes of the readings that the clean hub has acknowledged."""

    @property
    def is_observed(self) -> bool:
        """Whether nothing of the event is ever published."""
        return self.group is None or self.group.mode == OBSERVE

    @property
    def first_origin(self) -> Origin:
        return self.log.origin(self.event.sequence_number, 0)

    @property
    def origin_text(self) -> str:
        return self.log.event_text(self.event.sequence_number)

    def origin(self, reading: Reading) -> Origin:
        return self.log.origin(self.event.sequence_number, reading.index)

    @property
    def winners(self) -> list[Reading]:
        readings = self.extraction.readings
        return readings if self.verdicts.count(Verdict.WINNER) == len(readings) else self.with_verdict(Verdict.WINNER)

    def with_verdict(self, *verdicts: Verdict) -> list[Reading]:
        return [r for r, v in zip(self.extraction.readings, self.verdicts, strict=True) if v in verdicts]

    def output_partition(self, reading: Reading) -> str:
        assert self.group is not None
        return self.group.output.partition_of(reading)
