"""What the pipelines of all partitions of an input use together in this pod, and most of it those of all inputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from dedup_service.core.groups import routing_rule
from dedup_service.core.incarnations import Incarnations
from dedup_service.core.leases import NewestSample
from dedup_service.core.limits import Limits
from dedup_service.core.markers import Memory
from dedup_service.core.outgoing import OutputPolicy
from dedup_service.errors import PROCESSING_FAILED
from dedup_service.ports.claims import ClaimStore, Markers
from dedup_service.ports.clock import Clock
from dedup_service.ports.hubs import CleanTail, Publisher
from dedup_service.processing.admission import Admission
from dedup_service.processing.event_work import EventWork
from dedup_service.processing.looking_back import LookingBack
from dedup_service.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class SharedPorts:
    claims: ClaimStore
    clean: Publisher | None
    """None where every group only observes."""
    tail: CleanTail | None
    """None where every group only observes."""
    dead_letters: Publisher | None
    """None where every group only observes, or the operator chose to discard dead letters."""
    clock: Clock
    telemetry: Telemetry
    markers: Markers | None = None
    """None where every group only observes: what was not published need not be remembered."""


@dataclass(frozen=True)
class Shared:
    ports: SharedPorts
    admission: Admission
    forward_to: OutputPolicy | None
    """Where events go that belong to no group (`unmatched: forward`); None where every group only observes."""
    dead_letter_partitions: list[str]
    incarnations: Incarnations
    newest_sample: NewestSample
    clean_partitions: list[str]
    """Those of all clean hubs."""
    memory: Memory
    """How far Redis remembers what was published."""
    limits: Limits

    @cached_property
    def looking_back(self) -> LookingBack | None:
        """None where every group only observes."""
        return None if self.ports.tail is None else LookingBack(self.ports.tail)

    @cached_property
    def rule(self) -> str:
        return routing_rule(self.admission.groups.groups)

    def give_up(self, item: EventWork, error: Exception) -> None:
        """Dead-letters an event on which pure code has failed: it would fail on it again, and block those behind it. Errors
        of anything else are never an event's fault."""
        self.ports.telemetry.worker_failed(item.event.partition_id, error)
        self.admission.refuse(item, PROCESSING_FAILED, f"{type(error).__name__}: {error}")
