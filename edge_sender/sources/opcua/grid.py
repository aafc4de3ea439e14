"""When variables are read together: at the multiples of an interval since 1970, by the gateway's wall clock. Pure, but for
the clock that it is given."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from wire.ids import NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class GridClock:
    """`now_ns` and `monotonic_ns` in nanoseconds, the former since 1970; `sleep` takes seconds."""

    now_ns: Callable[[], int] = time.time_ns
    monotonic_ns: Callable[[], int] = time.monotonic_ns
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


SYSTEM_CLOCK = GridClock()


@dataclass(slots=True)
class Grid:
    """`missed` is called with a number of points that were over by more than half an interval before they could be read,
    `stepped` with the nanoseconds by which the clock was set."""

    interval_ns: int
    clock: GridClock = SYSTEM_CLOCK
    missed: Callable[[int], None] = lambda _points: None
    stepped: Callable[[int], None] = lambda _step_ns: None
    _next_ns: int | None = None
    _offset_ns: int | None = None
    """Of the wall clock from the monotonic one."""

    async def point(self) -> int:
        """The next point, in nanoseconds since 1970. Returns when it has come, by less than half an interval ago."""
        while True:
            self._notice_step()
            now_ns = self.clock.now_ns()
            if self._next_ns is None:
                self._next_ns = now_ns - now_ns % self.interval_ns + self.interval_ns
            if now_ns < self._next_ns:
                await self.clock.sleep((self._next_ns - now_ns) / NS_PER_SECOND)
                continue
            if (over := -((self.interval_ns - 2 * (now_ns - self._next_ns)) // (2 * self.interval_ns))) > 0:
                self._next_ns += over * self.interval_ns
                self.missed(over)
                continue
            point_ns, self._next_ns = self._next_ns, self._next_ns + self.interval_ns
            return point_ns

    def is_over(self, point_ns: int) -> bool:
        """Whether what is read now belongs to a later point."""
        return 2 * (self.clock.now_ns() - point_ns) > self.interval_ns

    def _notice_step(self) -> None:
        """A clock that is set by more than half an interval begins another grid: what lies between was not missed."""
        offset_ns = self.clock.now_ns() - self.clock.monotonic_ns()
        step_ns = 0 if self._offset_ns is None else offset_ns - self._offset_ns
        self._offset_ns = offset_ns
        if 2 * abs(step_ns) > self.interval_ns:
            self._next_ns = None
            self.stepped(step_ns)
