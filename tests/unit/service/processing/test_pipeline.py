"""The pipeline on in-memory ports: R3, R4, R10, R11 as laws of one partition."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from math import inf
from typing import Any

import pytest
from msgspec.structs import replace

from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import unpack
from dedup_service.core.events import MESSAGE_SOURCE, InputEvent
from dedup_service.core.leases import MIXED_RULES, LeaseRecord
from dedup_service.core.outgoing import OutgoingEvent, OutputPolicy
from dedup_service.core.progress import Position
from dedup_service.core.property_types import Encoded
from dedup_service.errors import LeaseLostError, StoppingError, UnavailableError, UndeliverableError
from dedup_service.ports.hubs import Permit
from dedup_service.processing import pipeline as module
from dedup_service.processing.claiming import Claimer
from dedup_service.processing.event_work import EventWork
from dedup_service.processing.pipeline import Pipeline
from dedup_service.processing.resolving import Published, Resolver
from dedup_service.telemetry import Count
from dedup_service.waiting import FINISHING_SECONDS, FIRST_BACKOFF_SECONDS, Stop
from tests.doubles.memory import MemoryClaims, MemoryPublisher
from tests.support import readings
from tests.support.groups import OUTPUT
from tests.support.pipelines import RETENTION_MS, WINDOW_MS, World
from tests.support.readings import batch_of, element, single
from tests.support.shared import CLEAN_HUB, DEAD_LETTER_HUB, REDIS


async def test_of_all_copies_one_is_published() -> None:
    world = World()
    for partition, device in enumerate(("edge-1", "edge-2", "edge-3")):
        owner = world.pipeline(partition=str(partition))
        await owner.process([world.at(single("1", b"x", device=device), 0, str(partition))])
    assert world.clean_bodies() == [b"x"]
    assert dict(world.telemetry.counts[Count.WINNERS]) == {"edge-1": 1}
    assert dict(world.telemetry.counts[Count.DUPLICATES]) == {"edge-2": 1, "edge-3": 1}


async def test_readings_are_deduplicated_across_batch_boundaries_and_single_sending() -> None:
    world = World()
    elements = [element(str(n)) for n in range(6)]
    await world.pipeline().process([world.at(batch_of(elements[:4]), 0, "0")])
    await world.pipeline().process([world.at(batch_of(elements[2:], device="edge-2"), 0, "1")])
    await world.pipeline().process([world.at(single("5", b"null", device="edge-3"), 0, "2")])
    ids = [item["id"] for body in world.clean_bodies() for item in json.loads(body)]
    assert ids == ["0", "1", "2", "3", "4", "5"]
    assert world.telemetry.total(Count.CONFLICTS) == 0


async def test_copies_within_one_event_and_within_one_batch_of_events_are_duplicates_too() -> None:
    world = World()
    twice = world.at(batch_of([element("1"), element("1")]), 0)
    await world.pipeline().process([twice, world.at(single("1", b"null"), 1)])
    assert [json.loads(body) for body in world.clean_bodies()] == [[json.loads(element("1"))]]


async def test_dead_letters_of_a_known_format_are_counted_for_their_group() -> None:
    world = World(group={"name": "presses"})
    telegraf = b'{"fields": {"a": 1}, "name": "n", "tags": {}, "timestamp": 1}'
    events = [*(readings.event(body) for body in (telegraf, telegraf, b"just text")), single("1", b"x")]
    await world.pipeline().process([world.at(item, number) for number, item in enumerate(events)])
    assert world.telemetry.recognised == {"telegraf|presses": 2}
    details = [letter.properties["dedup_detail"] for letter in world.dead.events]
    assert [detail.startswith("looks like Telegraf's JSON: set `format: telegraf`") for detail in details] == [
        True,
        True,
        False,
    ]


async def test_an_owner_that_died_before_publishing_loses_nothing() -> None:
    world = World()
    event = world.at(single("1", b"x"), 0)
    await world.claim(event)  # claimed, then the process died
    await world.pipeline(horizon=0).process([event])
    assert world.clean_bodies() == [b"x"]


async def test_a_reading_that_was_confirmed_is_not_published_again() -> None:
    world = World()
    event = world.at(single("1", b"x"), 0)
    await world.pipeline().process([event])
    await world.pipeline(horizon=0).process([event])
    assert world.clean_bodies() == [b"x"]
    assert world.telemetry.total(Count.REPLAYS) == 1


async def test_a_claim_whose_reply_was_lost_is_repeated_and_not_taken_for_a_duplicate() -> None:
    class Forgetful(MemoryClaims):
        lost = 2

        async def claim(self, requests: list[ClaimRequest], live: list[int]) -> list[bytes | None]:  # type: ignore[override]  # a narrower double
            answers = await super().claim(requests, live)
            if self.lost:
                self.lost -= 1
                raise UnavailableError(REDIS, "no answer", ambiguous=True)
            return answers

    world = World()
    world.claims = Forgetful(world.clock)
    await world.pipeline().process([world.at(single("1", b"x"), 0)])
    assert world.clean_bodies() == [b"x"]
    assert not world.telemetry.paused


async def test_publishing_waits_for_the_hub_and_confirms_afterwards() -> None:
    world = World()
    world.clean.failures = [UnavailableError(CLEAN_HUB, "busy")] * 3
    await world.pipeline().process([world.at(single("1", b"x"), 0)])
    assert world.clean_bodies() == [b"x"]
    ((claim, _),) = world.claims.stored.values()
    assert unpack(claim).confirmed


async def test_a_claim_is_not_confirmed_before_it_is_published() -> None:
    world = World()
    world.clean.before_send = world.stop.ask
    world.clean.failures = [UnavailableError(CLEAN_HUB, "busy")] * 100
    pipeline = world.pipeline()
    with pytest.raises(StoppingError):
        await pipeline.process([world.at(single("1", b"x"), 0)])
    ((claim, _),) = world.claims.stored.values()
    assert not unpack(claim).confirmed
    assert pipeline.progress.finished is None


async def test_what_was_published_before_the_stop_is_confirmed() -> None:
    world = World()
    world.dead.before_send = world.stop.ask
    world.dead.failures = [UnavailableError(DEAD_LETTER_HUB, "busy")] * 100
    with pytest.raises(StoppingError):
        await world.pipeline().process([world.at(batch_of([element("1"), b"{}"]), 0)])
    ((claim, _),) = world.claims.stored.values()
    assert unpack(claim).confirmed


async def test_a_pod_that_leaves_finishes_what_it_has_claimed() -> None:
    """After a change of inputs, nobody may read it again."""
    world = World()
    events = [world.at(single(str(n), str(n).encode()), n) for n in range(10)]
    sends = iter(range(20))
    world.clean.before_send = lambda: world.stop.ask() if next(sends) == 3 else None
    world.clean.failures = [UnavailableError(CLEAN_HUB, "busy")]
    await world.pipeline().process(events)
    assert sorted(world.clean_bodies()) == [str(n).encode() for n in range(10)]


async def test_a_pod_that_leaves_and_is_slow_stops_between_two_sends_and_its_successor_goes_on() -> None:
    world = World()
    events = [world.at(single(str(n), str(n).encode()), n) for n in range(10)]
    sends = iter(range(10))

    def before_send() -> None:
        world.clock.pass_by(FINISHING_SECONDS / 2)
        if next(sends) == 1:
            world.stop.ask()

    world.clean.before_send = before_send
    pipeline = world.pipeline()
    with pytest.raises(StoppingError):
        await pipeline.process(events)
    assert world.clean_bodies() == [b"0", b"1", b"2"]
    assert pipeline.progress.finished is None
    world.stop = Stop(world.clock)
    world.clean.before_send = lambda: None
    await world.pipeline(horizon=9).process(events)
    assert sorted(world.clean_bodies()) == [str(n).encode() for n in range(10)]


async def test_the_time_to_finish_begins_when_a_pod_is_asked_also_for_a_worker_that_waits_then() -> None:
    world = World()

    def is_asked_and_goes_on_waiting() -> None:
        world.stop.ask()
        world.clock.pass_by(FINISHING_SECONDS)

    world.clean.before_send = is_asked_and_goes_on_waiting
    with pytest.raises(StoppingError):
        await world.pipeline().process([world.at(single("1"), 0)])
    assert world.clean.events == []


async def test_a_pod_that_leaves_connects_no_longer_than_it_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    left: list[float] = []

    async def publish(_: MemoryPublisher, partition: str, events: Sequence[OutgoingEvent], permit: Permit) -> int:
        left.append(permit(1.0))
        world.stop.ask()
        world.clock.pass_by(FINISHING_SECONDS / 2)
        left.append(permit(1.0))
        return len(events)

    monkeypatch.setattr(MemoryPublisher, "publish", publish)
    await world.pipeline().process([world.at(single("1"), 0)])
    assert left == [inf, FINISHING_SECONDS / 2]


async def test_a_pod_that_has_to_leave_does_not_look_up_its_last_send(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    looked: list[str] = []

    async def look(_: Resolver, output_partition: str) -> Published:
        looked.append(output_partition)
        return Published(frozenset())

    def is_asked_and_nearly_out_of_time() -> None:
        world.stop.ask()
        world.clock.pass_by(FINISHING_SECONDS - FIRST_BACKOFF_SECONDS / 2)

    monkeypatch.setattr(Resolver, "published_by_this_process", look)
    world.clean.before_send = is_asked_and_nearly_out_of_time
    world.clean.failures = [UnavailableError(CLEAN_HUB, "silent", ambiguous=True)]
    with pytest.raises(StoppingError):
        await world.pipeline().process([world.at(single("1"), 0)])
    assert looked == []


async def test_a_dead_letter_that_waits_for_its_turn_is_left_to_the_successor_of_a_pod_that_leaves() -> None:
    world = World()
    turns: Iterator[Callable[[], None]] = iter([world.stop.ask, lambda: world.clock.pass_by(FINISHING_SECONDS)])
    world.dead.before_send = lambda: next(turns)()
    world.dead.failures = [UnavailableError(DEAD_LETTER_HUB, "busy")]
    with pytest.raises(StoppingError):
        await world.pipeline().process([world.at(batch_of([b"{}"]), 0)])
    assert world.dead.events == []


async def test_a_refused_copy_does_not_claim() -> None:
    world = World()
    await world.pipeline().process([world.at(single("x" * 9999), 0), world.at(batch_of([b'{"id":"1"}']), 1)])
    assert world.claims.stored == {}
    assert world.telemetry.counts[Count.DEAD_LETTERED] == {"invalid-id": 1, "missing-source": 1}
    assert len(world.dead.events) == 2


async def test_bad_readings_go_to_the_dead_letters_and_their_neighbours_to_the_clean_stream() -> None:
    world = World()
    await world.pipeline().process([world.at(batch_of([element("1"), b"{}", element("2"), b"7"]), 0)])
    assert [item["id"] for item in json.loads(world.clean_bodies()[0])] == ["1", "2"]
    letters = {letter.properties["dedup_reason"]: letter.body for letter in world.dead.events}
    assert letters == {"missing-id": b"[{}]", "unreadable-reading": b"[7]"}


async def test_an_event_that_the_clean_hub_never_accepts_ends_in_the_dead_letters() -> None:
    world = World()
    world.clean.max_bytes = 10
    await world.pipeline().process([world.at(single("1", b"x" * 11), 0), world.at(single("2", b"y"), 1)])
    assert world.clean_bodies() == [b"y"]
    assert [letter.body for letter in world.dead.events] == [b"x" * 11]
    assert all(unpack(claim).confirmed for claim, _ in world.claims.stored.values())


async def test_a_dead_letter_that_is_too_large_is_cut_and_says_so() -> None:
    world = World()
    world.clean.max_bytes = world.dead.max_bytes = 100
    await world.pipeline().process([world.at(single("1", b"x" * 350), 0)])
    (letter,) = world.dead.events
    assert (len(letter.body), letter.properties["dedup_original_size"]) == (87, 350)


@pytest.mark.parametrize(("unmatched", "clean", "dead"), [("ignore", 0, 0), ("forward", 1, 0), ("dead-letter", 0, 1)])
async def test_events_that_are_not_telemetry_are_handled_as_unmatched(unmatched: str, clean: int, dead: int) -> None:
    world = World(unmatched=unmatched)
    twin = replace(single("1", b"x"), annotations={MESSAGE_SOURCE: "twinChangeEvents"})
    pipeline = world.pipeline()
    await pipeline.process([world.at(twin, 0)])
    assert (len(world.clean.events), len(world.dead.events)) == (clean, dead)
    assert world.claims.stored == {}
    assert world.telemetry.counts[Count.IGNORED] == {"not-telemetry": 1}
    assert pipeline.progress.finished is not None


async def test_mode_mark_publishes_duplicates_with_a_mark() -> None:
    world = World(mode="mark")
    await world.pipeline().process([world.at(single("1", b"x"), 0), world.at(single("1", b"x", device="edge-2"), 1)])
    assert [event.properties.get("dedup_duplicate") for event in world.clean.events] == [None, True]


async def test_mode_observe_publishes_nothing_and_measures() -> None:
    world = World(mode="observe")
    await world.pipeline().process([world.at(single("1", b"x"), 0), world.at(single("1", b"y", device="edge-2"), 1)])
    assert world.clean.events == []
    assert (world.telemetry.total(Count.WINNERS), world.telemetry.total(Count.CONFLICTS)) == (1, 1)


async def test_a_confirmed_claim_lives_for_the_window_and_an_unconfirmed_one_no_longer_than_its_event() -> None:
    world = World()
    old = replace(world.at(single("1"), 0), enqueued_ms=world.clock.now_ms() - RETENTION_MS + 300)
    pipeline = world.pipeline()
    await world.claim(old, pipeline=pipeline)
    ((_, expiry),) = world.claims.stored.values()
    assert expiry == world.clock.now_ms() + 300
    await world.pipeline(horizon=0).process([old])
    ((_, expiry),) = world.claims.stored.values()
    assert expiry == world.clock.now_ms() + WINDOW_MS


async def test_a_claim_of_a_hub_that_is_gone_does_not_block() -> None:
    world = World(incarnation=1)
    await world.claim(world.at(single("1", b"x"), 0))
    reborn = dataclasses.replace(world, incarnation=2)
    reborn.claims = world.claims
    await reborn.pipeline().process([world.at(single("1", b"x", device="edge-2"), 0, "1")])
    assert world.clean_bodies() == [b"x"]


async def test_events_delivered_again_are_skipped_and_counted() -> None:
    world = World()
    pipeline = world.pipeline()
    events = [world.at(single(str(n)), n) for n in range(3)]
    await pipeline.process(events)
    await pipeline.process(events)
    assert len(world.clean.events) == 3
    assert world.telemetry.total(Count.REDELIVERED) == 3


async def test_a_device_whose_readings_are_all_refused_gets_no_replica_number() -> None:
    """A group has 31 numbers, and refused senders must not use them up."""
    world = World(group={"sources": ("urn:b*",)})
    for number, device in enumerate(("edge-1", "edge-2")):
        source = f"urn:{'ab'[number]}"
        await world.pipeline().process([world.at(single("1", source=source, device=device), number)])
    await world.pipeline().process([world.at(batch_of([b"{}", element("1", source="urn:a")], device="edge-3"), 2)])
    assert world.claims.numbers == {("g", "edge-2"): 0}


@pytest.mark.parametrize("batch_first", [False, True])
async def test_readings_of_all_members_of_a_gzip_batch_are_claimed(batch_first: bool) -> None:
    """R3: a part of the body must not pass for the whole, whichever copy comes first."""
    world = World()
    packed = gzip.compress(b"[" + element("1") + b",") + gzip.compress(element("2") + b"]")
    both = replace(batch_of([], device="edge-1"), body=packed, content_encoding="gzip")
    alone = batch_of([element("1"), element("2")], device="edge-2")
    for number, event in enumerate((both, alone) if batch_first else (batch_of([element("1")], device="edge-2"), both)):
        await world.pipeline().process([world.at(event, 0, str(number))])
    bodies = [gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body for body in world.clean_bodies()]
    assert sorted(item["id"] for body in bodies for item in json.loads(body)) == ["1", "2"]
    assert not world.dead.events


async def test_every_replica_that_delivered_a_reading_is_remembered_in_its_claim() -> None:
    world = World()
    for number, device in enumerate(("edge-1", "edge-2", "edge-2", "edge-3")):
        await world.pipeline().process([world.at(single("1", device=device), number)])
    ((claim, _),) = world.claims.stored.values()
    assert unpack(claim).replicas == 0b111


async def test_a_batch_that_is_too_large_is_split_and_every_reading_gets_through() -> None:
    world = World()
    world.clean.max_bytes = 200
    elements = [element(str(n), data="x" * 20) for n in range(30)]
    await world.pipeline().process([world.at(batch_of(elements), 0)])
    assert all(len(body) <= 200 for body in world.clean_bodies())
    assert [item["id"] for body in world.clean_bodies() for item in json.loads(body)] == [str(n) for n in range(30)]
    assert world.telemetry.total(Count.CLEAN_READINGS) == 30


async def test_dead_readings_that_are_too_many_for_one_letter_are_split_and_not_cut() -> None:
    world = World()
    world.dead.max_bytes = 60
    await world.pipeline().process([world.at(batch_of([b'{"id":"%d"}' % n for n in range(20)]), 0)])
    letters = world.dead.events
    assert [item["id"] for letter in letters for item in json.loads(letter.body)] == [str(n) for n in range(20)]
    assert not any("dedup_original_size" in letter.properties for letter in letters)


async def test_memory_is_bounded_by_slices_and_each_slice_is_finished_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE_BYTES", 500)
    world = World()
    pipeline = world.pipeline()
    sizes: list[int] = []
    handle = Pipeline._handle

    async def watched(self: Pipeline, work: list[EventWork]) -> None:
        sizes.append(len(work))
        await handle(self, work)

    monkeypatch.setattr(Pipeline, "_handle", watched)
    await pipeline.process([world.at(single(str(n), b"x" * 100), n) for n in range(10)])
    assert sizes == [5, 5]
    assert len(world.clean.events) == 10


async def test_an_event_on_which_pure_code_fails_ends_in_the_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise ArithmeticError("defect")

    for place in ("dedup_service.processing.claiming.late_and_unreadable", "dedup_service.processing.sending.clean_events"):
        world = World()
        pipeline = world.pipeline()
        with monkeypatch.context() as patch:
            patch.setattr(place, failing)
            await pipeline.process([world.at(single("1", b"poison"), 7)])
        (letter,) = world.dead.events
        assert (letter.body, letter.properties["dedup_reason"]) == (b"poison", "processing-failed")
        assert pipeline.progress.finished is not None
        assert pipeline.progress.finished.sequence_number == 7


@pytest.mark.parametrize("mode", ["as-received", "structured"])
async def test_a_reading_that_can_not_be_rendered_does_not_claim_and_spares_its_neighbours(mode: str) -> None:
    """R10: otherwise the good copies of the whole batch would be duplicates of what no one can publish."""
    world = World(group={"output": dataclasses.replace(OUTPUT, content_mode=mode)})
    broken = b'{"id":"2","source":"urn:a","\xff":1}'
    await world.pipeline().process([world.at(batch_of([element("1"), broken, element("3")], device="edge-1"), 0, "0")])
    await world.pipeline().process([world.at(batch_of([element("2"), element("3")], device="edge-2"), 0, "1")])
    if mode == "structured":
        found = [item["id"] for body in world.clean_bodies() for item in json.loads(body)]
        assert sorted(found) == ["1", "2", "3"]
        (letter,) = world.dead.events
        assert (letter.body, letter.properties["dedup_reason"]) == (b"[" + broken + b"]", "unreadable-reading")
    else:
        assert not world.dead.events


async def test_a_dead_letter_that_is_refused_for_another_reason_than_its_size_is_kept_whole() -> None:
    world = World()
    world.dead.refusals = [UndeliverableError("refused", "not now")] * 3
    await world.pipeline().process([world.at(single(None, b"x" * 100), 0)])
    (letter,) = world.dead.events
    assert letter.body == b"x" * 100
    assert "dedup_original_size" not in letter.properties
    assert world.telemetry.counts[Count.FAILURES]["the dead-letter hub"] == 3


async def test_a_dead_letter_hub_that_accepts_nothing_is_waited_for() -> None:
    world = World()
    world.dead.max_bytes = -1
    task = asyncio.create_task(world.pipeline().process([world.at(single(None, b"x"), 0)]))
    async with asyncio.timeout(60):
        while world.telemetry.counts[Count.FAILURES]["the dead-letter hub"] < 3:
            await asyncio.sleep(0)
    world.dead.max_bytes = 1000
    await asyncio.wait_for(task, 10)
    assert [letter.properties["dedup_original_size"] for letter in world.dead.events] == [1]


async def test_a_clean_event_that_is_refused_for_another_reason_than_its_size_is_not_split() -> None:
    world = World()
    world.clean.refusals = [UndeliverableError("refused", "not-allowed")]
    whole = batch_of([element(str(n)) for n in range(4)])
    await world.pipeline().process([world.at(whole, 0)])
    assert not world.clean.events
    (letter,) = world.dead.events
    assert (letter.body, letter.properties["dedup_reason"], letter.readings) == (whole.body, "refused", 4)


# --- resolving: the clean stream settles what Redis cannot


async def published_but_not_confirmed(world: World, event: InputEvent) -> None:
    """Handles the event as an owner that dies between publishing and confirming."""
    pipeline = world.pipeline()
    await pipeline._publish(await world.claim(event, pipeline=pipeline))


async def test_what_an_owner_published_before_it_died_is_not_published_again() -> None:
    world = World()
    event = world.at(batch_of([element("1"), element("2")]), 0)
    await published_but_not_confirmed(world, event)
    await world.pipeline(horizon=0).process([event])
    assert len(world.clean.events) == 1
    assert dict(world.telemetry.counts[Count.IN_DOUBT]) == {"found": 2}
    assert all(unpack(claim).confirmed for claim, _ in world.claims.stored.values())


async def test_a_copy_in_doubt_that_is_not_in_the_clean_stream_is_published() -> None:
    world = World()
    await published_but_not_confirmed(world, world.at(single("1", b"x"), 0))
    second = world.at(single("2", b"y"), 1)
    await world.claim(second)
    await world.pipeline(horizon=1).process([world.at(single("1", b"x"), 0), second])
    assert world.clean_bodies() == [b"x", b"y"]
    assert dict(world.telemetry.counts[Count.IN_DOUBT]) == {"found": 1, "published": 1}


async def test_a_copy_in_doubt_whose_part_of_the_clean_stream_has_expired_is_published_and_counted() -> None:
    """R3 goes before R8: what can't be found out must not be lost."""
    world = World()
    event = world.at(single("1", b"x"), 0)
    await published_but_not_confirmed(world, event)
    world.clean.expired = 1
    await world.pipeline(horizon=0).process([event])
    assert world.clean_bodies() == [b"x", b"x"]
    assert dict(world.telemetry.counts[Count.IN_DOUBT]) == {"expired": 1}


