"""Source times in the pipeline: what is late, what senders repeat with its old time, and what is no time."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from dedup_service.core.lag_bounds import NO_LAG_MS, LagBounds
from dedup_service.core.property_types import Timestamp
from dedup_service.telemetry import Count
from tests.support.pipelines import WINDOW_MS, World
from tests.support.readings import batch_of, element, single

OLD = {"cloudEvents_id": "1", "cloudEvents_source": "urn:a", "cloudEvents_time": "2020-01-01T00:00:00Z"}


async def test_a_reading_held_back_for_longer_than_the_window_is_published_once_and_marked_late() -> None:
    world = World()
    for replica in ("0", "1", "2"):
        backlog = replace(single(device=f"edge-{replica}"), application_properties=OLD)
        await world.pipeline(partition=replica).process([world.at(backlog, 0, replica)])
    (clean,) = world.clean.events
    assert clean.properties["dedup_late"] == "0"


@pytest.mark.parametrize("mode", ["drop", "observe", "mark"])
async def test_what_heartbeats_repeat_for_many_windows_is_new_once(mode: str) -> None:
    """And a further time when they stop for longer than the window: late, since the value is that old."""
    world = World(mode=mode)
    pipeline = world.pipeline()
    heartbeat = replace(single(), application_properties=OLD)
    for number in range(20):
        await pipeline.process([world.at(heartbeat, number)])
        await world.clock.sleep(0.9 * WINDOW_MS / 1000)
    assert dict(world.telemetry.counts[Count.WINNERS]) == {"edge-1": 1}
    assert dict(world.telemetry.counts[Count.DUPLICATES]) == {"edge-1": 19}
    assert world.telemetry.total(Count.CONFLICTS) == 0
    await world.clock.sleep(1.1 * WINDOW_MS / 1000)
    await pipeline.process([world.at(heartbeat, 20)])
    assert dict(world.telemetry.counts[Count.WINNERS]) == {"edge-1": 2}
    plain = [event for event in world.clean.events if "dedup_duplicate" not in event.properties]
    assert [event.properties["dedup_late"] for event in plain] == ([] if mode == "observe" else ["0", "0"])


async def test_a_repetition_that_is_read_again_after_a_crash_is_a_duplicate_still() -> None:
    world = World()
    first, repetition = world.at(single(), 0), world.at(single(), 1)
    await world.pipeline().process([first, repetition])
    await world.clock.sleep(0.9 * WINDOW_MS / 1000)
    await world.pipeline(horizon=1).process([first, repetition])
    await world.clock.sleep(0.9 * WINDOW_MS / 1000)
    await world.pipeline(horizon=2).process([first, repetition, world.at(single(), 2)])
    assert len(world.clean.events) == 1
    assert world.telemetry.total(Count.WINNERS) == 1


async def test_a_repetition_keeps_its_claim_for_the_spread_of_lag_too() -> None:
    world = World()
    pipeline = world.pipeline()
    await pipeline.process([world.at(single(), 0)])
    now_ms = world.clock.now_ms()
    world.telemetry.elsewhere = LagBounds(now_ms - 5 * WINDOW_MS, NO_LAG_MS)
    await pipeline.process([world.at(single(), 1)])
    ((_, expiry_ms),) = world.claims.stored.values()
    assert expiry_ms - now_ms == 6 * WINDOW_MS


@pytest.mark.parametrize("prefix", ["cloudEvents_", "cloudEvents:"])
@pytest.mark.parametrize("time", [Timestamp(1_577_836_800_000), "2020-01-01T00:00:00Z", b"2020-01-01T00:00:00Z"])
async def test_a_time_is_judged_whether_it_is_sent_as_a_timestamp_or_as_text(prefix: str, time: Any) -> None:
    world = World()
    attributes = {prefix + "id": "1", prefix + "source": "urn:a", prefix + "time": time}
    await world.pipeline().process([world.at(replace(single(), application_properties=attributes), 0)])
    (clean,) = world.clean.events
    assert clean.properties["dedup_late"] == "0"
    assert clean.properties[prefix + "time"] is time
    assert not world.telemetry.total(Count.TIMES_UNREADABLE)


@pytest.mark.parametrize(
    "time", ["2020-W01-1T00:00:00Z", "2020-01-01T00:00:00", "", "9" * 65, 5, Timestamp(2**60), b"\xff", True]
)
async def test_a_time_that_is_none_is_counted_and_the_reading_is_published_and_never_late(time: Any) -> None:
    world = World()
    attributes = {"cloudEvents_id": "1", "cloudEvents_source": "urn:a", "cloudEvents_time": time}
    unreadable = replace(single(), application_properties=attributes)
    await world.pipeline().process([world.at(unreadable, 0), world.at(single("2"), 1)])
    assert [event.properties.get("dedup_late") for event in world.clean.events] == [None, None]
    assert dict(world.telemetry.counts[Count.TIMES_UNREADABLE]) == {"g": 1}


async def test_unreadable_times_of_a_batch_are_counted_for_each_copy_and_absent_ones_are_not() -> None:
    world = World()
    times = [b'"2020-13-01T00:00:00Z"', b"7", b'"2026-02-30T00:00:00Z"', b"null", b'"2020-01-01T00:00:00Z"']
    elements = [b'{"id":"%d","source":"urn:a","time":%b}' % (n, time) for n, time in enumerate(times)]
    for partition in ("0", "1"):
        await world.pipeline().process([world.at(batch_of([*elements, element("x")]), 0, partition)])
    assert dict(world.telemetry.counts[Count.TIMES_UNREADABLE]) == {"g": 6}
    (clean,) = world.clean.events
    assert clean.properties["dedup_late"] == "4"
