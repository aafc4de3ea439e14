"""How fast a namespace and an IoT hub take and give, by the units that were bought. Pure; times are given, in seconds.

Source: https://learn.microsoft.com/azure/event-hubs/event-hubs-scalability and
https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-quotas-throttling
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field

BURST_SECONDS = 1.0
"""What comes in one burst is taken at once. IoT Hub is more patient: a minute or two."""
BACKLOG_SECONDS = 10.0
"""How long messages of devices wait before an IoT hub refuses more of them. IoT Hub does not say how long."""


@dataclass(slots=True)
class Allowance:
    """So much per second, and a burst of one second. A single large amount may overdraw it: what follows has to wait."""

    rate: float
    burst_seconds: float = BURST_SECONDS
    _paid_until: float = 0.0
    """When everything that was taken will have been paid for at the rate."""

    def wait(self, now: float) -> float:
        """Seconds until something may be taken; 0: at once."""
        return max(0.0, self._paid_until - self.burst_seconds - now)

    def take(self, amount: float, now: float) -> None:
        self._paid_until = max(self._paid_until, now) + amount / self.rate


@dataclass(slots=True)
class Throughput:
    """Throughput units, which all hubs of the namespace share. Too much ingress is refused, egress is only slowed down."""

    units: int
    _ingress: tuple[Allowance, Allowance] = field(init=False)
    _egress: tuple[Allowance, Allowance] = field(init=False)

    def __post_init__(self) -> None:
        self._ingress = Allowance(1000.0 * self.units), Allowance(2.0**20 * self.units)
        self._egress = Allowance(4096.0 * self.units), Allowance(2.0**21 * self.units)

    def admits(self, events: int, size: int, now: float) -> bool:
        """Whether these events, of `size` bytes together, may enter now. If so, they are counted."""
        if any(allowance.wait(now) for allowance in self._ingress):
            return False
        for allowance, amount in zip(self._ingress, (events, size), strict=True):
            allowance.take(amount, now)
        return True

    def egress_wait(self, now: float) -> float:
        """Seconds until more events may leave."""
        return max(allowance.wait(now) for allowance in self._egress)

    def left(self, events: int, size: int, now: float) -> None:
        for allowance, amount in zip(self._egress, (events, size), strict=True):
            allowance.take(amount, now)


class BacklogFullError(Exception):
    """More messages wait than an IoT hub keeps waiting (error 429002)."""


TIERS = {
    "S1": {"sends": (12, 100), "twin_reads": (0, 100), "twin_updates": (0, 50)},
    "S2": {"sends": (120, 0), "twin_reads": (10, 100), "twin_updates": (5, 50)},
    "S3": {"sends": (6000, 0), "twin_reads": (500, 0), "twin_updates": (250, 0)},
}
"""What an IoT hub does per second with each unit, and at least, however few units it has."""


@dataclass(slots=True)
class IotHubUnits:
    """The units of an IoT hub, as rates a second. Sends wait in a queue of limited length; twin requests do not wait."""

    sends: InitVar[float]
    twin_reads: InitVar[float]
    twin_updates: InitVar[float]
    _sends: Allowance = field(init=False)
    _twin_reads: Allowance = field(init=False)
    _twin_updates: Allowance = field(init=False)

    def __post_init__(self, sends: float, twin_reads: float, twin_updates: float) -> None:
        self._sends = Allowance(sends)
        self._twin_reads = Allowance(twin_reads)
        self._twin_updates = Allowance(twin_updates)

    @classmethod
    def of(cls, tier: str, units: int) -> IotHubUnits:
        return cls(**{what: float(max(least, each * units)) for what, (each, least) in TIERS[tier].items()})

    def send_wait(self, now: float) -> float:
        """Seconds that a device's message has to wait. Raises BacklogFullError."""
        wait = self._sends.wait(now)
        if wait > BACKLOG_SECONDS:
            raise BacklogFullError(f"429002: more messages wait than this hub sends in {BACKLOG_SECONDS:g} s")
        self._sends.take(1, now)
        return wait

    def admits_twin_request(self, now: float, *, is_read: bool) -> bool:
        allowance = self._twin_reads if is_read else self._twin_updates
        if allowance.wait(now):
            return False
        allowance.take(1, now)
        return True