async def test_a_marked_duplicate_does_not_prove_that_the_winner_was_published() -> None:
    world = World(mode="mark")
    winner, duplicate = world.at(single("1", b"x"), 0, "0"), world.at(single("1", b"x", device="edge-2"), 0, "1")
    await world.claim(winner)
    await world.pipeline(partition="1").process([duplicate])
    await world.pipeline(horizon=0).process([winner])
    assert [event.properties.get("dedup_duplicate") for event in world.clean.events] == [True, None]


async def test_an_ambiguous_send_is_looked_up_and_never_simply_repeated() -> None:
    world = World()
    world.clean.failures = [UnavailableError(CLEAN_HUB, "timed out", ambiguous=True)]
    await world.pipeline().process([world.at(single("1", b"x"), 0), world.at(single("2", b"y"), 1)])
    assert world.clean_bodies() == [b"x", b"y"]
    assert world.telemetry.counts[Count.IN_DOUBT]["found"] == 1
    assert not world.telemetry.paused


async def test_a_batch_that_failed_halfway_is_looked_up_when_it_is_processed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    pipeline = world.pipeline()
    events = [world.at(single("1", b"x"), 0)]
    with monkeypatch.context() as patch:
        patch.setattr(Claimer, "confirm", None)  # a defect after the send
        with pytest.raises(TypeError):
            await pipeline.process(events)
    await pipeline.process(events)
    assert world.clean_bodies() == [b"x"]


