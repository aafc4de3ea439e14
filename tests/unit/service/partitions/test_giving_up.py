"""A pod that can't work on its partitions leaves them to those that can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from dedup_service.core.events import InputEvent
from dedup_service.core.stalls import HOLD_SECONDS, MARGIN_SECONDS, STALL_SECONDS, is_hopeless
from dedup_service.errors import UnavailableError
from dedup_service.partitions.assignment import Assignment
from dedup_service.ports.hubs import HubInfo, PartitionState, StartPosition
from dedup_service.telemetry import Count, lag_seconds
from tests.doubles.memory import MemoryHub, MemoryReader
from tests.support.plant import Plant, eventually, pod
from tests.support.shared import INPUT_HUB, INPUT_HUB_READING


@dataclass
class Route:
    """The way of one pod to the input hub."""

    hub: MemoryHub
    is_open: bool = True
    is_silent: bool = False
    """While it is closed: whether connections stay open without a word."""
    dependency = INPUT_HUB
    asked: int = field(default=0)

    async def _pass(self) -> None:
        self.asked += 1
        if not self.is_open:
            await self.hub.clock.sleep(1.0)
            raise UnavailableError(INPUT_HUB, "no route")

    async def info(self, max_age_seconds: float = 0.0) -> HubInfo:
        await self._pass()
        return await self.hub.info()

    async def partition_state(self, partition_id: str) -> PartitionState:
        await self._pass()
        return await self.hub.partition_state(partition_id)

    def open(self, partition_id: str, start: StartPosition, owner_level: int | None) -> RoutedReader:
        return RoutedReader(self, self.hub.open(partition_id, start, owner_level))


@dataclass
class RoutedReader:
    route: Route
    reader: MemoryReader

    async def read(self, max_wait_seconds: float) -> list[InputEvent]:
        if self.route.is_open:
            return await self.reader.read(max_wait_seconds)
        await self.route.hub.clock.sleep(max_wait_seconds)
        if self.route.is_silent:
            return []
        raise UnavailableError(INPUT_HUB_READING, "no route")

    def close(self) -> None:
        self.reader.close()


@asynccontextmanager
async def running(*pods: Assignment) -> AsyncIterator[None]:
    stop = asyncio.Event()
    tasks = [asyncio.create_task(assignment.run(stop)) for assignment in pods]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)


def held(assignment: Assignment) -> set[str]:
    return {lease.partition_id for lease in assignment._held()}


def plant_of(partitions: int) -> Plant:
    plant = Plant(partitions=partitions)
    plant.leases.ttl_seconds = 1e6
    return plant


@pytest.mark.parametrize("is_silent", [False, True])
async def test_a_pod_that_is_cut_off_from_the_hub_leaves_its_partitions_to_an_idle_one(is_silent: bool) -> None:
    plant = plant_of(partitions=1)
    route = Route(plant.hub, is_silent=is_silent)
    cut_off, healthy = pod(plant, "a", route), pod(plant, "b")
    async with running(cut_off, healthy):
        await eventually(lambda: held(cut_off) == {"0"} and plant.telemetry.total(Count.TAKEOVERS) == 1)
        route.is_open = False
        plant.emit("x", "y")
        await eventually(lambda: plant.published == ["x", "y"])
        assert held(healthy) == {"0"}
    assert plant.telemetry.total(Count.GIVEN_UP) == 1


async def test_it_takes_part_again_once_it_reaches_the_hub() -> None:
    plant = plant_of(partitions=4)
    route = Route(plant.hub, is_open=True)
    cut_off, healthy = pod(plant, "a", route), pod(plant, "b")
    async with running(cut_off, healthy):
        await eventually(lambda: len(held(cut_off)) == len(held(healthy)) == 2)
        route.is_open = False
        await eventually(lambda: len(held(healthy)) == 4)
        given_up, until = plant.telemetry.total(Count.GIVEN_UP), plant.clock.monotonic() + 3 * HOLD_SECONDS
        await eventually(lambda: plant.clock.monotonic() > until)
        assert (len(held(healthy)), plant.telemetry.total(Count.GIVEN_UP)) == (4, given_up)
        route.is_open = True
        await eventually(lambda: len(held(cut_off)) == len(held(healthy)) == 2)


async def test_a_pod_that_does_not_reach_the_hub_takes_nothing() -> None:
    """Neither while it stands still on what it has, nor with nothing."""
    plant = plant_of(partitions=4)
    routes = [Route(plant.hub), Route(plant.hub)]
    cut_off, idle, healthy = pod(plant, "a", routes[0]), pod(plant, "b", routes[1]), pod(plant, "c")
    plant.leases.partition_ids = ["0"]
    async with running(cut_off):
        await eventually(lambda: held(cut_off) == {"0"} and plant.telemetry.total(Count.TAKEOVERS) == 1)
        async with running(idle):
            routes[0].is_open = routes[1].is_open = False
            asked = routes[1].asked
            await eventually(lambda: routes[1].asked > asked + 1)
            plant.leases.add_partitions(["1", "2", "3"])
            until = plant.clock.monotonic() + 12.0
            await eventually(lambda: plant.clock.monotonic() > until)
            assert (held(cut_off), held(idle)) == ({"0"}, set())
            async with running(healthy):
                await eventually(lambda: held(healthy) >= {"1", "2", "3"})


async def test_while_the_hub_is_away_for_all_everyone_keeps_what_they_have() -> None:
    plant = plant_of(partitions=4)
    route = Route(plant.hub)
    one, two = pod(plant, "a", route), pod(plant, "b", route)
    async with running(one, two):
        await eventually(lambda: len(held(one)) == len(held(two)) == 2)
        shares = held(one), held(two)
        route.is_open = False
        until = plant.clock.monotonic() + 5 * HOLD_SECONDS
        await eventually(lambda: plant.clock.monotonic() > until)
        assert (held(one), held(two)) == shares
        route.is_open = True
        plant.emit("x")
        await eventually(lambda: plant.published == ["x"])
    assert plant.telemetry.total(Count.GIVEN_UP) == 0


async def test_a_pod_that_is_alone_keeps_its_partitions() -> None:
    plant = plant_of(partitions=2)
    route = Route(plant.hub)
    alone = pod(plant, "a", route)
    async with running(alone):
        await eventually(lambda: len(held(alone)) == 2)
        route.is_open = False
        until = plant.clock.monotonic() + 3 * HOLD_SECONDS
        await eventually(lambda: plant.clock.monotonic() > until)
        assert len(held(alone)) == 2


async def test_a_partition_that_the_hub_does_not_answer_about_has_the_lag_since_then() -> None:
    plant = plant_of(partitions=1)
    route = Route(plant.hub)
    plant.emit("x")
    async with running(pod(plant, "a", route)):
        await eventually(lambda: plant.published == ["x"])
        figures = plant.telemetry.partitions["0"]
        await eventually(lambda: lag_seconds(figures, plant.clock.now_ms()) == 0)
        route.is_open = False
        await eventually(lambda: lag_seconds(figures, plant.clock.now_ms()) > 25)
        route.is_open = True
        await eventually(lambda: lag_seconds(figures, plant.clock.now_ms()) == 0)


async def test_events_that_wait_in_a_deaf_partition_show_as_lag() -> None:
    """The receiver says nothing, but the hub does: it is asked for its end."""
    plant = plant_of(partitions=1)
    plant.emit("x")
    async with running(pod(plant, "a")):
        await eventually(lambda: plant.published == ["x"])
        plant.hub.deaf = True
        plant.emit("y")
        figures = plant.telemetry.partitions["0"]
        await eventually(lambda: lag_seconds(figures, plant.clock.now_ms()) > 5)
        assert figures.last_enqueued_ms == plant.hub.partitions["0"][-1].enqueued_ms
        plant.hub.deaf = False
        await eventually(lambda: plant.published == ["x", "y"])


NOW = 1_000.0
LONG_AGO = 0.0
STALLED = NOW - STALL_SECONDS


@pytest.mark.parametrize(
    ("taken_at", "stalled_since", "others_at", "expected"),
    [
        (LONG_AGO, STALLED, STALLED + MARGIN_SECONDS, True),
        (LONG_AGO, None, NOW, False),
        (LONG_AGO, STALLED + 0.1, NOW, False),
        (LONG_AGO, STALLED, STALLED + MARGIN_SECONDS - 0.1, False),
        (NOW - HOLD_SECONDS, STALLED, NOW, True),
        (NOW - HOLD_SECONDS + 0.1, STALLED, NOW, False),
        (LONG_AGO, STALLED, float("-inf"), False),
    ],
)
def test_a_partition_is_hopeless_when_it_stands_still_while_others_get_on(
    taken_at: float, stalled_since: float | None, others_at: float, expected: bool
) -> None:
    assert is_hopeless(NOW, taken_at, stalled_since, NOW - others_at) is expected
