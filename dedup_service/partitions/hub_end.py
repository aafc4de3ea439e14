"""Where the input hub ends in one partition, asked of the hub itself: what was delivered says nothing of what is waiting."""

from __future__ import annotations

import asyncio

from dedup_service.core.progress import Position
from dedup_service.errors import UnavailableError
from dedup_service.ports.clock import Clock
from dedup_service.ports.hubs import InputHub, PartitionState
from dedup_service.telemetry import PartitionFigures, Telemetry

ASK_SECONDS = 30.0


class HubEnd:
    """Keeps the figures of one partition up to date. Only its owner asks, and only while no known event is waiting."""

    def __init__(
        self, hub: InputHub, partition_id: str, figures: PartitionFigures, clock: Clock, telemetry: Telemetry
    ) -> None:
        self._hub = hub
        self._partition_id = partition_id
        self._figures = figures
        self._clock = clock
        self._telemetry = telemetry
        self._asked_at = clock.monotonic()
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, finished: Position | None) -> PartitionState:
        """Raises UnavailableError."""
        self._asked_at = self._clock.monotonic()
        state = await self._hub.partition_state(self._partition_id)
        self.saw(state, finished)
        return state

    def saw(self, state: PartitionState, finished: Position | None) -> None:
        """Somebody has asked."""
        self._asked_at = self._clock.monotonic()
        self._figures.saw_end(state.last_enqueued_ms, is_behind=state.has_more_than(finished))

    def ask_if_due(self, finished: Position | None) -> None:
        """Asks beside the work, which does not wait for the answer."""
        is_asking = self._asking is not None and not self._asking.done()
        is_behind = self._figures.enqueued_ms < self._figures.last_enqueued_ms
        if is_asking or is_behind or self._clock.monotonic() - self._asked_at < ASK_SECONDS:
            return
        self._asking = asyncio.create_task(self._ask(finished))

    async def _ask(self, finished: Position | None) -> None:
        try:
            await self.ask(finished)
        except UnavailableError as error:  # the work itself notices and says so
            self._telemetry.failed(error.dependency)
        except Exception as error:  # noqa: BLE001  # a defect; the next question is asked all the same
            self._telemetry.worker_failed(self._partition_id, error)

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
