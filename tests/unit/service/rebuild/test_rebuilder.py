"""A rebuild that nothing may stop: newest parts first, and around pods that can't read."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dedup_service.core.events import InputEvent
from dedup_service.core.markers import BEGINNING_MS, MAX_PART_MS, Memory, ReadBack
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.errors import Dependency, DependencyKind, UnavailableError
from dedup_service.ports.hubs import PartitionReader, StartPosition
from dedup_service.rebuild.making import MAX_HORIZON_MS, MIN_HORIZON_MS, horizon_ms
from dedup_service.rebuild.past import Past
from dedup_service.rebuild.reading_back import ReadingBack
from dedup_service.rebuild.rebuilder import MAX_READERS, Rebuilder, RebuildOptions
from dedup_service.telemetry import Telemetry
from tests.doubles.markers import MemoryMarkers, MemoryServer
from tests.doubles.memory import MemoryClaims, MemoryClock, MemoryPublisher
from tests.support.groups import group_of
from tests.support.rebuilds import WINDOW_MS, reader_of

READING = Dependency(DependencyKind.CLEAN_HUB_READING, "", "0")
HORIZON_MS = 120_000
ROUNDS = 3000


async def never() -> bool:
    return False


class Hub(MemoryPublisher):
    """Remembers from where its partitions are read. `is_away` for pods that can't reach it."""

    def __init__(self, clock: MemoryClock, partitions: int) -> None:
        super().__init__({str(n): [] for n in range(partitions)}, clock)
        self.read_from: list[tuple[str, int]] = []
        for partition, log in self.partitions.items():
            log += [OutgoingEvent(b"{}", None, None, None, None, {}, 0)] * 60
            self.times[partition] = [clock.now_ms() - WINDOW_MS + 60_000 * n for n in range(60)]

    def open_reader(self, partition_id: str, start: StartPosition, *, by_force: bool = False) -> Any:
        self.read_from.append((partition_id, start.enqueued_ms or 0))
        return super().open_reader(partition_id, start, by_force=by_force)


class NoReader(PartitionReader):
    async def read(self, max_wait_seconds: float) -> list[InputEvent]:
        raise UnavailableError(READING, "no route")

    def close(self) -> None:
        return


class UnreachableHub(Hub):
    def open_reader(self, partition_id: str, start: StartPosition, *, by_force: bool = False) -> Any:
        self.read_from.append((partition_id, start.enqueued_ms or 0))
        return NoReader()


class Pod:
    def __init__(
        self, name: str, server: MemoryServer, hub: Hub, may_have_worked: Callable[[], Awaitable[bool]] = never
    ) -> None:
        self.telemetry, self.memory = Telemetry(), Memory(sorted(hub.partitions))
        self.markers = MemoryMarkers(server)
        clock = clock_of(server)
        reading_back = ReadingBack(hub, server.claims, self.markers, reader_of(group_of()), clock, self.telemetry)
        options = RebuildOptions(1.0, WINDOW_MS, lambda: HORIZON_MS, lambda: 0)
        past = Past(may_have_worked, hub, hub.partitions, clock, self.telemetry)
        self.rebuilder = Rebuilder(name, self.memory, self.markers, reading_back, clock, self.telemetry, options, past)

    @property
    def is_done(self) -> bool:
        return self.memory.is_whole and self.markers.are_ready


@pytest.fixture
def server() -> MemoryServer:
    clock = MemoryClock()
    return MemoryServer(clock, MemoryClaims(clock))


def clock_of(server: MemoryServer) -> MemoryClock:
    assert isinstance(server.clock, MemoryClock)
    return server.clock


async def rounds_until(condition: Callable[[], bool], *pods: Pod) -> None:
    for _ in range(ROUNDS):
        for pod in pods:
            await pod.rebuilder.round()
            await pod.rebuilder.clock.sleep(0.25)
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("the condition never became true")


async def test_a_shard_gets_ready_although_it_waited_for_an_output_that_is_no_longer_there(server: MemoryServer) -> None:
    pod = Pod("a", server, Hub(clock_of(server), 1))
    (marker,) = await pod.markers.look()
    await pod.markers.note(marker, "0", ReadBack(BEGINNING_MS, 0), ["0", "gone:0"])
    pod.memory.forgot()
    await rounds_until(lambda: pod.is_done, pod)


async def test_every_partition_is_read_back_to_the_horizon_before_any_is_read_further(server: MemoryServer) -> None:
    partitions = 3 * MAX_READERS
    hub = Hub(clock_of(server), partitions)
    pod = Pod("a", server, hub)
    await rounds_until(lambda: pod.is_done, pod)
    first = [partition for partition, _ in hub.read_from[:partitions]]
    assert sorted(first) == sorted(hub.partitions)
    starts = [start_ms for partition, start_ms in hub.read_from if partition == "0"]
    assert starts == sorted(starts, reverse=True)
    assert max(later - earlier for later, earlier in itertools.pairwise(starts)) <= MAX_PART_MS


async def test_a_pod_that_cannot_read_leaves_the_partition_to_another_one(server: MemoryServer) -> None:
    clock = clock_of(server)
    cut_off = Pod("a", server, UnreachableHub(clock, 1))
    await rounds_until(lambda: READING in cut_off.telemetry.paused, cut_off)
    able = Pod("b", server, Hub(clock, 1))
    await rounds_until(lambda: able.is_done, cut_off, able)
    await rounds_until(lambda: cut_off.is_done, cut_off)
    assert not cut_off.telemetry.paused  # nothing is left for which it would need the hub


async def test_a_pod_that_cannot_read_tries_again_ever_more_seldom_and_is_well_again_when_it_can(
    server: MemoryServer,
) -> None:
    clock = clock_of(server)
    hub = UnreachableHub(clock, 1)
    pod = Pod("a", server, hub)
    began_ms = clock.now_ms()
    await rounds_until(lambda: clock.now_ms() - began_ms > 60_000, pod)
    assert 2 < len(hub.read_from) < 10
    pod.rebuilder.reading_back.tail = Hub(clock, 1)
    await rounds_until(lambda: pod.is_done, pod)
    assert not pod.telemetry.paused


async def test_the_rebuild_does_not_wait_for_the_checkpoint_store(server: MemoryServer) -> None:
    asked = []

    async def away() -> bool:
        asked.append(True)
        raise UnavailableError(Dependency(DependencyKind.CHECKPOINTS), "away")

    pod = Pod("a", server, Hub(clock_of(server), 1), away)
    await rounds_until(lambda: pod.is_done, pod)
    assert len(asked) == 1


def test_the_horizon_follows_the_spread_of_copies_within_bounds() -> None:
    assert horizon_ms(None, 0) == MIN_HORIZON_MS
    assert horizon_ms(None, 60_000) == 240_000
    assert horizon_ms(None, 3_600_000) == MAX_HORIZON_MS
    assert horizon_ms(7200, 0) == 7_200_000
    assert horizon_ms(0.0001, 0) == 1
