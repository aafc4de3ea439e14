"""What the tiers of IoT Hub and Event Hubs allow, and which of them carries a load. Pure.

Sources: "IoT Hub quotas and throttling", and "Azure Event Hubs quotas and limits" in Microsoft's documentation.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_IOT_HUB_PARTITIONS = 32


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier of IoT Hub."""

    name: str
    messages_per_day: int
    sends_per_second: float
    """Per unit."""
    free_sends_per_second: float
    """Independent of the number of units."""
    max_units: int


TIERS = (
    Tier("S1", 400_000, 12, 100, 200),
    Tier("S2", 6_000_000, 120, 0, 200),
    Tier("S3", 300_000_000, 6000, 0, 10),
)


@dataclass(frozen=True, slots=True)
class NamespaceTier:
    """A tier of Event Hubs."""

    name: str
    connections: int
    """Of a namespace; of Premium and Dedicated, for each unit."""
    partitions: int
    """Of a hub."""
    has_units: bool = False

    def units(self, connections: int) -> int:
        """So many are needed to hold these."""
        return max(1, -(-connections // self.connections))

    def carries(self, connections: int, partitions: int) -> bool:
        return partitions <= self.partitions and (self.has_units or connections <= self.connections)


NAMESPACE_TIERS = (
    NamespaceTier("Standard", 5_000, 32),
    NamespaceTier("Premium", 10_000, 100, has_units=True),
    NamespaceTier("Dedicated", 100_000, 1_024, has_units=True),
)
"""Basic is left out: it has no consumer group of one's own, and the clean stream needs one."""


def least_tier(connections: int, partitions: int) -> NamespaceTier | None:
    """None where no hub has so many partitions."""
    return next((tier for tier in NAMESPACE_TIERS if tier.carries(connections, partitions)), None)
