"""What the pipelines of a test share, and the input that its workers read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import SecretStr

from dedup_service.config.addresses import HubAddress
from dedup_service.config.hubs import InputConfig
from dedup_service.core.incarnations import Incarnations
from dedup_service.core.leases import NewestSample
from dedup_service.core.limits import Limits
from dedup_service.core.markers import Memory
from dedup_service.core.retention import Retention
from dedup_service.errors import Dependency, DependencyKind
from dedup_service.partitions.input_ports import InputPorts
from dedup_service.ports.ownership import Leases
from dedup_service.processing.admission import Admission
from dedup_service.processing.shared import Shared, SharedPorts
from dedup_service.telemetry import Telemetry
from tests.doubles.memory import AlwaysFirst
from tests.support.groups import OUTPUT

INPUT = "default"
NO_LIMITS = Limits(per_second=1e12, in_window=10**12, beyond="hold")
REDIS = Dependency(DependencyKind.REDIS)
CLEAN_HUB = Dependency(DependencyKind.CLEAN_HUB)
CLEAN_HUB_READING = Dependency(DependencyKind.CLEAN_HUB_READING)
DEAD_LETTER_HUB = Dependency(DependencyKind.DEAD_LETTER_HUB)
CHECKPOINTS = Dependency(DependencyKind.CHECKPOINTS)
INPUT_HUB = Dependency(DependencyKind.INPUT_HUB)
INPUT_HUB_READING = Dependency(DependencyKind.INPUT_HUB_READING)
ADDRESS = HubAddress("DEDUP_INPUT_CONNECTION_STRING", SecretStr(""), "ns", "hub", has_key=False, is_emulator=True)


def incarnations_of(by_input: Mapping[str, int]) -> Incarnations:
    incarnations = Incarnations(by_input)
    for name, incarnation in by_input.items():
        incarnations.saw(name, incarnation)
    return incarnations


def shared_of(
    admission: Admission,
    clock: Any,
    telemetry: Telemetry,
    *,
    claims: Any,
    clean: Any,
    dead_letters: Any,
    incarnations: Incarnations | None = None,
    newest_sample: NewestSample | None = None,
    clean_partitions: Iterable[str] = ("0",),
    markers: Any = None,
    memory: Memory | None = None,
    limits: Limits = NO_LIMITS,
) -> Shared:
    """`clean` is the clean hub and its tail; None where every group only observes."""
    return Shared(
        ports=SharedPorts(claims, clean, clean, dead_letters, clock, telemetry, markers),
        admission=admission,
        forward_to=OUTPUT,
        dead_letter_partitions=["0"],
        incarnations=incarnations or Incarnations([INPUT]),
        newest_sample=newest_sample or NewestSample(),
        clean_partitions=sorted(clean_partitions),
        memory=memory or Memory(),
        limits=limits,
    )


def input_of(hub: Any, checkpoints: Any, leases: Leases, retention_ms: int, name: str = INPUT) -> InputPorts:
    config = InputConfig(name, ADDRESS, "dedup", retention_ms)
    retention = Retention(retention_ms)
    return InputPorts(
        config, hub, checkpoints, None, make_leases=lambda _: leases, precedence=AlwaysFirst(), retention=retention
    )
