"""Calls that are made at the same moment and ask the same become one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class SingleFlight:
    """Whoever asks while the same is being asked waits for that answer, or that error. A caller that is cancelled does not
    cancel it for the others; when nobody waits any more, it still ends by itself."""

    def __init__(self) -> None:
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    async def run(self, what: Hashable, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """`what` identifies the question. Raises whatever `ask` raises."""
        task: asyncio.Task[T] | None = self._under_way.get(what)
        if task is None:
            task = self._under_way[what] = asyncio.create_task(ask())
            task.add_done_callback(lambda done: self._end(what, done))
        return await asyncio.shield(task)

    def _end(self, what: Hashable, task: asyncio.Task[Any]) -> None:
        del self._under_way[what]
        if not task.cancelled():
            task.exception()  # all who waited may have been cancelled, and then nobody would retrieve it
