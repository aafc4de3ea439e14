"""Redundancy accounting: each copy is counted exactly once, in memory as in Redis, and the figures follow."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, fields

import pytest

from dedup_service.adapters.redis.calls import connect
from dedup_service.adapters.redis.claims import RedisClaims
from dedup_service.adapters.redis.ledger import RedisLedger
from dedup_service.adapters.redis.marked import Generations
from dedup_service.adapters.redis.markers import RedisMarkers
from dedup_service.adapters.redis.unreadable import log_unreadable, read, text
from dedup_service.core.accounting import Counts, distances, group_figures, offsets, replica_figures
from dedup_service.core.claim_requests import ClaimRequest, in_calls
from dedup_service.core.claims import NO_CONTENT, key_digest, key_digests, restored_claims
from dedup_service.core.events import Origin, Reading
from dedup_service.core.extract import content_hash
from dedup_service.core.markers import ReadBack, RestoredEvent
from dedup_service.core.overview import BYTES_PER_CLAIM, TOTALS
from dedup_service.core.source_report import source_report
from dedup_service.core.times import rfc3339
from dedup_service.ports.accounting import Ledger
from dedup_service.ports.claims import ClaimStore, Markers
from tests.doubles.ledger import MemoryLedger
from tests.doubles.markers import MemoryMarkers, MemoryServer
from tests.doubles.memory import MemoryClaims, MemoryClock

LIVE = (1,)
GROUP = "g"
SHARDS = 2


@dataclass
class Bench:
    store: ClaimStore
    ledger: Ledger
    now_ms: int
    numbers: dict[int, int] = field(default_factory=dict)

    async def deliver(self, *requests: ClaimRequest) -> None:
        await self.store.claim(list(requests), LIVE)

    def copy(
        self,
        reading_id: str,
        replica: int = 0,
        *,
        source: str = "urn:a",
        after_ms: int = 0,
        content: bytes = b"",
        sequence: int | None = None,
        epoch: str = "1",
        late: bool = False,
        time_ms: int | None = None,
        group: str = GROUP,
    ) -> ClaimRequest:
        """The next copy that this replica sends; each replica has a partition of its own."""
        self.numbers[replica] = self.numbers.get(replica, -1) + 1
        told = None if sequence is None else str(sequence)
        at = None if time_ms is None else rfc3339(time_ms)
        reading = Reading(0, source, reading_id, [], content_hash(content), at, told, epoch)
        event = Origin(1, replica, self.numbers[replica], 0)
        late_indexes = frozenset({0} if late else ())
        keys = [key_digest(group, source, reading_id)]
        enqueued_ms = self.now_ms + after_ms
        return ClaimRequest(
            group, replica, event, enqueued_ms, 60_000, 60_000, [reading], keys, late_indexes, is_timed=time_ms is not None
        )

    async def counts(self, group: str = GROUP) -> dict[str, int]:
        hour = self.now_ms // 3_600_000
        counts = await self.ledger.hours(group, range(hour - 24, hour + 1))
        return {name: number for name, number in counts.items() if number}


@pytest.fixture(params=["memory", "redis", "cluster"])
async def bench(request: pytest.FixtureRequest, redis_url: str, namespace: str) -> AsyncIterator[Bench]:
    now_ms = time.time_ns() // 1_000_000
    if request.param == "memory":
        claims = MemoryClaims(MemoryClock(now_ms))
        yield Bench(claims, claims.ledger, now_ms)
        return
    is_cluster = request.param == "cluster"
    client = connect(request.getfixturevalue("redis_cluster") if is_cluster else redis_url, 5.0, is_cluster=is_cluster)
    store = RedisClaims(client, namespace=namespace, shards=SHARDS)
    yield Bench(store, RedisLedger(client, namespace=namespace, shards=SHARDS), now_ms)
    await store.close()


async def test_coverage_first_arrivals_and_sole_sources(bench: Bench) -> None:
    await bench.deliver(*(bench.copy(str(n), 0) for n in range(10)))
    await bench.deliver(*(bench.copy(str(n), 1, after_ms=50) for n in range(8)))
    await bench.deliver(*(bench.copy(str(n), 2, after_ms=2000) for n in range(5, 12)))
    counts = await bench.counts()
    group = group_figures(counts)
    assert (group.readings, group.copies) == (12, 25)
    assert group.by_replicas == {1: 2, 2: 7, 3: 3}
    first, second, third = (replica_figures(counts, n) for n in range(3))
    assert (first.first, first.matched, first.sole, first.coverage) == (10, 0, 0, 10 / 12)
    assert (second.first, second.matched, second.sole, second.coverage) == (0, 8, 0, 8 / 12)
    assert (third.first, third.matched, third.sole, third.first_share) == (2, 5, 2, 2 / 12)
    assert second.lag_p50_ms == pytest.approx(50, rel=0.05)
    assert third.lag_p99_ms == pytest.approx(2000, rel=0.05)
    assert group.spread_p999_ms == pytest.approx(2000, rel=0.05)


async def test_a_repeated_call_counts_nothing_twice(bench: Bench) -> None:
    copies = [bench.copy(str(n % 7), n % 3, content=bytes([n % 2])) for n in range(30)]
    await bench.deliver(*copies)
    before = await bench.counts()
    await bench.deliver(*copies)
    await bench.deliver(*copies[10:])
    assert await bench.counts() == before


async def test_an_event_of_more_readings_than_fit_into_a_call_is_counted_once(bench: Bench) -> None:
    """The event is claimed in several calls, some of them repeated; its indexes need both of their bytes."""
    names = [str(n) for n in range(2500)]

    def event_of(replica: int) -> ClaimRequest:
        readings = [Reading(n, f"urn:{n % 3}", name, [], content_hash(b"")) for n, name in enumerate(names)]
        keys = key_digests(GROUP, readings)
        return ClaimRequest(
            GROUP, replica, Origin(1, replica, 7, 0), bench.now_ms, 60_000, 60_000, readings, keys, frozenset()
        )

    for replica in (0, 1):
        calls = list(in_calls([event_of(replica)], 1000))
        assert [len(call[0].keys) for call in calls] == [1000, 1000, 500]
        for call in (calls[0], calls[0], calls[1], calls[0], calls[1], calls[2], calls[2]):
            await bench.store.claim(call, LIVE)
    figures = group_figures(await bench.counts())
    assert (figures.readings, figures.copies, figures.by_replicas) == (2500, 5000, {2: 2500})


async def test_conflicts_self_duplicates_and_late_winners(bench: Bench) -> None:
    await bench.deliver(bench.copy("1", 0, content=b"a", late=True), bench.copy("1", 0, content=b"a"))
    await bench.deliver(bench.copy("1", 1, content=b"b"))
    counts = await bench.counts()
    own, other = replica_figures(counts, 0), replica_figures(counts, 1)
    assert (own.self_duplicates, own.late, own.conflicts) == (1, 1, 0)
    assert (other.matched, other.conflicts) == (1, 1)
    assert (group_figures(counts).late, group_figures(counts).conflicts) == (1, 1)


async def test_repetitions_are_self_duplicates_and_say_nothing_of_how_far_copies_are_apart(bench: Bench) -> None:
    """Heartbeats repeat a value for as long as it stays, which is not how long a copy is on its way."""
    began_ms = -20 * 60_000
    await bench.deliver(bench.copy("1", 0, after_ms=began_ms), bench.copy("1", 1, after_ms=began_ms + 50))
    for n in range(1, 20):
        await bench.deliver(*(bench.copy("1", replica, after_ms=began_ms + n * 60_000) for replica in (0, 1)))
    counts = await bench.counts()
    group, first, second = group_figures(counts), replica_figures(counts, 0), replica_figures(counts, 1)
    assert (group.readings, group.copies, group.by_replicas, group.conflicts) == (1, 40, {2: 1}, 0)
    assert (first.self_duplicates, first.matched, second.self_duplicates, second.matched) == (19, 0, 19, 1)
    assert first.lag_p99_ms is None
    assert second.lag_p99_ms == pytest.approx(50, rel=0.05)
    assert group.spread_p999_ms == pytest.approx(50, rel=0.05)


async def test_repetitions_of_a_winner_of_long_ago_are_counted_when_they_arrive(bench: Bench) -> None:
    """Its own hour is no longer kept."""
    await bench.deliver(bench.copy("1", 0, after_ms=-72 * 3_600_000), bench.copy("1", 0), bench.copy("1", 0, content=b"x"))
    figures = replica_figures(await bench.counts(), 0)
    assert (figures.copies, figures.first, figures.self_duplicates, figures.conflicts) == (2, 0, 2, 1)


async def test_the_report_names_who_repeats_and_calls_it_no_conflict(bench: Bench) -> None:
    await bench.deliver(*(bench.copy(str(n), replica) for replica in (0, 1) for n in range(30)))
    await bench.deliver(*(bench.copy(str(n), 1, after_ms=-5000) for n in range(30)))
    report = source_report("urn:a", await bench.counts(), 0, {0: "edge-0", 1: "edge-1"})
    assert (report.can_be_deduplicated, report.conflicts, report.match_rate) == (True, 0, 1.0)
    assert "edge-1" in report.verdict
    assert "edge-0" not in report.verdict
    assert "heartbeats" in report.verdict


async def test_groups_are_counted_apart(bench: Bench) -> None:
    await bench.deliver(bench.copy("1", 0), bench.copy("1", 1, group="other"))
    assert group_figures(await bench.counts("g")).readings == 1
    assert group_figures(await bench.counts("other")).by_replicas == {1: 1}


async def test_gaps_are_the_numbers_that_no_replica_delivered(bench: Bench) -> None:
    await bench.deliver(*(bench.copy(str(n), 0, sequence=n) for n in (100, 101, 105, 110)))
    ((source, history),) = await bench.ledger.gaps(GROUP)
    assert source == "urn:a"
    assert [(gap.first, gap.last) for gap in history.gaps] == [(102, 104), (106, 109)]
    assert history.missing == 7
    await bench.deliver(bench.copy("103", 1, sequence=103), bench.copy("109", 1, sequence=109))
    ((_, history),) = await bench.ledger.gaps(GROUP)
    assert [(gap.first, gap.last) for gap in history.gaps] == [(102, 102), (104, 104), (106, 108)]
    assert group_figures(await bench.counts()).missing == 5


async def test_a_gap_that_is_filled_disappears(bench: Bench) -> None:
    await bench.deliver(bench.copy("1", sequence=1), bench.copy("3", sequence=3))
    await bench.deliver(bench.copy("2", 1, sequence=2))
    assert await bench.ledger.gaps(GROUP) == []
    assert group_figures(await bench.counts()).missing == 0


async def test_gaps_do_not_depend_on_the_order_in_which_partitions_are_read(bench: Bench) -> None:
    await bench.deliver(*(bench.copy(str(n), 0, sequence=n) for n in (50, 51)))
    await bench.deliver(*(bench.copy(str(n), 1, sequence=n) for n in (40, 41, 45, 49)))
    ((_, history),) = await bench.ledger.gaps(GROUP)
    assert sorted((gap.first, gap.last) for gap in history.gaps) == [(42, 44), (46, 48)]


async def test_a_jump_by_millions_is_not_a_gap(bench: Bench) -> None:
    far = 2**53 - 1
    await bench.deliver(*(bench.copy(str(n), 0, sequence=n) for n in (1, 2, far)))
    assert await bench.ledger.gaps(GROUP) == []
    assert group_figures(await bench.counts()).missing == 0


async def test_a_counter_without_an_epoch_that_starts_over_has_no_gap(bench: Bench) -> None:
    await bench.deliver(*(bench.copy(str(n), 0, sequence=n, epoch="") for n in (500, 501, 0, 1, 2)))
    assert await bench.ledger.gaps(GROUP) == []


async def test_a_source_that_starts_over_has_no_gap(bench: Bench) -> None:
    await bench.deliver(bench.copy("a", sequence=1_000_000, epoch="1"), bench.copy("b", sequence=5, epoch="2"))
    await bench.deliver(bench.copy("c", sequence=1_000_001, epoch="1"), bench.copy("d", sequence=6, epoch="2"))
    assert await bench.ledger.gaps(GROUP) == []


async def test_many_gaps_are_remembered_as_a_number(bench: Bench) -> None:
    await bench.deliver(*(bench.copy(str(n), sequence=2 * n) for n in range(200)))
    ((_, history),) = await bench.ledger.gaps(GROUP)
    assert (history.missing, len(history.gaps)) == (199, 64)


async def test_sources_that_never_match_show_how_far_apart_they_are(bench: Bench) -> None:
    for n in range(5):
        at = bench.now_ms + 1000 * n
        await bench.deliver(bench.copy(f"a{n}", 0, time_ms=at), bench.copy(f"b{n}", 1, time_ms=at + 40))
    hour = bench.now_ms // 3_600_000
    by_distance = distances(await bench.ledger.source_counts(GROUP, "urn:a", range(hour - 1, hour + 1)))
    assert sum(by_distance.values()) == 9
    assert min(by_distance) == pytest.approx(40, rel=0.05)


async def test_the_offset_between_readings_of_one_content_is_measured_with_its_sign(bench: Bench) -> None:
    """Plain distances alternate between the offset and what is left of the interval."""
    for n in range(6):
        at, value = bench.now_ms + 1000 * n, bytes([n])
        await bench.deliver(bench.copy(f"a{n}", 0, time_ms=at, content=value))
        await bench.deliver(bench.copy(f"b{n}", 1, time_ms=at + 400, content=value))
        await bench.deliver(bench.copy(f"c{n}", 2, time_ms=at - 50, content=value))
    hour = bench.now_ms // 3_600_000
    found = offsets(await bench.ledger.source_counts(GROUP, "urn:a", range(hour - 1, hour + 1)))
    assert {replica: list(times.values()) for replica, times in found.items()} == {1: [6], 2: [6]}
    assert [*found[1], *found[2]] == [pytest.approx(400, rel=0.05), pytest.approx(-50, rel=0.05)]


async def test_contents_that_do_not_change_are_counted_apart_for_winners_and_matched_copies(bench: Bench) -> None:
    await bench.deliver(*(bench.copy(str(n), 0, content=b"same") for n in range(5)))
    await bench.deliver(*(bench.copy(str(n), 1, content=b"same") for n in range(3)))
    await bench.deliver(bench.copy("5", 0, content=b"other"), bench.copy("5", 0, content=b"other"))
    await bench.deliver(bench.copy("6", 0, content=b"same", source="urn:b"), bench.copy("7", 0, content=b"other"))
    hour = bench.now_ms // 3_600_000
    counts = await bench.ledger.source_counts(GROUP, "urn:a", range(hour - 1, hour + 1))
    assert {name: n for name, n in counts.items() if name[0] in "uv" and n} == {"u0": 5, "v1": 2}


async def test_the_replicas_and_sources_seen_and_the_claim_of_a_reading_can_be_looked_up(bench: Bench) -> None:
    for name in ("edge-0", "edge-1"):
        await bench.store.replica_number(GROUP, name)
    await bench.deliver(bench.copy("1", 0, after_ms=5), bench.copy("1", 1, after_ms=7))
    seen = await bench.ledger.replicas(GROUP)
    assert [(r.name, r.number, r.enqueued_ms - bench.now_ms) for r in seen] == [("edge-0", 0, 5), ("edge-1", 1, 7)]
    assert [item.source for item in await bench.ledger.sources(GROUP)] == ["urn:a"]
    stored = await bench.ledger.find(GROUP, "urn:a", "1")
    assert stored is not None
    assert (stored.claim.replicas, stored.claim.origin.partition) == (0b11, 0)
    assert await bench.ledger.find(GROUP, "urn:a", "2") is None


async def test_a_claim_takes_about_as_much_redis_memory_as_projected(redis_url: str, namespace: str) -> None:
    """The projection of the memory that a full window needs is based on this figure."""
    client = connect(redis_url, 5.0)
    store = RedisClaims(client, namespace=namespace, shards=SHARDS)
    bench = Bench(store, RedisLedger(client, namespace=namespace, shards=SHARDS), time.time_ns() // 1_000_000)
    await bench.deliver(bench.copy("first"))
    before = (await client.info("memory"))["used_memory"]
    for start in range(0, 20_000, 1000):
        await bench.deliver(*(bench.copy(str(n)) for n in range(start, start + 1000)))
    taken = ((await client.info("memory"))["used_memory"] - before) / 20_000
    await store.close()
    print(f"{taken:.0f} bytes per claim")
    assert 0.5 * BYTES_PER_CLAIM < taken < 1.2 * BYTES_PER_CLAIM


@pytest.mark.parametrize(("seed", "is_cluster"), [*((seed, False) for seed in range(8)), (0, True), (1, True)])
async def test_redis_counts_as_the_model_does(
    request: pytest.FixtureRequest, seed: int, is_cluster: bool, redis_url: str, namespace: str
) -> None:
    """Random copies with replays, conflicts, orphans, gaps and several shards, sources and groups."""
    rng, now_ms = random.Random(seed), time.time_ns() // 1_000_000
    model = MemoryClaims(MemoryClock(now_ms))
    client = connect(request.getfixturevalue("redis_cluster") if is_cluster else redis_url, 5.0, is_cluster=is_cluster)
    real = RedisClaims(client, namespace=namespace, shards=SHARDS)
    ledger = RedisLedger(client, namespace=namespace, shards=SHARDS)
    numbers = [-1, -1, -1, -1]
    history: list[list[ClaimRequest]] = []
    for _ in range(30):
        call = []
        for _ in range(rng.randint(1, 12)):
            replica, source, place = rng.randrange(4), rng.randrange(3), rng.randrange(40)
            numbers[replica] += rng.randint(1, 2)
            group = "g" if source < 2 else "h"
            call.append(_event(rng, group, f"urn:{source}", place, replica, numbers[replica], now_ms))
        history.append(call)
        for repeated in [call, *([rng.choice(history)] if rng.random() < 0.3 else [])]:
            assert await real.claim(repeated, LIVE) == await model.claim(repeated, LIVE)
    hours = range(now_ms // 3_600_000 - 31, now_ms // 3_600_000 + 1)
    minutes = range(now_ms // 60_000 - 80, now_ms // 60_000 + 1)
    for group in ("g", "h"):
        for counted in (hours, *([hour] for hour in hours)):
            assert _tidy([await ledger.hours(group, counted)]) == _tidy([await model.ledger.hours(group, counted)])
        for names in (None, TOTALS):
            of_minutes = _tidy(await ledger.minutes(group, minutes, names))
            assert of_minutes == _tidy(await model.ledger.minutes(group, minutes, names))
        for name in ("urn:0", "urn:1", "urn:2"):
            counts = _tidy([await ledger.source_counts(group, name, hours)])
            assert counts == _tidy([await model.ledger.source_counts(group, name, hours)])
        gaps, expected = await ledger.gaps(group), await model.ledger.gaps(group)
        assert [(s, sorted((g.epoch, g.first, g.last) for g in h.gaps), h.missing) for s, h in gaps] == [
            (s, sorted((g.epoch, g.first, g.last) for g in h.gaps), h.missing) for s, h in expected
        ]
    await real.close()


def _event(rng: random.Random, group: str, source: str, place: int, replica: int, number: int, now_ms: int) -> ClaimRequest:
    """An event with readings of neighbouring places; some are from another source, and one may occur twice."""
    places = sorted(rng.choices(range(place, place + 3), k=rng.randint(1, 3)))
    readings = [
        Reading(
            index,
            source if rng.random() < 0.8 else "urn:0",
            str(at),
            [],
            content_hash(bytes([rng.random() < 0.1])),
            rng.choice([None, rfc3339(now_ms - at * 1000 - replica)]),
            rng.choice([str(at), str(at), None]),
            rng.choice(["a", "b", ""]),
        )
        for index, at in enumerate(places, start=rng.randrange(3))
    ]
    late = frozenset(reading.index for reading in readings if rng.random() < 0.1)
    event = Origin(rng.choice([1, 1, 1, 9]), replica, number, 0)
    enqueued = now_ms - rng.choice([0, 10, 500, 70_000, 7_200_000, 30 * 3_600_000])
    return ClaimRequest(
        group, replica, event, enqueued, 600_000, 600_000, readings, key_digests(group, readings), late, rng.random() < 0.5
    )


def _tidy(counts: list[Counts]) -> list[dict[str, int]]:
    return [{name: number for name, number in item.items() if number} for item in counts]


# --- after Redis forgot


@dataclass
class Forgetful:
    """A bench behind a marker, and its Redis, which can forget."""

    bench: Bench
    markers: Markers
    wipe: Callable[[], Awaitable[object]]
    kill: Callable[[], Awaitable[object]]
    """Another server has the data."""

    async def begin(self, *, forgets: bool = True) -> None:
        """A new generation, for which nothing is read back yet."""
        await (self.wipe() if forgets else self.kill())
        await self.markers.look()

    async def restore(self, *copies: ClaimRequest, has_content: bool = True) -> None:
        """Claims what the clean stream says that these copies have published, and lets claims be made."""
        ends_ms = self.bench.now_ms + 600_000
        markers = await self.markers.look()
        for copy in copies:
            contents = [r.content_hash if has_content else NO_CONTENT for r in copy.readings]
            indexes = [r.index for r in copy.readings]
            claims = restored_claims(copy.event, indexes, contents, copy.replica, copy.enqueued_ms)
            event = RestoredEvent(ends_ms, ends_ms, [r.source for r in copy.readings], copy.keys, claims)
            await self.markers.restore([event], markers)
        for marker in markers:
            await self.markers.note(marker, "0", ReadBack(0, 0), ["0"])
        await self.markers.look()

    async def counts(self) -> dict[str, int]:
        return await self.bench.counts()


@pytest.fixture(params=["memory", "redis", "cluster"])
async def forgetful(request: pytest.FixtureRequest, redis_url: str, namespace: str) -> AsyncIterator[Forgetful]:
    now_ms = time.time_ns() // 1_000_000
    if request.param == "memory":
        claims = MemoryClaims(MemoryClock(now_ms))
        server = MemoryServer(claims.clock, claims)
        yield Forgetful(Bench(claims, claims.ledger, now_ms), MemoryMarkers(server), *_memory_faults(server))
        return
    is_cluster = request.param == "cluster"
    client = connect(request.getfixturevalue("redis_cluster") if is_cluster else redis_url, 5.0, is_cluster=is_cluster)
    generations = Generations(namespace, SHARDS)
    markers = RedisMarkers(client, generations, namespace=namespace, rebuilds=True)
    store = RedisClaims(client, namespace=namespace, shards=SHARDS, generations=generations)
    bench = Bench(store, RedisLedger(client, namespace=namespace, shards=SHARDS), now_ms)

    async def wipe() -> None:
        async for key in client.scan_iter(match=f"{namespace}*", count=1000):
            await client.delete(key)

    async def kill() -> None:
        for shard in range(SHARDS):
            await client.hset(generations.key(shard), "server", "another")

    yield Forgetful(bench, markers, wipe, kill)
    await store.close()


def _memory_faults(server: MemoryServer) -> tuple[Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]]:
    async def wipe() -> None:
        server.marker = None
        server.claims.stored.clear()
        empty = MemoryLedger(server.claims)
        for item in fields(MemoryLedger):
            setattr(server.claims.ledger, item.name, getattr(empty, item.name))
        await server.clock.sleep(0.001)

    async def kill() -> None:
        server.id += 1
        await server.clock.sleep(0.001)

    return wipe, kill


async def test_a_first_start_has_forgotten_nothing(forgetful: Forgetful) -> None:
    await forgetful.begin()
    await forgetful.restore()
    await forgetful.bench.deliver(forgetful.bench.copy("1"))
    assert await forgetful.bench.ledger.forgot_ms() is None


async def test_what_redis_forgot_is_known_by_the_claims_that_were_missing(forgetful: Forgetful) -> None:
    winner = forgetful.bench.copy("1")
    await forgetful.begin()
    await forgetful.restore(winner)
    forgot_ms = await forgetful.bench.ledger.forgot_ms()
    assert forgot_ms in {marker.since_ms for marker in await forgetful.markers.look()}
    await forgetful.begin(forgets=False)
    await forgetful.restore(winner)
    assert await forgetful.bench.ledger.forgot_ms() == forgot_ms


async def test_a_server_that_comes_back_with_its_data_has_forgotten_nothing(forgetful: Forgetful) -> None:
    winner = forgetful.bench.copy("1")
    await forgetful.begin()
    await forgetful.restore()
    await forgetful.bench.deliver(winner)
    await forgetful.begin(forgets=False)
    await forgetful.restore(winner)
    assert await forgetful.bench.ledger.forgot_ms() is None


async def test_copies_of_forgotten_winners_are_counted_once_and_change_no_other_figure(forgetful: Forgetful) -> None:
    """Two replicas had delivered everything; of a third it is not known. The winners' counts are forgotten."""
    bench = forgetful.bench
    winners = [bench.copy(str(n), 0, after_ms=-7_200_000) for n in range(5)]
    await forgetful.begin()
    await forgetful.restore(*winners)
    await bench.deliver(*(bench.copy(str(n), replica) for n in range(5) for replica in (1, 2)))
    await bench.deliver(*(bench.copy(str(n), 1) for n in range(3)), bench.copy("0", 0))
    await bench.deliver(bench.copy("new", 0), bench.copy("new", 1))
    counts = await forgetful.counts()
    assert min(counts.values()) > 0
    group, replicas = group_figures(counts), [replica_figures(counts, n) for n in range(3)]
    assert (group.readings, group.copies, group.by_replicas, group.sole_source_share) == (1, 16, {2: 1}, 0.0)
    assert [r.copies for r in replicas] == [2 + 0, 5 + 3 + 1, 5]
    assert [r.of_forgotten for r in replicas] == [0, 5, 5]
    assert [r.self_duplicates for r in replicas] == [1, 3, 0]
    assert [r.coverage for r in replicas] == [1.0, 1.0, 0.0]
    assert group.spread_p999_ms == pytest.approx(0, abs=1)
    assert (group.conflicts, replicas[0].sole) == (0, 0)


