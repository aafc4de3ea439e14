"""Who works on which partition, and how far it came."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dedup_service.core.leases import PRESENT, EndOffsets, Lease, LeaseRecord, Presence, Renewal
from dedup_service.core.progress import Position


class Leases(Protocol):
    """The right to send, one lease for each input partition, and the list of live pods that share them."""

    def add_partitions(self, partition_ids: Sequence[str]) -> None:
        """The hub has got these partitions in addition."""
        ...

    async def known_at_first(self, incarnation: int, partition_ids: Sequence[str]) -> frozenset[str]:
        """The partitions that this incarnation of the hub had when the deployment first read it: those of the first call, by
        whichever pod. Idempotent."""
        ...

    async def renew(self, pod_id: str, held: Sequence[Lease], presence: Presence = PRESENT) -> Renewal:
        """Prolongs the leases that this pod still holds, writes their records, and returns who takes part and what is free.
        A lease whose epoch is not the stored one is lost, whatever the reason."""
        ...

    async def take(self, pod_id: str, partition_id: str) -> Lease | None:
        """Takes a free partition's lease, with an epoch above all earlier ones; None when another pod holds it."""
        ...

    async def write(self, lease: Lease, record: LeaseRecord, *, release: bool = False) -> bool:
        """Writes the record, and with `release` gives the lease up. Returns False when the lease is lost. Idempotent."""
        ...

    async def began_ms(self, now_ms: int) -> int:
        """When work began here, in ms since the epoch: the time of the first call, by whichever pod."""
        ...

    async def leave(self, pod_id: str) -> None:
        """Removes this pod from the live ones."""
        ...

    async def may_sample(self, interval_seconds: float) -> bool:
        """True for one caller among all pods in each interval of this length."""
        ...

    async def save_sample(self, sample: EndOffsets, recent_seconds: float) -> None:
        """For so long from now on, it is the recent one."""
        ...

    async def recent_sample(self) -> EndOffsets | None: ...


class Precedence(Protocol):
    """Which pods go first where several kinds of them read one input hub with one consumer group."""

    async def must_wait(self) -> bool:
        """Whether this pod must leave all partitions to others. Called in every interval of renewals, before any lease is
        taken: a pod that goes first so says that it is there."""
        ...

    async def observed_until_ms(self) -> int | None:
        """When a pod that only observes was last there, in ms since the epoch."""
        ...


class Checkpoints(Protocol):
    """Finished positions of one input hub and consumer group."""

    async def load(self) -> dict[str, Position]:
        """By partition id."""
        ...

    async def save(self, partition_id: str, position: Position) -> None:
        """Idempotent. Unconditional: a former owner may move it back, which costs the next one some replays."""
        ...

    async def close(self) -> None: ...