async def test_nothing_is_sent_without_enough_of_the_lease_left() -> None:
    world = World()
    world.clean.before_send = world.stop.ask
    pipeline = world.pipeline()
    pipeline._lease.valid_until = world.clock.monotonic() + world.clean.timeout_seconds
    with pytest.raises(StoppingError, match="the lease"):
        await pipeline.process([world.at(single("1"), 0)])
    world.stop = Stop(world.clock)
    pipeline = world.pipeline()
    pipeline._lease.is_lost = True
    with pytest.raises(LeaseLostError):
        await pipeline.process([world.at(single("1"), 0)])
    assert world.clean.events == []


async def test_the_record_keeps_the_inherited_sample_below_the_horizon_and_then_takes_the_newest() -> None:
    world = World()
    pipeline = world.pipeline(horizon=1)
    world.newest_sample.end_offsets = {"0": 7}
    records = []
    for number in range(3):
        await pipeline.process([world.at(single(str(number)), number)])
        records.append(pipeline._lease.record)
    now, present = world.clock.now_ms(), pipeline._shared.rule
    expected = [(0, {"0": -1}, MIXED_RULES), (1, {"0": 7}, present), (2, {"0": 7}, present)]
    assert records == [LeaseRecord(Position(n, str(n), now), sample, 1, rule) for n, sample, rule in expected]


