"""What one pod makes for all, through Redis: what it costs does not grow with the number of pods."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dedup_service.ports.pods import PodBoard

T = TypeVar("T")

FRESH_MS, TURN_MS, KEEP_MS = 1_000, 15_000, 20_000
RESTS, LONGEST_REST_MS = 4, 15_000
"""How many times as long as it took to make one until the next is made: in a large deployment that takes seconds, and would
otherwise occupy one pod all the time."""
WAIT_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Share(Generic[T]):
    board: PodBoard
    name: str
    """Of what is shared. Pods that would make something else need another name."""
    encode: Callable[[T], bytes]
    decode: Callable[[bytes | None], T | None]
    """None for what is nothing of that kind: anybody may have written it into Redis."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    monotonic: Callable[[], float] = time.monotonic

    async def current(self, make: Callable[[T | None], Awaitable[T]]) -> T:
        """The one that a pod made a moment ago, or a new one, which this pod makes if nobody else does. `make` gets the one
        before, where that is still kept. Raises UnavailableError."""
        while True:
            found = await self.board.shared(self.name, FRESH_MS, TURN_MS)
            known = self.decode(found.content)
            if found.is_mine_to_make:
                began = self.monotonic()
                made = await make(known)
                rest_ms = min(LONGEST_REST_MS, round(RESTS * (self.monotonic() - began) * 1000))
                await self.board.share(self.name, self.encode(made), KEEP_MS + rest_ms, rest_ms)
                return made
            if known is not None:
                return known
            await self.sleep(WAIT_SECONDS)
