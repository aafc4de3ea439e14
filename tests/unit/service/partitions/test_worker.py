"""A partition's worker and the pod's assignment on in-memory ports: R4, R6, takeover, recreated hubs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from dedup_service.core.events import Extraction, InputEvent
from dedup_service.core.extract import CloudEventsExtractor
from dedup_service.core.leases import LeaseRecord
from dedup_service.core.progress import Position
from dedup_service.errors import Dependency, DependencyKind, UnavailableError
from dedup_service.partitions.worker import PartitionWorker
from dedup_service.processing.pipeline import Pipeline
from dedup_service.telemetry import Count, lag_ms
from tests.doubles.memory import (
    MemoryCheckpoints,
)
from tests.support.plant import RETENTION_MS, Plant, eventually, pod, until
from tests.support.shared import CHECKPOINTS, CLEAN_HUB


class FlakyCheckpoints(MemoryCheckpoints):
    is_away = False

    async def save(self, partition_id: str, position: Position) -> None:
        if self.is_away:
            raise UnavailableError(CHECKPOINTS, "gone")
        await super().save(partition_id, position)


async def run_until(worker: PartitionWorker, condition: Callable[[], bool]) -> None:
    task = asyncio.create_task(worker.run())
    await until(condition)
    worker.stop("test")
    await task


async def until_checkpointed(plant: Plant, worker: PartitionWorker, number: int) -> None:
    """Renews the lease meanwhile, with which the record is written that a checkpoint follows."""

    async def renew() -> None:
        while True:
            await plant.leases.renew("pod", [worker.lease])
            await asyncio.sleep(0)

    renewing = asyncio.create_task(renew())
    await until(lambda: "0" in plant.checkpoints.positions and plant.checkpoints.positions["0"].sequence_number == number)
    renewing.cancel()


async def kill(worker: PartitionWorker, condition: Callable[[], bool]) -> None:
    """Runs until the condition holds, then cancels the worker wherever it is, as when its process dies."""
    task = asyncio.create_task(worker.run())
    await until(condition)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_partition_that_is_stuck_is_shown_while_its_neighbour_works() -> None:
    plant = Plant(partitions=2)
    plant.emit("a", partition="0")
    stuck = Dependency(DependencyKind.INPUT_HUB_READING, part="0")
    working = await plant.worker(partition="1")
    plant.telemetry.unavailable(stuck, "events wait in partition 0, but none arrives")
    plant.emit("b", partition="1")
    await run_until(working, lambda: plant.published == ["b"])
    assert list(plant.telemetry.paused) == [stuck]
    await run_until(await plant.worker(partition="0"), lambda: len(plant.published) == 2)
    assert not plant.telemetry.paused


async def test_a_partition_that_another_pod_has_now_is_not_shown_as_stuck_here() -> None:
    plant = Plant()
    worker = await plant.worker()
    plant.telemetry.unavailable(Dependency(DependencyKind.INPUT_HUB_READING, part="0"), "away")
    worker.stop("given up to another pod")
    await worker.run()
    assert not plant.telemetry.paused


async def test_the_lag_is_the_age_of_what_is_unfinished_also_right_after_a_takeover() -> None:
    """A checkpoint holds no time; a lag since 1970 would be the alternative."""
    plant = Plant()
    plant.emit("a", "b")
    plant.clock.ms += 7000
    lags: list[int] = []
    worker = await plant.worker()
    now_ms = plant.clock.now_ms()
    process = Pipeline.process

    async def watched(self: Pipeline, events: list[InputEvent]) -> None:
        lags.append(lag_ms(plant.telemetry.partitions["0"], plant.clock.now_ms()))
        await process(self, events)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pipeline, "process", watched)
        await run_until(worker, lambda: len(plant.published) == 2)
    assert 0 < lags[0] <= now_ms - plant.hub.partitions["0"][0].enqueued_ms + 1


async def test_an_event_that_is_older_than_the_retention_disproves_the_setting_once() -> None:
    plant = Plant()
    plant.emit("a", "b")
    plant.clock.ms += 2 * RETENTION_MS
    await run_until(await plant.worker(), lambda: len(plant.published) == 2)
    assert plant.telemetry.total(Count.BEYOND_RETENTION) == 1


async def test_a_partition_is_read_from_the_beginning_and_checkpointed_at_its_end() -> None:
    plant = Plant()
    plant.emit("a", "b", "c")
    task = asyncio.create_task((worker := await plant.worker()).run())
    await until_checkpointed(plant, worker, 2)
    assert plant.published == ["a", "b", "c"]
    worker.stop("test")
    await task


async def test_a_checkpoint_never_passes_the_record_in_redis() -> None:
    plant = Plant()
    plant.emit("a")
    await kill(worker := await plant.worker(), lambda: plant.published == ["a"] and worker.activity.progressed_at > 0)
    assert plant.checkpoints.positions["0"].sequence_number == -1
    task = asyncio.create_task((worker := await plant.worker()).run())
    plant.emit("b")
    await until(lambda: "b" in plant.published)
    worker.stop("test")
    await task
    record = plant.leases.stored["0"].record
    assert record is not None
    assert plant.checkpoints.positions["0"] == LeaseRecord.decode(record).finished


async def test_the_next_owner_continues_where_the_last_one_checkpointed() -> None:
    plant = Plant()
    plant.emit("a", "b")
    await run_until(await plant.worker(), lambda: len(plant.published) == 2)
    plant.emit("c")
    await run_until(await plant.worker(), lambda: len(plant.published) == 3)
    assert plant.published == ["a", "b", "c"]
    assert plant.telemetry.total(Count.REPLAYS) == 0


async def test_latest_is_pinned_before_anything_is_processed() -> None:
    plant = Plant()
    plant.emit("old")
    await kill(await plant.worker("latest"), lambda: "0" in plant.checkpoints.positions)
    plant.emit("while-nobody-was-there")
    await run_until(await plant.worker("latest"), lambda: len(plant.published) == 1)
    assert plant.published == ["while-nobody-was-there"]


async def test_a_time_can_be_the_start_position() -> None:
    plant = Plant()
    plant.emit("a")
    plant.clock.ms += 1000
    start = plant.clock.ms
    plant.emit("b")
    await run_until(await plant.worker(start), lambda: bool(plant.published))
    assert plant.published == ["b"]


async def test_a_hub_that_ends_before_the_checkpoint_is_read_from_its_beginning_and_counted_as_recreated() -> None:
    plant = Plant()
    plant.checkpoints.positions["0"] = Position(500, "500", 0)
    plant.emit("a")
    await run_until(await plant.worker(), lambda: plant.published == ["a"])
    assert plant.telemetry.total(Count.HUB_RECREATED) == 1


async def test_a_hub_that_is_recreated_under_a_running_worker_loses_nothing() -> None:
    plant = Plant()
    plant.emit("a", "b", "c")
    task = asyncio.create_task((worker := await plant.worker()).run())
    await until(lambda: len(plant.published) == 3)
    plant.hub.partitions["0"].clear()
    plant.hub.incarnation = 2
    plant.emit(*(f"new-{n}" for n in range(5)))
    plant.hub.lose_readers()
    await until(lambda: len(plant.published) == 8)
    worker.stop("test")
    await task
    assert plant.telemetry.total(Count.HUB_RECREATED) == 1


async def test_work_continues_while_the_checkpoint_store_is_unavailable() -> None:
    checkpoints = FlakyCheckpoints()
    plant = Plant(checkpoints=checkpoints)
    plant.emit("a")
    task = asyncio.create_task((worker := await plant.worker()).run())
    await until(lambda: plant.published == ["a"])
    checkpoints.is_away = True
    plant.emit("b", "c")
    await until(lambda: len(plant.published) == 3)
    checkpoints.is_away = False
    await until_checkpointed(plant, worker, 2)
    worker.stop("test")
    await task
    assert not plant.telemetry.paused


async def test_an_unexpected_error_restarts_the_partition_from_its_finished_position(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant = Plant()
    plant.hub.batch_size = 1
    plant.emit("a", "b", "c")
    process, failures = Pipeline.process, [RuntimeError("defect")]

    async def failing(self: Pipeline, events: list) -> None:  # type: ignore[type-arg]  # events of any kind
        if plant.published == ["a"] and failures:
            raise failures.pop()
        await process(self, events)

    monkeypatch.setattr(Pipeline, "process", failing)
    await run_until(await plant.worker(), lambda: len(plant.published) == 3)
    assert plant.published == ["a", "b", "c"]
    assert plant.telemetry.total(Count.WORKER_FAILURES) == 1


async def test_an_event_that_fails_again_and_again_is_given_up_and_its_neighbours_are_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant = Plant()
    plant.emit("a", "poison", "c")
    extract = CloudEventsExtractor.extract

    def failing(self: CloudEventsExtractor, event: InputEvent, pointers: Sequence[str] = ()) -> Extraction:
        if event.body == b"poison":
            raise RuntimeError("defect")
        return extract(self, event)

    monkeypatch.setattr(CloudEventsExtractor, "extract", failing)
    await run_until(await plant.worker(), lambda: len(plant.published) == 2)
    assert plant.published == ["a", "c"]
    assert dict(plant.telemetry.counts[Count.DEAD_LETTERED]) == {"processing-failed": 1}


async def test_a_reader_that_fell_silent_is_noticed_and_replaced() -> None:
    plant = Plant()
    plant.emit("a")
    task = asyncio.create_task((worker := await plant.worker()).run())
    await until(lambda: plant.published == ["a"])
    plant.hub.deaf = True
    plant.emit("b")
    await until(lambda: plant.telemetry.total(Count.FAILURES) > 0)
    plant.hub.deaf = False
    await until(lambda: plant.published == ["a", "b"])
    worker.stop("test")
    await task


async def test_an_outdated_end_is_queried_again_and_not_taken_for_a_recreated_hub() -> None:
    plant = Plant()
    plant.emit("a", "b")
    await run_until(await plant.worker(), lambda: len(plant.published) == 2)
    held_back = plant.hub.partitions["0"].pop()
    task = asyncio.create_task((worker := await plant.worker()).run())
    await until(lambda: plant.telemetry.total(Count.FAILURES) > 0)
    plant.hub.partitions["0"].append(held_back)
    plant.emit("c")
    await until(lambda: plant.published == ["a", "b", "c"])
    worker.stop("test")
    await task
    assert plant.telemetry.total(Count.HUB_RECREATED) == 0


async def test_a_hub_that_was_recreated_while_no_worker_ran_loses_nothing() -> None:
    plant = Plant()
    plant.emit("a", "b")
    await run_until(await plant.worker(), lambda: len(plant.published) == 2)
    plant.hub.partitions["0"].clear()
    plant.hub.incarnation = 2
    plant.emit(*(f"new-{n}" for n in range(5)))
    await run_until(await plant.worker(), lambda: len(plant.published) == 7)
    assert plant.telemetry.total(Count.HUB_RECREATED) == 1


# --- a hub that fails over to a copy that lacks its last events


def fail_over(plant: Plant, kept: int, *ids: str) -> None:
    """The copy keeps the first events, and gives the numbers of the others to new ones."""
    plant.clock.ms += 60_000
    del plant.hub.partitions["0"][kept:]
    plant.emit(*ids)


@pytest.mark.parametrize("new", [1, 2, 3, 5])
async def test_numbers_that_went_back_while_nobody_read_are_another_log(new: int) -> None:
    """Whether the new numbers are still behind the finished one, at it, or have caught up."""
    plant = Plant()
    plant.emit("a", "b", "c", "d")
    await run_until(await plant.worker(), lambda: len(plant.published) == 4)
    fail_over(plant, 2, *(f"new-{n}" for n in range(new)))
    await run_until(await plant.worker(), lambda: len(plant.published) == 4 + new)
    assert plant.published == ["a", "b", "c", "d", *(f"new-{n}" for n in range(new))]
    assert plant.telemetry.total(Count.HUB_RECREATED) == 1
    plant.emit("later")
    await run_until(await plant.worker(), lambda: plant.published[-1] == "later")
    assert len(plant.published) == 5 + new


@pytest.mark.parametrize("new", [1, 2, 3, 5])
async def test_numbers_that_go_back_while_a_pod_reads_are_another_log(new: int) -> None:
    plant = Plant()
    plant.emit("a", "b", "c", "d")
    worker = await plant.worker()
    running = asyncio.create_task(worker.run())
    await until(lambda: len(plant.published) == 4)
    fail_over(plant, 2, *(f"new-{n}" for n in range(new)))
    plant.hub.lose_readers()
    await until(lambda: len(plant.published) == 4 + new)
    worker.stop("test")
    await running
    assert plant.published[4:] == [f"new-{n}" for n in range(new)]


async def test_what_was_published_of_a_lost_event_is_not_taken_for_what_its_number_means_now() -> None:
    """The new event of the same number was claimed by a pod that died. The clean stream has the old one's origin."""
    plant = Plant()
    plant.emit("a", "b", "c")
    await run_until(await plant.worker(), lambda: len(plant.published) == 3)
    fail_over(plant, 2, "new")
    plant.clean.failures = [UnavailableError(CLEAN_HUB, "away")] * 10_000
    dying = await plant.worker()
    await kill(dying, lambda: len(plant.claims.stored) == 4)
    plant.clean.failures = []
    await run_until(await plant.worker(), lambda: len(plant.published) == 4)
    assert plant.published == ["a", "b", "c", "new"]


