"""The patterns of high availability that the drill compares, and how long each takes to detect a fault and to act.

Duplicates and active-passive run as they are. The others restart the same sender elsewhere after the delay that is usual
for them, shortened by a stated factor, and are labelled as modelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

Ha = Literal["duplicate", "active-passive"]

EDGE_AGENT_RESTART_SECONDS = 10.0
"""Time until a process that died is restarted on its machine, not shortened: the first back-off of IoT Edge's agent
(RestartPolicyManager in Azure/iotedge)."""


@dataclass(frozen=True, slots=True)
class Pattern:
    name: str
    """Also the prefix of the device ids."""
    title: str
    replicas: int
    ha: Ha = "duplicate"
    overlap_seconds: float = 0.0
    has_peers: bool = False
    """Whether its replicas hear each other directly."""
    relocation_seconds: float | None = None
    """Time until the sender runs elsewhere after its machine is lost; None: another replica is already running."""
    why: str = ""
    """Source of the delay."""
    restart_seconds: float = EDGE_AGENT_RESTART_SECONDS
    """Time until a process that died is restarted on its machine; not shortened."""

    @property
    def is_modelled(self) -> bool:
        return self.relocation_seconds is not None

    @property
    def promises_no_loss(self) -> bool:
        return self.overlap_seconds > 0 or (self.ha == "duplicate" and self.replicas > 1)

    @property
    def devices(self) -> list[str]:
        return [f"{self.name}-{number}" for number in range(1, self.replicas + 1)]


PATTERNS = (
    Pattern("dup3", "duplicates, 3 replicas", 3),
    Pattern("dup2", "duplicates, 2 replicas", 2),
    Pattern(
        "app",
        "active-passive with overlap and peers",
        2,
        ha="active-passive",
        overlap_seconds=30.0,
        has_peers=True,
    ),
    Pattern("apo", "active-passive with overlap", 2, ha="active-passive", overlap_seconds=30.0),
    Pattern("ap", "active-passive", 2, ha="active-passive"),
    Pattern(
        "nomad",
        "third-party cluster (Nomad)",
        1,
        relocation_seconds=40.0,
        why="heartbeat 10–20 s plus 10 s of grace (Nomad's server configuration), start of the task 10 s",
        restart_seconds=15.0,  # the default delay of Nomad's restart block
    ),
    Pattern(
        "hyper",
        "hypervisor cluster",
        1,
        relocation_seconds=75.0,
        why="a host is declared failed after 15 s (vSphere HA), start of the virtual machine 60 s",
    ),
    Pattern(
        "k8s",
        "Kubernetes cluster",
        1,
        relocation_seconds=360.0,
        why="node-monitor-grace-period 50 s, default toleration of unreachable nodes 300 s, start of the pod 10 s",
        restart_seconds=0.0,  # the kubelet's first restart is immediate
    ),
    Pattern(
        "standby",
        "single device with standby",
        1,
        relocation_seconds=900.0,
        why="assumption: an operator is on site",
    ),
)


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    title: str
    seconds: float
    """Length of the observed window, which opens shortly before the fault."""
    hits_all: bool = False
    """It hits what all patterns share, not one sender of each."""


CUT_SECONDS = 20.0
"""How long a cut lasts."""
WITNESS_CUT_SECONDS = 30.0
CLOCK_STEP_SECONDS = 5 * 3600.0
"""More than the age limit of spools."""
CLOCK_CUT_SECONDS = 6.0
"""For so long all uplinks are cut, so that readings wait in the spools when the clocks are set."""
DISK_SECONDS = 15.0
"""How long no disk takes anything."""

FAULTS = (
    Fault("kill", "sender killed (SIGKILL)", 35.0),
    Fault("internet", "internet lost (uplink and witness)", 50.0),
    Fault("machines", "network to the machines cut", 45.0),
    Fault("witness", "witness cut", 40.0),
    Fault("hub", "hub restarted", 20.0, hits_all=True),
    Fault("server", "first server of the plant away", 30.0, hits_all=True),
    Fault("clock", "clock steps by 5 h", 30.0, hits_all=True),
    Fault("disk", "disk full", 30.0, hits_all=True),
    Fault("power", "power lost", 75.0),
)
SPARE_SECONDS = 15.0
"""The part of a window that is reserved for a sender's start and for some time after the fault."""


def shortest_scale(patterns: tuple[Pattern, ...], faults: tuple[Fault, ...]) -> float:
    """The smallest factor by which delays must be shortened to fit into the observed window."""
    longest = max(pattern.relocation_seconds or 0.0 for pattern in patterns)
    return max((longest / (fault.seconds - SPARE_SECONDS) for fault in faults if fault.name == "power"), default=0.0)


Named = TypeVar("Named", Pattern, Fault)


def chosen(known: tuple[Named, ...], names: list[str] | None) -> tuple[Named, ...]:
    """The items with these names, or all if `names` is None. Raises LookupError for an unknown name."""
    if names is None:
        return known
    by_name = {item.name: item for item in known}
    if unknown := [name for name in names if name not in by_name]:
        raise LookupError(f"{unknown[0]!r} is not one of {', '.join(by_name)}")
    return tuple(item for item in known if item.name in names)
