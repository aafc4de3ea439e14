"""What a replica sends beyond its limits is held back or refused, and never silences or stops anybody else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.events import InputEvent
from dedup_service.core.limits import Limits
from dedup_service.errors import StoppingError
from dedup_service.processing.limiting import TOO_MANY_READINGS
from dedup_service.telemetry import Count
from tests.doubles.memory import MemoryClaims
from tests.support.pipelines import World
from tests.support.readings import batch_of, element, single

PER_SECOND = 10.0
IN_A_MINUTE = 600


def limited(beyond: str = "hold") -> World:
    return World(limits=Limits(PER_SECOND, 10**9, beyond))


def many(first: int, number: int = IN_A_MINUTE, device: str = "edge-1") -> InputEvent:
    return batch_of([element(str(n)) for n in range(first, first + number)], device=device)


async def test_a_device_beyond_its_limit_is_read_at_the_limits_rate_and_loses_nothing() -> None:
    world = limited()
    began_ms = world.clock.now_ms()
    await world.pipeline().process([world.at(many(number * IN_A_MINUTE), number) for number in range(3)])
    published = [item["id"] for body in world.clean_bodies() for item in json.loads(body)]
    assert published == [str(n) for n in range(3 * IN_A_MINUTE)]
    assert world.clock.now_ms() - began_ms == 2 * 60_000
    assert dict(world.telemetry.counts[Count.BEYOND_LIMITS]) == {"edge-1": 2 * IN_A_MINUTE}
    assert world.telemetry.total(Count.DEAD_LETTERED) == 0


async def test_single_readings_beyond_a_limit_are_not_held_one_by_one() -> None:
    """A round trip to Redis and the clean hub for each would be slower than the limit."""
    calls = []

    class Counting(MemoryClaims):
        async def claim(self, requests: Sequence[ClaimRequest], live: Sequence[int]) -> list[bytes | None]:
            calls.append(requests)
            return await super().claim(requests, live)

    world = limited()
    world.claims = Counting(world.clock)
    events = [world.at(many(0), 0), *(world.at(single(f"s{n}", b"1"), n) for n in range(1, 41))]
    await world.pipeline().process(events)
    assert len(calls) <= 1 + 40 / PER_SECOND + 1


async def test_other_partitions_go_on_while_one_is_held() -> None:
    world = limited()
    flood = [world.at(many(number * IN_A_MINUTE), number) for number in range(50)]
    held = asyncio.create_task(world.pipeline().process(flood))
    await world.pipeline(partition="1").process([world.at(single("x", b"x", device="edge-2"), 0, "1")])
    assert b"x" in world.clean_bodies()
    assert not held.done()
    world.stop.ask()
    with pytest.raises(StoppingError):
        await held


async def test_what_is_refused_never_claims_so_that_another_replicas_copy_is_published() -> None:
    world = limited("dead-letter")
    owner = world.pipeline()
    events = [world.at(many(0), 0), world.at(many(IN_A_MINUTE, 7), 1), world.at(single("y", b"y", device="edge-2"), 2)]
    await owner.process(events)
    assert world.telemetry.counts[Count.DEAD_LETTERED] == {TOO_MANY_READINGS: 7}
    assert [letter.body for letter in world.dead.events] == [events[1].body]
    assert dict(world.telemetry.counts[Count.BEYOND_LIMITS]) == {"edge-1": 7}
    await world.pipeline(partition="1").process([world.at(many(IN_A_MINUTE, 7, "edge-2"), 0, "1")])
    assert len(world.clean_bodies()) == 3


async def test_a_device_that_goes_back_below_its_limit_is_accepted_again() -> None:
    world = limited("dead-letter")
    owner = world.pipeline()
    await owner.process([world.at(many(0), 0), world.at(many(IN_A_MINUTE, 1), 1)])
    world.clock.pass_by(61)
    await owner.process([world.at(single("later", b"later"), 2)])
    assert world.clean_bodies()[-1] == b"later"