async def test_a_repeated_call_counts_no_copy_of_a_forgotten_winner_twice(forgetful: Forgetful) -> None:
    winner, copies = forgetful.bench.copy("1", 0), [forgetful.bench.copy("1", 1), forgetful.bench.copy("1", 2)]
    await forgetful.begin()
    await forgetful.restore(winner)
    for _ in range(2):
        await forgetful.bench.deliver(*copies)
    assert group_figures(await forgetful.counts()).copies == 2


@pytest.mark.parametrize(("has_content", "conflicts"), [(True, 2), (False, 0)])
async def test_a_content_that_is_not_known_is_no_conflict(forgetful: Forgetful, has_content: bool, conflicts: int) -> None:
    bench, winner = forgetful.bench, forgetful.bench.copy("1", 0, content=b"a")
    await forgetful.begin()
    await forgetful.restore(winner, has_content=has_content)
    await bench.deliver(bench.copy("1", 1, content=b"b"), bench.copy("1", 0, content=b"c"), bench.copy("1", 2, content=b"a"))
    assert group_figures(await forgetful.counts()).conflicts == conflicts


async def test_numbers_that_were_published_before_redis_forgot_are_no_gap(forgetful: Forgetful) -> None:
    """Partitions are read again from their checkpoints on, not in step: the numbers first seen are neither the lowest nor
    all. What is passed over later is a gap."""
    bench = forgetful.bench
    published = [bench.copy(str(n), 0, sequence=n) for n in (*range(60, 81), 83, 84)]
    await forgetful.begin()
    await forgetful.restore(*published)
    await bench.deliver(bench.copy("82", 1, sequence=82), bench.copy("85", 1, sequence=85))  # 83, 84 came before from 0
    await bench.deliver(*(bench.copy(str(n), 2, sequence=n) for n in (70, 71, 83, 84, 85)))
    assert await bench.ledger.gaps(GROUP) == []
    assert group_figures(await forgetful.counts()).missing == 0
    await bench.deliver(bench.copy("88", 0, sequence=88))
    ((_, history),) = await bench.ledger.gaps(GROUP)
    assert [(gap.first, gap.last) for gap in history.gaps] == [(86, 87)]


