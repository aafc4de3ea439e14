"""An event loop whose time is virtual and whose order is drawn from a seed."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import deque
from typing import Any


class StuckError(Exception):
    """Nothing is ready and nothing is due: every task waits for another."""


class _NoIo(selectors.SelectSelector):
    """Advances the virtual time instead of waiting for sockets."""

    loop: SimulatedLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise StuckError
        self.loop.now += timeout
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Ready callbacks run in random order, and sleeping ones wake in the order of virtual time."""

    def __init__(self, rng: random.Random) -> None:
        selector = _NoIo()
        super().__init__(selector)
        selector.loop = self
        self.now = 0.0
        self._rng = rng
        self._ready: deque[Any]

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if len(self._ready) > 1:
            ready = list(self._ready)
            self._rng.shuffle(ready)
            self._ready.clear()
            self._ready.extend(ready)
        super()._run_once()  # type: ignore[misc]  # private, and the one place where order is decided
