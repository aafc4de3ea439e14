"""What was before this pod: leases, whose end must be waited for, and published readings, which Redis can forget."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from dedup_service.errors import UnavailableError
from dedup_service.ports.clock import Clock
from dedup_service.ports.hubs import CleanTail
from dedup_service.telemetry import Telemetry

ASK_AGAIN_SECONDS = 30.0


@dataclass(slots=True)
class Past:
    may_have_worked: Callable[[], Awaitable[bool]]
    """Whether this deployment may ever have had leases."""
    tail: CleanTail
    clean_partitions: Collection[str]
    clock: Clock
    telemetry: Telemetry
    _worked: bool | None = None
    has_published: bool | None = None
    """Whether the clean hub ever held anything. If not, there was nothing that Redis could forget. None: can't be told."""
    _ask_at: float = float("-inf")
    """Monotonic seconds."""

    @property
    def has_worked(self) -> bool:
        """Also where that can't be told: to wait for leases that were not there costs seconds only."""
        return self._worked is not False

    async def ask(self) -> None:
        """Asks for what was not there before. The rebuild does not wait for a store or a hub that is away."""
        if self.has_published or self.clock.monotonic() < self._ask_at:
            return
        try:
            self._worked = self._worked or await self.may_have_worked()
            self.has_published = self._worked and await self._has_clean_events()
        except UnavailableError as error:
            self.telemetry.failed(error.dependency)
            self._worked, self.has_published = self._worked or None, None
            self._ask_at = self.clock.monotonic() + ASK_AGAIN_SECONDS

    async def _has_clean_events(self) -> bool:
        """Every pod asks, so one partition of a hub in use is enough; the others are asked where that one is empty."""
        partitions = list(self.clean_partitions)
        for part in (partitions[:1], partitions[1:]):
            if any(await asyncio.gather(*map(self._holds_events, part))):
                return True
        return False

    async def _holds_events(self, partition_id: str) -> bool:
        return (await self.tail.partition_state(partition_id)).last_sequence_number >= 0