async def test_a_lower_number_than_was_seen_first_after_redis_forgot_opens_no_gap(forgetful: Forgetful) -> None:
    bench, published = forgetful.bench, forgetful.bench.copy("50", 0, sequence=50)
    await forgetful.begin()
    await forgetful.restore(published)
    await bench.deliver(bench.copy("100", 0, sequence=100), bench.copy("90", 1, sequence=90))
    assert await bench.ledger.gaps(GROUP) == []


async def test_what_a_history_of_before_passes_over_is_no_gap(forgetful: Forgetful) -> None:
    """A replica of Redis that lags takes over: histories lack what was counted last. Gaps that it knows are still filled."""
    bench = forgetful.bench
    await forgetful.begin()
    await forgetful.restore()
    await bench.deliver(*(bench.copy(str(n), 0, sequence=n) for n in (10, 13)))
    await forgetful.begin(forgets=False)
    await forgetful.restore(bench.copy("14", 0, sequence=14), bench.copy("11", 0, sequence=11))
    await bench.deliver(bench.copy("20", 0, sequence=20), bench.copy("22", 0, sequence=22))
    await bench.deliver(bench.copy("11", 1, sequence=11))
    ((_, history),) = await bench.ledger.gaps(GROUP)
    assert [(gap.first, gap.last) for gap in history.gaps] == [(12, 12), (21, 21)]


