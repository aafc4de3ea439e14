"""What happens to a simulated deployment, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

START_MS = 1_700_000_000_000
LEASE_SECONDS = 6.0
SEND_TIMEOUT_SECONDS = 2.0
GRACE_SECONDS = 30.0
CALL_SECONDS = 10.0
"""How long a call waits for a hub that does not answer."""
WINDOW_SECONDS = 14_400.0
RETENTION_MS = 86_400_000
BACKLOG_MS = 8 * 3_600_000
INPUTS = 3
WINDOWS_OF_REPETITIONS = 3
CLOCK_ERROR_SECONDS = 8.0
HORIZON_SECONDS = 12.0
NOISE = 4
READINGS_PER_MINUTE, READINGS_IN_WINDOW = 40, 60
"""Limits that only a replica with this noise passes."""


@dataclass(frozen=True)
class Input:
    """Some partitions of the simulated hub, as pods are configured with them: each input is a hub of its own to them."""

    name: str
    partitions: tuple[str, ...]
    incarnation: int = 0
    """Added to that of the simulated hub."""


ALL = Input("default", tuple(map(str, range(INPUTS))))
WEST, EAST = Input("west", ("0", "1")), Input("east", ("2",), 1000)


@dataclass(frozen=True)
class Scenario:
    """How often each fault happens. Rates are per call of a port, numbers are per run."""

    readings: int = 24
    pods: int = 2
    ahead_events: int = 1
    """How far ahead an owner says that it may begin: so few that owners die on both sides of it."""
    outputs: int = 2
    """How many partitions the clean hub has."""
    kills: int = 3
    freezes: int = 1
    stops: int = 0
    """How often a pod is asked to leave, and then started again."""
    forgets: int = 0
    """How often Redis comes back empty."""
    lags: int = 0
    """How often Redis fails over to a replica that lacks its last writes, although they were acknowledged."""
    returns: int = 0
    """How often Redis comes back empty, and then an old replica of the first server takes its place."""
    shows_server: bool = True
    """Whether Redis shows by a name that it is another server."""
    is_live: bool = False
    """Whether the plant measures all the time, and not only before the faults."""
    lost_replies: float = 0.03
    defects: float = 0.0
    """How often a call ends with an error that nobody expects, before or after it has had its effect."""
    failed_sends: float = 0.06
    dropped_readers: float = 0.02
    redeliveries: float = 0.1
    mode: str = "drop"
    trouble_seconds: float = 25.0
    queueing_seconds: float = 0.02
    """How long a send may wait for its turn before the lease is checked."""
    retention_seconds: float = RETENTION_MS / 1000
    configured_retention_seconds: float | None = None
    """What the operator says about it; None for the truth."""
    outage_seconds: float = 0.0
    """How long all pods are dead after the other faults. One replica sends its copies only at the end of this time."""
    recreations: int = 0
    """How often the input hub is replaced by a new one of the same name, which gets new readings."""
    cut_offs: int = 0
    """How often a pod, and no other, loses the input hub. The first one never gets it back."""
    failovers: int = 0
    """How often the input hub fails over to a copy that lacks its last events, while no pod is at work on them."""
    expiries: int = 0
    """How often all that the clean hub holds expires, so that nobody can look it up any more."""
    window_seconds: float = WINDOW_SECONDS
    repeats: bool = False
    """Whether each replica repeats some of its readings several times in each window, for several windows."""
    twice_in_one_event: float = 0.0
    """The share of events in which a reading stands twice."""
    beyond_limits: str | None = None
    """What happens to readings beyond a replica's limits, which one replica passes since it sends all of its copies four
    times; None where there are no limits."""
    wrong_clocks: bool = True
    configurations: tuple[tuple[Input, ...], ...] = ((ALL,),)
    """The inputs with which all pods begin, and those that rolling updates then give them, one after the other."""
    shards: tuple[int, ...] = (1,)
    """The number of shards in each of these."""
    reroutes: bool = False
    """Whether each life of a pod has another idea of where in the clean stream readings belong."""
