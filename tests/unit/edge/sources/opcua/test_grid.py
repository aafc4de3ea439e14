"""The moments at which all gateways read: the multiples of an interval since 1970, none of them twice, none of them late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sender.sources.opcua.grid import Grid, GridClock

INTERVAL = 1000
START = 10**18 + 123


@dataclass
class Clock:
    """Time passes by sleeping, and by what the test adds. `set_by` is added to the wall clock after a number of sleeps."""

    wall: int = START
    monotonic: int = 0
    set_by: dict[int, int] = field(default_factory=dict)
    sleeps: int = 0

    def pass_by(self, ns: int) -> None:
        self.wall += ns
        self.monotonic += ns

    async def sleep(self, seconds: float) -> None:
        self.pass_by(max(1, round(seconds * 10**9)))
        self.sleeps += 1
        self.wall += self.set_by.pop(self.sleeps, 0)

    def port(self) -> GridClock:
        return GridClock(lambda: self.wall, lambda: self.monotonic, self.sleep)


@dataclass
class Noted:
    missed: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)


def grid_of(clock: Clock, noted: Noted) -> Grid:
    return Grid(INTERVAL, clock.port(), noted.missed.append, noted.steps.append)


def points(grid: Grid, number: int, between: Callable[[int], None] = lambda _point: None) -> list[int]:
    async def run() -> list[int]:
        found = []
        for _ in range(number):
            found.append(await grid.point())
            between(found[-1])
        return found

    return asyncio.run(run())


FIRST = START - START % INTERVAL + INTERVAL


def test_the_points_are_the_multiples_of_the_interval_from_now_on() -> None:
    noted = Noted()
    assert points(grid_of(Clock(), noted), 3) == [FIRST, FIRST + INTERVAL, FIRST + 2 * INTERVAL]
    assert noted == Noted()


@given(st.lists(st.integers(0, 5 * INTERVAL), max_size=20))
def test_each_point_is_read_in_time_or_counted(taken: list[int]) -> None:
    """However long reading takes: no point twice, none later than half an interval, none lost uncounted."""
    clock, noted, lates, rest = Clock(), Noted(), list[int](), iter(taken)
    grid = grid_of(clock, noted)

    def between(point: int) -> None:
        lates.append(clock.wall - point)
        clock.pass_by(next(rest, 0))

    found = points(grid, len(taken) + 1, between)
    assert all(0 <= 2 * late <= INTERVAL for late in lates)
    assert found == sorted(set(found))
    assert all(point % INTERVAL == 0 for point in found)
    assert (found[-1] - FIRST) // INTERVAL + 1 == len(found) + sum(noted.missed)
    assert noted.steps == []


@pytest.mark.parametrize(("step", "first"), [(10**15, FIRST + 10**15), (-(10**15), FIRST - 10**15)])
def test_a_clock_that_is_set_begins_another_grid_and_misses_nothing(step: int, first: int) -> None:
    clock, noted = Clock(set_by={2: step}), Noted()
    found = points(grid_of(clock, noted), 3)
    assert found[0] == FIRST
    assert found[1:] == [first + 2 * INTERVAL, first + 3 * INTERVAL]
    assert noted == Noted(steps=[step])


def test_a_clock_that_is_put_back_a_little_gives_no_point_twice() -> None:
    clock, noted = Clock(set_by={1: -300}), Noted()
    assert points(grid_of(clock, noted), 3) == [FIRST, FIRST + INTERVAL, FIRST + 2 * INTERVAL]
    assert noted == Noted()


@pytest.mark.parametrize(("late", "is_over"), [(0, False), (500, False), (501, True), (-501, False)])
def test_what_is_late_by_more_than_half_an_interval_is_over(late: int, is_over: bool) -> None:
    assert grid_of(Clock(wall=FIRST + late), Noted()).is_over(FIRST) is is_over