async def test_sources_and_gaps_are_read_page_by_page_and_in_order(bench: Bench) -> None:
    names = [f"urn:{n:02}" for n in range(11)] + ["urn:\x00", "urn:ü", "urn:💥"]
    for name in names:
        await bench.deliver(*(bench.copy(str(n), source=name, sequence=n) for n in (1, 3)))
    await bench.deliver(bench.copy("1", source="urn:whole", sequence=1))
    expected = sorted(names)
    assert [source for source, _ in await bench.ledger.gaps(GROUP)] == expected
    read: list[str] = []
    while page := await bench.ledger.gaps(GROUP, read[-1] + "\0" if read else "", 4):
        assert len(page) <= 4
        read += [source for source, _ in page]
    assert read == expected
    read = []
    while found := await bench.ledger.sources(GROUP, read[-1] + "\0" if read else "", 4):
        read += [item.source for item in found]
    assert read == sorted([*names, "urn:whole"])
    assert [item.source for item in await bench.ledger.sources(GROUP, "urn:05", 2, "0")] == ["urn:05", "urn:06"]
    histories = await bench.ledger.histories(GROUP, ["urn:whole", "urn:00", "urn:unknown"])
    assert {source: history.missing for source, history in histories.items()} == {"urn:whole": 0, "urn:00": 1}