async def test_an_event_that_the_retention_took_is_no_sign_of_another_log() -> None:
    plant = Plant()
    plant.emit("a", "b")
    await run_until(await plant.worker(), lambda: len(plant.published) == 2)
    plant.emit("c")
    plant.hub.first_kept = 2
    await run_until(await plant.worker(), lambda: len(plant.published) == 3)
    assert plant.telemetry.total(Count.HUB_RECREATED) == 0


# --- several pods


async def test_pods_share_the_partitions_and_hand_them_over() -> None:
    plant = Plant(partitions=4)
    plant.leases.ttl_seconds = 1e6
    held: dict[str, Callable[[], int]] = {}
    stops, running = {}, {}
    for name in ("a", "b"):
        assignment, stops[name] = pod(plant, name), asyncio.Event()
        held[name] = lambda assignment=assignment: len(assignment._held())  # type: ignore[misc]  # binds the loop's value
        running[name] = asyncio.create_task(assignment.run(stops[name]))
        if name == "a":
            await eventually(lambda: held["a"]() == 4)
    await eventually(lambda: held["a"]() == held["b"]() == 2)
    stops["a"].set()
    await running["a"]
    await eventually(lambda: held["b"]() == 4)
    stops["b"].set()
    await running["b"]
    assert all(lease.released for lease in plant.leases.stored.values())


