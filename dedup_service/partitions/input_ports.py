"""One input hub as the partitions' room sees it: what the operator said of it, and the ports that reach it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dedup_service.config.hubs import InputConfig
from dedup_service.core.retention import Retention
from dedup_service.ports.hubs import InputHub
from dedup_service.ports.ownership import Checkpoints, Leases, Precedence


@dataclass(frozen=True, slots=True)
class InputPorts:
    config: InputConfig
    hub: InputHub
    checkpoints: Checkpoints
    observed: Checkpoints | None
    """Of pods that only observed before this one publishes; None where nothing follows from them."""
    make_leases: Callable[[list[str]], Leases]
    """Takes the ids of the hub's partitions."""
    precedence: Precedence
    retention: Retention
    label: str = ""
    """Stands before the partition's number in logs and figures, where there are several inputs."""

    @property
    def stores(self) -> list[Checkpoints]:
        return [self.checkpoints] if self.observed is None else [self.checkpoints, self.observed]
