"""A task that is cancelled ends, whatever else happens in that turn of the loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from wire.cancellation import wait_for

WAITS: dict[str, Callable[[Awaitable[Any], float | None], Awaitable[Any]]] = {"own": wait_for, "asyncio": asyncio.wait_for}
"""In these tests' process the second is the first, or that of a newer Python."""
TURNS = 6


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
@pytest.mark.parametrize("turns", range(TURNS))
async def test_a_cancellation_is_not_lost_when_what_is_waited_for_comes_at_the_same_time(
    wait: Callable[[Awaitable[Any], float | None], Awaitable[Any]], turns: int
) -> None:
    arrived = asyncio.Event()

    async def reads_frames() -> None:
        while True:
            await wait(arrived.wait(), 60)
            arrived.clear()

    task = asyncio.create_task(reads_frames())
    await asyncio.sleep(0.01)
    arrived.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=2)
    assert task.cancelled()


async def test_what_comes_in_time_is_returned_and_what_does_not_is_cancelled() -> None:
    async def comes() -> str:
        await asyncio.sleep(0)
        return "come"

    never = asyncio.get_running_loop().create_future()
    assert await wait_for(comes(), 60) == "come"
    assert await wait_for(comes(), None) == "come"
    with pytest.raises(TimeoutError):
        await wait_for(never, 0.01)
    assert never.cancelled()


@pytest.mark.parametrize("seconds", [0, -1])
async def test_without_time_only_what_is_there_is_returned(seconds: float) -> None:
    there, never = asyncio.get_running_loop().create_future(), asyncio.get_running_loop().create_future()
    there.set_result("there")
    assert await wait_for(there, seconds) == "there"
    with pytest.raises(TimeoutError):
        await wait_for(never, seconds)
    assert never.cancelled()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python loses none")
@pytest.mark.parametrize("program", ["dedup_service", "edge_sender", "sandbox", "benchmarks"])
def test_every_program_keeps_them(program: str) -> None:
    code = (
        f"import asyncio, runpy, atexit; atexit.register(lambda: print(asyncio.wait_for.__module__)); "
        f"import sys; sys.argv = ['x', '--help']; runpy.run_module({program!r}, run_name='__main__')"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "wire.cancellation"