async def test_the_partitions_of_a_dead_pod_are_taken_and_nothing_is_lost() -> None:
    plant = Plant(partitions=2)
    plant.leases.ttl_seconds = 1.0
    for partition in ("0", "1"):
        await plant.leases.take("dead", partition)
        plant.emit(f"x{partition}", f"y{partition}", partition=partition)
    stop = asyncio.Event()
    running = asyncio.create_task(pod(plant, "a").run(stop))
    await eventually(lambda: len(plant.published) == 4)
    stop.set()
    await running
    assert sorted(plant.published) == ["x0", "x1", "y0", "y1"]


async def test_a_pod_that_lost_a_lease_stops_without_releasing_it() -> None:
    plant = Plant()
    plant.leases.ttl_seconds = 1e6
    stop = asyncio.Event()
    assignment = pod(plant, "a")
    running = asyncio.create_task(assignment.run(stop))
    await eventually(lambda: plant.telemetry.total(Count.TAKEOVERS) == 1)  # earlier, its worker would notice by itself
    plant.leases.stored["0"].epoch += 10  # another pod took it
    await eventually(lambda: not assignment._held())
    stop.set()
    await running
    assert not plant.leases.stored["0"].released
    assert plant.telemetry.total(Count.LEASES_LOST) == 1


async def test_the_clean_stream_is_sampled_for_the_records() -> None:
    plant = Plant()
    plant.leases.ttl_seconds = 1e6
    plant.emit("a", "b")
    stop = asyncio.Event()
    running = asyncio.create_task(pod(plant, "a").run(stop))
    await eventually(lambda: plant.newest_sample.end_offsets == {"0": 1})
    plant.emit("c")
    await eventually(lambda: len(plant.published) == 3)
    stop.set()
    await running
    record = LeaseRecord.decode(plant.leases.stored["0"].record or b"")
    assert record.finished is not None
    assert record.finished.sequence_number == 2
    assert record.sample["0"] >= 1
