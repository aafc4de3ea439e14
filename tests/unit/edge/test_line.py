"""Time-outs follow the line: in virtual time, on a line that passes so many bytes a second."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from edge_sender.uplinks.line import Line
from tests.simulation.loop import SimulatedLoop

KBIT_64, MBIT_8 = 8_000, 1_000_000
TIMEOUT_SECONDS = 10.0


class Wire:
    """Passes messages in the order in which they are sent, and acknowledges each at its end."""

    def __init__(self, bytes_per_second: float) -> None:
        self.bytes_per_second = bytes_per_second
        self.carried = 0
        self._free_at = 0.0

    async def send(self, size: int) -> None:
        """What is given up is on its way, and goes on."""
        now = asyncio.get_running_loop().time()
        self.carried += size
        self._free_at = max(now, self._free_at) + size / self.bytes_per_second
        await asyncio.sleep(self._free_at - now)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    loop = SimulatedLoop(random.Random(1))
    try:
        loop.run_until_complete(scenario())
    finally:
        loop.close()


async def send(line: Line, wire: Wire, size: int) -> int:
    """Sends until it is acknowledged; returns the number of attempts."""
    for attempt in range(1, 20):
        try:
            async with line.passing(size):
                await wire.send(size)
            return attempt
        except TimeoutError:
            continue
    raise AssertionError("never acknowledged")


@pytest.mark.parametrize("size", [4_096, 250_000])
def test_what_moves_on_a_slow_line_is_sent_once(size: int) -> None:
    async def scenario() -> None:
        line, wire = Line(TIMEOUT_SECONDS), Wire(KBIT_64)
        attempts = await asyncio.gather(*(send(line, wire, size) for _ in range(64)))
        assert (set(attempts), wire.carried) == ({1}, 64 * size)

    run(scenario)


def test_a_line_that_becomes_slow_is_noticed_and_the_large_message_arrives() -> None:
    async def scenario() -> None:
        line, wire = Line(TIMEOUT_SECONDS), Wire(MBIT_8)
        for _ in range(50):
            await send(line, wire, 4_096)
        wire.bytes_per_second = KBIT_64
        assert set(await asyncio.gather(*(send(line, wire, 4_096) for _ in range(64)))) == {1}
        assert await send(line, wire, 250_000) <= 3
        assert await send(line, wire, 250_000) == 1

    run(scenario)


def test_a_line_that_stands_still_is_given_up_after_the_time_that_is_set() -> None:
    async def scenario() -> None:
        line, wire, loop = Line(TIMEOUT_SECONDS), Wire(MBIT_8), asyncio.get_running_loop()
        for _ in range(50):
            await send(line, wire, 4_096)
        began = loop.time()

        async def stuck() -> float:
            with pytest.raises(TimeoutError):
                async with line.passing(4_096):
                    await asyncio.Event().wait()
            return loop.time() - began

        waits = await asyncio.gather(*(stuck() for _ in range(32)))
        assert max(waits) == pytest.approx(TIMEOUT_SECONDS, abs=0.1)

    run(scenario)


def test_a_message_that_was_overtaken_is_lost_however_well_the_line_moves() -> None:
    async def scenario() -> None:
        line, wire, loop = Line(TIMEOUT_SECONDS), Wire(MBIT_8), asyncio.get_running_loop()

        async def lost() -> None:
            async with line.passing(4_096):
                await asyncio.Event().wait()

        waiting = asyncio.ensure_future(lost())
        while not waiting.done():
            await send(line, wire, 4_096)
        assert isinstance(waiting.exception(), TimeoutError)
        assert loop.time() == pytest.approx(TIMEOUT_SECONDS, abs=1)

    run(scenario)
