"""How the service waits for what is unavailable: for an operation to succeed, and at the start for what it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar

from dedup_service.errors import ConfigurationError, Dependency, ForgottenError, StoppingError, UnavailableError
from dedup_service.ports.clock import Clock
from dedup_service.telemetry import PartitionFigures, Telemetry
from wire.backoff import pause_seconds

FIRST_BACKOFF_SECONDS = 0.1
MAX_BACKOFF_SECONDS = 2.0
STARTUP_RETRY_SECONDS = 1.0
FINISHING_SECONDS = 5.0
"""For how long a pod that was asked to leave goes on sending what it has claimed."""

T = TypeVar("T")


@dataclass(slots=True)
class Activity:
    """Whether a partition's worker gets on. Times are monotonic seconds."""

    clock: Clock
    figures: PartitionFigures
    taken_at: float = field(init=False)
    progressed_at: float = field(init=False)
    """When the worker last finished something, or heard from the hub that nothing is waiting."""
    stalled_since: float | None = field(init=False, default=None)
    """When the operation began that fails since then; None while the worker gets on."""

    def __post_init__(self) -> None:
        self.taken_at = self.progressed_at = self.clock.monotonic()

    @property
    def is_stalled(self) -> bool:
        return self.stalled_since is not None

    def progressed(self) -> None:
        self.progressed_at = self.clock.monotonic()
        self.goes_on()

    def goes_on(self) -> None:
        """What failed works again."""
        self.stalled_since, self.figures.stalled_since_ms = None, 0

    def fails(self, began_at: float) -> bool:
        """An operation that began then has failed. Returns whether a stall begins with it."""
        if self.stalled_since is not None:
            return False
        self.stalled_since = began_at
        self.figures.stalled_since_ms = self.clock.now_ms() - round((self.clock.monotonic() - began_at) * 1000)
        return True


@dataclass(slots=True)
class Stop:
    """Whether a worker was asked to stop, and whether it has had the time to finish since."""

    clock: Clock
    _asked_at: float | None = field(init=False, default=None)

    def ask(self) -> None:
        if self._asked_at is None:
            self._asked_at = self.clock.monotonic()

    @property
    def is_asked(self) -> bool:
        return self._asked_at is not None

    @property
    def seconds_left(self) -> float:
        """Endless for one that was not asked."""
        return inf if self._asked_at is None else self._asked_at + FINISHING_SECONDS - self.clock.monotonic()

    @property
    def is_overdue(self) -> bool:
        return self.seconds_left <= 0


class Retrier:
    """Runs an operation until it succeeds. The operation must be safe to repeat."""

    def __init__(self, clock: Clock, telemetry: Telemetry, stop: Stop, activity: Activity) -> None:
        """`activity` is that of the worker, which stands still while it waits here."""
        self._clock = clock
        self._telemetry = telemetry
        self._stop = stop
        self._activity = activity

    def raise_if_stopping(self) -> None:
        """To be called before anything new is begun. Raises StoppingError."""
        if self._stop.is_asked:
            raise StoppingError("stopped between two batches")

    def raise_if_overdue(self) -> float:
        """To be called between the sends of what is begun. Raises StoppingError when a pod that leaves has had the time to
        finish; what is unfinished then is left to the next owner, as after a crash. Returns how many seconds are left."""
        if self._stop.is_overdue:
            raise StoppingError("stopped between two sends")
        return self._stop.seconds_left

    async def run(self, operation: Callable[[], Awaitable[T]], *, repeat_ambiguous: bool = True) -> T:
        """Backs off and repeats on UnavailableError; without `repeat_ambiguous`, an ambiguous one is raised after the
        back-off.

        Raises StoppingError when a pod that leaves has had the time to finish while the dependency is down, and any other
        error of the operation.
        """
        failing_since: float | None = None
        failed: Dependency | None = None
        begins_stall = False
        while True:
            began_at = self._clock.monotonic()
            try:
                result = await operation()
            except UnavailableError as error:
                failed = error.dependency
                begins_stall = self._activity.fails(began_at) or begins_stall
                self._telemetry.unavailable(error.dependency, error.problem)
                if self._stop.is_overdue:
                    self._telemetry.forget(error.dependency)
                    raise StoppingError(str(error)) from error
                failing_since = began_at if failing_since is None else failing_since
                away_seconds = self._clock.monotonic() - failing_since
                await self._clock.sleep(pause_seconds(away_seconds, first=FIRST_BACKOFF_SECONDS, most=MAX_BACKOFF_SECONDS))
                if error.ambiguous and not repeat_ambiguous:
                    raise
            except ForgottenError:
                self._answers(failed, begins_stall=begins_stall)
                raise
            else:
                self._answers(failed, begins_stall=begins_stall)
                return result

    def _answers(self, failed: Dependency | None, *, begins_stall: bool) -> None:
        if failed is not None:
            self._telemetry.available(failed)
        if begins_stall:
            self._activity.goes_on()


@dataclass(frozen=True, slots=True)
class StartupWait:
    """Waits at the start for what the service needs. It may become available later, but a refusal means a wrong setting."""

    clock: Clock
    telemetry: Telemetry
    stop: asyncio.Event

    async def available(self, setting: str, example: str, operation: Callable[[], Awaitable[T]]) -> T | None:
        """The operation's result once it succeeds; None when stopped meanwhile. Raises ConfigurationError when it is
        refused."""
        failed: Dependency | None = None
        while not self.stop.is_set():
            try:
                result = await self._unless_stopped(operation)
            except UnavailableError as error:
                if error.refused:
                    raise ConfigurationError(setting, error.problem, example) from None
                failed = error.dependency
                self.telemetry.unavailable(failed, error.problem)
                await self.clock.sleep(STARTUP_RETRY_SECONDS)
            else:
                if failed is not None:
                    self.telemetry.available(failed)
                return result
        return None

    async def _unless_stopped(self, operation: Callable[[], Awaitable[T]]) -> T | None:
        running, stopping = asyncio.ensure_future(operation()), asyncio.create_task(self.stop.wait())
        waiting: set[asyncio.Future[Any]] = {running, stopping}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return running.result() if running.done() else None
        finally:
            for future in waiting:
                future.cancel()