MAX_SOURCES = 4


@dataclass
class Limited:
    bench: Bench
    age_all: Callable[[], Awaitable[None]]
    """Makes all sources look as if their last copy came days ago."""

    async def deliver(self, *sources: str) -> None:
        for source in sources:
            await self.bench.deliver(*(self.bench.copy(str(n), source=source, sequence=n) for n in (1, 3)))

    async def together(self) -> Counts:
        hour = self.bench.now_ms // 3_600_000
        counts = await self.bench.ledger.counted_together(GROUP, range(hour - 24, hour + 2))
        return {name: number for name, number in counts.items() if number}


@pytest.fixture(params=["memory", "redis"])
async def limited(request: pytest.FixtureRequest, redis_url: str, namespace: str) -> AsyncIterator[Limited]:
    now_ms = time.time_ns() // 1_000_000
    if request.param == "memory":
        claims = MemoryClaims(MemoryClock(now_ms))
        claims.ledger.max_sources = MAX_SOURCES

        async def age_known() -> None:
            known = claims.ledger.known_sources[GROUP]
            known.update(dict.fromkeys(known, now_ms - 2 * 86_400_000))

        yield Limited(Bench(claims, claims.ledger, now_ms), age_known)
        return
    client = connect(redis_url, 5.0)
    store = RedisClaims(client, namespace=namespace, max_sources=MAX_SOURCES)

    async def age_index() -> None:
        key = f"{namespace}{{0}}:sources:{GROUP}"
        names: list[bytes] = await read(client, log_unreadable, key, client.zrange(key, 0, -1), [])
        assert names
        await client.zadd(key, {text(name): now_ms - 2 * 86_400_000 for name in names})

    yield Limited(Bench(store, RedisLedger(client, namespace=namespace, shards=1), now_ms), age_index)
    await store.close()


