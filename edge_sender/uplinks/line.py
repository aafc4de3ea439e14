"""How long to wait for an acknowledgement, on a line whose speed nobody has told.

A send that is given up is sent again, although its bytes may still be on their way: on a slow line that is the surest way to
make it slower. So what counts is whether the line moves. Messages arrive in the order in which they were sent; each
acknowledgement shows that those behind it move, and begins their time anew. A message that is next has the time that is
set, and that which its size takes at the speed that was measured.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

SLOWEST_BYTES_PER_SECOND = 8000
"""Assumed until something is measured: 64 kbit/s."""
FLOOR_BYTES_PER_SECOND = 1000
REMEMBERED = 0.75
"""The weight of what was measured before, against the next acknowledgement."""


@dataclass(eq=False, slots=True)
class _Passing:
    size: int
    grace: float
    since: float
    """When its time began, last."""
    scope: asyncio.Timeout


class Line:
    """Times are those of the running event loop."""

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        """How long a line may stand still."""
        self._bytes, self._seconds = float(SLOWEST_BYTES_PER_SECOND), 1.0
        self._moved_at = self._slowed_at = 0.0
        self._under_way: list[_Passing] = []
        """In the order in which they were sent."""

    def seconds_for(self, size: int) -> float:
        """How long a message of `size` bytes may take that is alone on the line."""
        speed = max(self._bytes / self._seconds, FLOOR_BYTES_PER_SECOND)
        return self.timeout_seconds + size / speed

    @asynccontextmanager
    async def passing(self, size: int, *, grace: float = 0.0) -> AsyncIterator[None]:
        """For a send that returns once it is acknowledged. Raises TimeoutError, `grace` seconds late, if the line stands
        still, or if later ones were acknowledged and this one was not."""
        now = asyncio.get_running_loop().time()
        async with asyncio.timeout(self.seconds_for(size) + grace) as scope:
            one = _Passing(size, grace, now, scope)
            self._under_way.append(one)
            try:
                yield
                self._arrived(one)
            except asyncio.CancelledError:
                if scope.expired():
                    self._stood_still(one)
                raise
            finally:
                self._under_way.remove(one)

    def _arrived(self, one: _Passing) -> None:
        now = asyncio.get_running_loop().time()
        if one.size:
            self._bytes = REMEMBERED * self._bytes + one.size
            self._seconds = REMEMBERED * self._seconds + max(now - max(one.since, self._moved_at), 1e-6)
        self._moved_at = now
        for behind in self._under_way[self._under_way.index(one) + 1 :]:
            if not behind.scope.expired():
                behind.since = now
                behind.scope.reschedule(now + self.seconds_for(behind.size) + behind.grace)

    def _stood_still(self, one: _Passing) -> None:
        """The line may have become slower than it was: the next attempt gets more time. Those that were under way together
        tell that once."""
        if one.since >= self._slowed_at:
            self._seconds *= 2
            self._slowed_at = asyncio.get_running_loop().time()
