"""What the pipelines of all partitions of this pod use together."""

from __future__ import annotations

from dataclasses import dataclass

from dedup_service.core.incarnations import Incarnations
from dedup_service.core.leases import NewestSample
from dedup_service.core.outgoing import OutputPolicy
from dedup_service.ports import ClaimStore, CleanTail, Clock, Publisher
from dedup_service.processing.admission import Admission
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


@dataclass(frozen=True, slots=True)
class Shared:
    ports: SharedPorts
    admission: Admission
    forward_to: OutputPolicy | None
    """Where events go that belong to no group (`unmatched: forward`); None where every group only observes."""
    dead_letter_partitions: list[str]
    incarnations: Incarnations
    newest_sample: NewestSample