async def test_sources_beyond_the_limit_are_counted_together(limited: Limited) -> None:
    bench = limited.bench
    await limited.deliver(*(f"urn:{n}" for n in range(10)))
    assert [item.source for item in await bench.ledger.sources(GROUP)] == [f"urn:{n}" for n in range(MAX_SOURCES)]
    assert len(await bench.ledger.gaps(GROUP)) == MAX_SOURCES
    assert await limited.together() == {"f0": 12, "o0": 12, "r1": 12}
    hour = bench.now_ms // 3_600_000
    assert await bench.ledger.source_counts(GROUP, "urn:9", range(hour - 1, hour + 2)) == {}
    figures = group_figures(await bench.counts())
    assert (figures.readings, figures.missing) == (20, MAX_SOURCES)


async def test_the_dead_make_room_for_the_new_though_nobody_asks(limited: Limited) -> None:
    """Sources that were trimmed only when somebody asked hid the losses of a new one."""
    await limited.deliver(*(f"urn:dead-{n}" for n in range(MAX_SOURCES)))
    await limited.age_all()
    await limited.deliver("urn:new")
    assert "urn:new" in [source for source, _ in await limited.bench.ledger.gaps(GROUP)]
    assert [item.source for item in await limited.bench.ledger.sources(GROUP)] == ["urn:new"]
    assert await limited.together() == {}


