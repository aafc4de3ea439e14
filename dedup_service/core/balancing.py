"""Which partitions a pod should own. Pure: ownerships in, wishes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who has a partition, as the checkpoint store says. An empty owner has released it."""

    partition_id: str
    owner_id: str
    etag: str | None


class OwnershipWatch:
    """Which ownerships are alive: one is dead when its record has not changed for `expiry_seconds` by this pod's own clock.

    Comparing the store's time stamps with a local clock, as the SDK does, breaks when the clocks differ.
    """

    def __init__(self, expiry_seconds: float) -> None:
        self.expiry_seconds = expiry_seconds
        self._seen: dict[str, tuple[str | None, float]] = {}

    def alive(self, ownerships: list[Ownership], now: float) -> dict[str, Ownership]:
        """The live ownerships by partition; `now` is monotonic."""
        alive: dict[str, Ownership] = {}
        for ownership in ownerships:
            etag, since = self._seen.get(ownership.partition_id, (None, now))
            if etag != ownership.etag:
                since = now
            self._seen[ownership.partition_id] = (ownership.etag, since)
            if ownership.owner_id and now - since < self.expiry_seconds:
                alive[ownership.partition_id] = ownership
        return alive

    def etags(self) -> dict[str, str | None]:
        """The newest etag of each partition's record, alive or not; without a record there is none."""
        return {partition: etag for partition, (etag, _) in self._seen.items()}


def wanted_partitions(partition_ids: list[str], alive: Mapping[str, Ownership], me: str) -> set[str]:
    """The partitions that `me` should own next: its own, free ones up to its share, or else one of the richest pod.

    A pod's share is the number of partitions divided by the number of live pods, rounded up; one partition at a time is
    taken from another, and only from a pod that then still has as many as `me`.
    """
    owned = Counter(ownership.owner_id for ownership in alive.values())
    owned[me] += 0
    mine = {partition for partition, ownership in alive.items() if ownership.owner_id == me}
    share = -(-len(partition_ids) // len(owned))
    free = [partition for partition in partition_ids if partition not in alive]
    wanted = mine | set(free[: max(0, share - len(mine))])
    if wanted != mine or free:
        return wanted
    richest, most = max(owned.items(), key=lambda item: (item[1], item[0]))
    if richest != me and most >= len(mine) + 2:
        wanted.add(min(partition for partition, ownership in alive.items() if ownership.owner_id == richest))
    return wanted