async def test_a_sample_that_arrives_during_a_batch_is_not_used_for_what_was_finished_before_it() -> None:
    world = World()
    pipeline = world.pipeline()
    world.newest_sample.end_offsets = {"0": 0}
    await pipeline.process([world.at(single("1"), 0)])
    world.newest_sample.end_offsets = {"0": 99}
    assert pipeline._lease.record is not None
    assert pipeline._lease.record.sample == {"0": 0}


async def test_a_group_can_send_conflicting_copies_to_the_dead_letters() -> None:
    world = World(group={"on_conflict": "dead-letter"})
    await world.pipeline().process([world.at(batch_of([element("1", data=1), element("2", data=2)]), 0)])
    second = world.at(batch_of([element("1", data=1), element("2", data=3)], device="edge-2"), 0, "1")
    await world.pipeline(partition="1").process([second])
    (letter,) = world.dead.events
    assert (letter.properties["dedup_reason"], letter.properties["dedup_indexes"]) == ("conflict", "1")
    assert json.loads(letter.body) == [json.loads(element("2", data=3))]
    assert len(world.clean.events) == 1


async def test_a_group_that_observes_publishes_nothing_and_counts_everything() -> None:
    world = World(mode="observe", group={"output": OutputPolicy([], "source", "g")})
    first = world.at(batch_of([element("1"), element("2")]), 0)
    await world.claim(first)  # its owner died
    await world.pipeline(horizon=0).process([first])
    await world.pipeline(partition="1").process([world.at(single("1", device="edge-2"), 0, "1")])
    assert world.clean.events == []
    hour = world.clock.now_ms() // 3_600_000
    counts = await world.claims.ledger.hours("g", [hour])
    assert (counts["f0"], counts["d1"], counts["r1"], counts["r2"]) == (2, 1, 1, 1)