async def test_made_up_sources_take_no_keys_of_their_own(redis_url: str, namespace: str) -> None:
    client = connect(redis_url, 5.0)
    store = RedisClaims(client, namespace=namespace, max_sources=MAX_SOURCES)
    limited = Limited(
        Bench(store, RedisLedger(client, namespace=namespace, shards=1), time.time_ns() // 1_000_000), _nothing
    )
    await limited.deliver(*(f"urn:{n}" for n in range(50)))
    kinds = [text(key).split(":")[1] for key in await client.keys(f"{namespace}{{0}}:*")]
    assert kinds.count("source") in (MAX_SOURCES, 2 * MAX_SOURCES)  # twice where the hour has just changed
    assert kinds.count("gaps") == MAX_SOURCES
    assert kinds.count("beyond") in (1, 2)
    await store.close()


async def _nothing() -> None:
    """Nothing grows old here."""


async def test_names_that_a_pod_of_before_left_behind_are_dropped(redis_url: str, namespace: str) -> None:
    """It trims the index by time alone, and fills gaps without taking the name out."""
    client = connect(redis_url, 5.0)
    ledger = RedisLedger(client, namespace=namespace, shards=1)
    names = [f"{namespace}{{0}}:{index}:{GROUP}" for index in ("named", "gapped-named")]
    for name in names:
        await client.zadd(name, {"urn:gone": 0})
    assert (await ledger.sources(GROUP), await ledger.gaps(GROUP)) == ([], [])
    assert [await client.exists(name) for name in names] == [0, 0]
    await client.aclose()
