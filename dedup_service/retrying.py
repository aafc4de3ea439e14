"""Slow down and retry: how the service waits for a dependency."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dedup_service.errors import StoppingError, UnavailableError
from dedup_service.ports import Clock
from dedup_service.telemetry import Telemetry

FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 2.0

T = TypeVar("T")


class Retrying:
    """Runs an operation until it succeeds. The operation must be safe to repeat."""

    def __init__(self, clock: Clock, telemetry: Telemetry, stopping: asyncio.Event) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._stopping = stopping

    async def run(self, operation: Callable[[], Awaitable[T]], *, repeat_ambiguous: bool = True) -> T:
        """Without `repeat_ambiguous` an ambiguous UnavailableError is raised, after the back-off, and not repeated.

        Raises StoppingError when the service stops while the dependency is down, and what else the operation raises."""
        backoff = FIRST_BACKOFF_SECONDS
        failed: str | None = None
        while True:
            try:
                result = await operation()
            except UnavailableError as error:
                failed = error.what
                self._telemetry.unavailable(error.what, error.problem)
                if self._stopping.is_set():
                    self._telemetry.forget(error.what)
                    raise StoppingError(str(error)) from error
                await self._clock.sleep(backoff)
                if error.ambiguous and not repeat_ambiguous:
                    raise
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
            else:
                if failed is not None:
                    self._telemetry.available(failed)
                return result
