"""How far this owner may have begun to send. It is written before it is true, so that the next owner need not take
everything up to the end of the partition for something that may have been sent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from dedup_service.core.leases import Lease
from dedup_service.errors import LeaseLostError
from dedup_service.ports.ownership import Leases
from dedup_service.waiting import Retrier

AHEAD_EVENTS = 30_000
"""More than are handled between two renewals, with which it is written: then it costs no call of its own."""


@dataclass(frozen=True, slots=True)
class Beginning:
    lease: Lease
    leases: Leases
    retrier: Retrier
    ahead_events: int = AHEAD_EVENTS

    async def reach(self, number: int) -> None:
        """To be called before anything up to this sequence number is sent. Raises LeaseLostError and StoppingError."""
        lease = self.lease
        if number + self.ahead_events // 2 > lease.begun:
            lease.begun = number + self.ahead_events
        if number <= lease.begun_written or lease.record is None:
            return
        if not await self.retrier.run(partial(self.leases.write, lease, lease.record)):
            raise LeaseLostError(f"another owner has partition {lease.partition_id}")
