"""The surroundings of a pipeline, on in-memory ports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from dedup_service.core.events import InputEvent
from dedup_service.core.input_log import InputLog
from dedup_service.core.leases import Lease, NewestSample, TakeoverState
from dedup_service.core.limits import Limits
from dedup_service.core.retention import Retention
from dedup_service.processing.beginning import Beginning
from dedup_service.processing.event_work import EventWork
from dedup_service.processing.pipeline import Pipeline
from dedup_service.telemetry import PartitionFigures, Telemetry
from dedup_service.waiting import Activity, Retrier, Stop
from tests.doubles.memory import MemoryClaims, MemoryClock, MemoryLeases, MemoryPublisher
from tests.support.groups import admission_of, group_of
from tests.support.shared import INPUT, NO_LIMITS, incarnations_of, shared_of

WINDOW_MS, RETENTION_MS = 1000, 10_000


@dataclass
class World:
    """The surroundings of a pipeline; `pipeline()` makes another owner of the same partition."""

    clock: MemoryClock = field(default_factory=MemoryClock)
    telemetry: Telemetry = field(default_factory=Telemetry)
    clean: MemoryPublisher = field(default_factory=lambda: MemoryPublisher({"0": []}))
    dead: MemoryPublisher = field(default_factory=lambda: MemoryPublisher({"0": []}))
    mode: str = "drop"
    unmatched: str = "ignore"
    group: dict[str, Any] = field(default_factory=dict)
    incarnation: int = 1
    limits: Limits = NO_LIMITS
    newest_sample: NewestSample = field(default_factory=NewestSample)
    stop: Stop = field(init=False)
    claims: MemoryClaims = field(init=False)

    def __post_init__(self) -> None:
        self.stop = Stop(self.clock)
        self.claims = MemoryClaims(self.clock)

    def pipeline(self, horizon: int = -1, partition: str = "0") -> Pipeline:
        group = group_of(**{"mode": self.mode, "window_ms": WINDOW_MS, **self.group})
        shared = shared_of(
            admission_of(group, unmatched=self.unmatched),
            self.clock,
            self.telemetry,
            claims=self.claims,
            clean=None if self.mode == "observe" else self.clean,
            dead_letters=self.dead,
            incarnations=incarnations_of({INPUT: self.incarnation}),
            newest_sample=self.newest_sample,
            limits=self.limits,
        )
        lease = Lease(partition, epoch=1, valid_until=float("inf"), inherited=None, begun_written=2**62)
        state = TakeoverState(lease, self.incarnation, horizon, sample={"0": -1})
        retrier = Retrier(self.clock, self.telemetry, self.stop, Activity(self.clock, PartitionFigures()))
        beginning = Beginning(lease, MemoryLeases(self.clock, [partition]), retrier)
        return Pipeline(shared, retrier, state, Retention(RETENTION_MS), beginning)

    async def claim(self, *events: InputEvent, pipeline: Pipeline | None = None) -> list[EventWork]:
        """Claims the events as an owner that stops after claiming; returns its work."""
        owner, work = pipeline or self.pipeline(), self.admitted(*events)
        await owner._claimer.claim(work, owner._resolver.in_doubt_up_to)
        return work

    def admitted(self, *events: InputEvent) -> list[EventWork]:
        """The events as the pipeline would admit them."""
        admission = admission_of(group_of(mode=self.mode, window_ms=WINDOW_MS, **self.group))
        return [admission.admit(event, InputLog.of(self.incarnation, event.partition_id)) for event in events]

    def at(self, event: InputEvent, number: int, partition: str = "0") -> InputEvent:
        now = self.clock.now_ms()
        return replace(event, partition_id=partition, sequence_number=number, offset=str(number), enqueued_ms=now)

    def clean_bodies(self) -> list[bytes]:
        return [event.body for event in self.clean.events]