UNRENDERABLE = {
    "a body that is not gzip": ({"content_encoding": "gzip"}, {}, "unreadable-body", "not gzip"),
    "an attribute of type map": ({}, {"cloudEvents_x": Encoded(b"\xc1\x01\x00")}, "unsupported-property", "'cloudEvents_x'"),
}


@pytest.mark.parametrize(("fields", "attributes", "reason", "detail"), UNRENDERABLE.values(), ids=UNRENDERABLE)
async def test_a_single_reading_that_can_not_be_rendered_does_not_silence_a_good_copy(
    fields: dict[str, str], attributes: dict[str, Any], reason: str, detail: str
) -> None:
    """R10. As received, it is published unchanged."""
    for mode in ("structured", "as-received"):
        world = World(group={"output": dataclasses.replace(OUTPUT, content_mode=mode)})
        good = single("1", b"{}", device="edge-2")
        bad = replace(single("1", b"bad"), **fields)
        bad = replace(bad, application_properties={**bad.application_properties, **attributes})
        await world.pipeline().process([world.at(bad, 0, "0")])
        await world.pipeline().process([world.at(good, 0, "1")])
        (clean,) = world.clean.events
        if mode == "structured":
            assert json.loads(clean.body)[0]["data"] == {}
            (letter,) = world.dead.events
            assert (letter.body, letter.properties["dedup_reason"]) == (b"bad", reason)
            assert detail in letter.properties["dedup_detail"]
            assert letter.properties.items() >= attributes.items()
        else:
            assert (clean.body, world.dead.events) == (b"bad", [])
            assert clean.properties.items() >= attributes.items()


async def test_a_dead_letter_with_a_property_that_can_not_be_sent_is_sent_without_its_senders_properties() -> None:
    world = World()
    world.dead.refusals = [UndeliverableError("unsupported-property", "'odd'")]
    attributes = {"cloudEvents_id": "", "odd": [1]}
    await world.pipeline().process([world.at(replace(single(), application_properties=attributes, body=b"b"), 0)])
    (letter,) = world.dead.events
    assert letter.body == b"b"
    assert {name.partition("_")[0] for name in letter.properties} == {"dedup"}
