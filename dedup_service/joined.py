"""Questions to a hub and readings of it, each of which costs the SDK a connection: those that are asked while another one is
under way become one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Joined(Generic[T]):
    """Nobody gets an answer to a question that was asked before their own: whoever comes while one is under way waits for
    the next, which all of them share. A caller that is cancelled does not cancel it for the others."""

    def __init__(self, ask: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._ask = ask
        self._under_way: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Raises whatever the question raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._ask_after(self._under_way))
            self._next.add_done_callback(_retrieve)
        return await asyncio.shield(self._next)

    async def _ask_after(self, earlier: asyncio.Task[T] | None) -> T:
        if earlier is not None:
            await asyncio.wait({earlier})
        self._under_way, self._next = self._next, None
        return await self._ask()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """All who waited may have been cancelled, and then nobody would."""
    if not task.cancelled():
        task.exception()
