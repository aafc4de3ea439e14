"""Waiting at the start for what the service needs: it may come later, but a refusal is a wrong setting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from dedup_service.errors import ConfigurationError, UnavailableError
from dedup_service.ports import Clock
from dedup_service.telemetry import Telemetry

T = TypeVar("T")

RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Connecting:
    clock: Clock
    telemetry: Telemetry
    stop: asyncio.Event

    async def available(self, setting: str, example: str, operation: Callable[[], Awaitable[T]]) -> T | None:
        """Its result, once it succeeds; None when stopped meanwhile. Raises ConfigurationError where it is refused."""
        what = ""
        while not self.stop.is_set():
            try:
                result = await self._unless_stopped(operation)
            except UnavailableError as error:
                if error.refused:
                    raise ConfigurationError(setting, error.problem, example) from None
                what = error.what
                self.telemetry.unavailable(what, error.problem)
                await self.clock.sleep(RETRY_SECONDS)
            else:
                self.telemetry.available(what)
                return result
        return None

    async def _unless_stopped(self, operation: Callable[[], Awaitable[T]]) -> T | None:
        running, stopping = asyncio.ensure_future(operation()), asyncio.create_task(self.stop.wait())
        waiting: set[asyncio.Future[Any]] = {running, stopping}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if running.done():
            return running.result()
        running.cancel()
        return None
