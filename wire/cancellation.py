"""Cancellations that arrive, under every Python that is supported."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


def keep_cancellations() -> None:
    """To be called once, before anything waits.

    `asyncio.wait_for` of Python 3.11 loses a cancellation that comes in the same turn of the loop as what it waits for.
    The SDKs wait so for every frame: a task of theirs that is stopped at that moment would go on for ever, and whoever
    stopped it would wait as long. From Python 3.12 on it waits as it does here.
    (https://github.com/python/cpython/issues/86296)
    """
    if sys.version_info < (3, 12):
        setattr(asyncio, "wait_for", wait_for)  # noqa: B010  # an assignment is none that a type checker would allow
        setattr(asyncio.tasks, "wait_for", wait_for)  # noqa: B010  # the same


async def wait_for(awaited: Awaitable[T], timeout: float | None) -> T:  # it is called as the other one
    """What it waits for is cancelled at the time-out, in seconds. Raises TimeoutError."""
    if timeout is not None and timeout <= 0:
        return await _at_once(asyncio.ensure_future(awaited))
    async with asyncio.timeout(timeout):
        return await awaited


async def _at_once(future: asyncio.Future[T]) -> T:
    if not future.done():
        future.cancel()
        await asyncio.wait([future])
    if future.cancelled():
        raise TimeoutError
    return future.result()
