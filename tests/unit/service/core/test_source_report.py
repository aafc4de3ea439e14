"""The report names what keeps copies from matching, and says nothing of the kind where they do."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from dedup_service.core.source_report import Lack, SourceReport, source_report
from dedup_service.core.traps import TrapKind
from tests.support.copies import NOW_MS, REPLICAS, SOURCE, Copies

READINGS = 60
NAMES = {0: "edge-0", 1: "edge-1"}


async def reported(copies: Copies, names: dict[int, str] | None = None) -> SourceReport:
    return source_report(SOURCE, await copies.counts(), 0, names or NAMES, is_observed=copies.is_observed)


async def never_matching(stamps: Sequence[tuple[int, int, object]], *, is_observed: bool = True) -> SourceReport:
    """(replica, source time in ms after the start, value) of copies whose ids are all different."""
    copies = Copies(is_observed)
    for number, (replica, after_ms, value) in enumerate(stamps):
        await copies.deliver(replica, str(number), NOW_MS + after_ms, value)
    return await reported(copies)


def two_replicas(offset_ms: int, interval_ms: int = 1000) -> list[tuple[int, int, object]]:
    return [
        (replica, interval_ms * n + replica * offset_ms, n)
        for n in range(READINGS)
        for replica in random.Random(n).sample((0, 1), 2)
    ]


async def test_copies_that_match_are_in_no_trap() -> None:
    copies = Copies()
    for n in range(READINGS):
        for replica in (0, 1):
            await copies.deliver(replica, str(n), NOW_MS + 1000 * n, n // 20)
    report = await reported(copies)
    assert (report.trap, report.verdict, report.match_rate) == (None, "good", 1)


async def test_ids_that_differ_though_times_and_contents_do_not() -> None:
    report = await never_matching(two_replicas(0))
    assert report.trap is not None
    assert (report.trap.kind, report.can_be_deduplicated) == (TrapKind.OTHER_IDS, False)
    assert "use the identity `source-time`" in report.verdict


async def test_contents_that_differ_though_times_do_not() -> None:
    stamps = [(replica, 1000 * n, f"{n}/{replica}") for n in range(READINGS) for replica in (0, 1)]
    report = await never_matching(stamps)
    assert report.trap is not None
    assert report.trap.kind is TrapKind.OTHER_CONTENTS
    assert "`source-time` without the value" in report.verdict


@pytest.mark.parametrize("offset_ms", [30, 400, -30])
async def test_stamps_that_differ_by_a_constant_are_named_with_it(offset_ms: int) -> None:
    report = await never_matching(two_replicas(offset_ms))
    assert report.trap is not None
    assert report.trap.kind is TrapKind.CONSTANT_OFFSET
    word = "later" if (offset_ms > 0) == (report.trap.replicas == ("edge-1",)) else "earlier"
    measured = float(report.verdict.partition(f"{report.trap.replicas[0]} stamps ")[2].partition(" ms")[0])
    assert measured == pytest.approx(abs(offset_ms), rel=0.04)
    assert f" ms {word} than the others" in report.verdict
    phase = float(report.verdict.partition("`time-bucket:I+")[2].partition("`")[0])
    assert phase == pytest.approx(abs(offset_ms) / 2000, rel=0.04)


async def test_a_constant_is_found_where_contents_never_agree_if_one_replica_lags_behind() -> None:
    """Contents that hold the stamps; the second replica's backlog comes when the first one has moved on."""
    stamps: list[tuple[int, int, object]] = [(0, 100_000 * n, f"a{n}") for n in range(READINGS)]
    stamps += [(1, 100_000 * n + 40, f"b{n}") for n in range(READINGS)]
    report = await never_matching(stamps)
    assert report.trap is not None
    assert report.trap.kind is TrapKind.CONSTANT_OFFSET


@pytest.mark.parametrize(
    ("offset_ms", "words"), [(3_600_000, "1 h later"), (-2_700_000, "45 min"), (8 * 3_600_000, "8 h"), (19_800_000, "5.5 h")]
)
async def test_time_zones_are_told_from_other_constants(offset_ms: int, words: str) -> None:
    report = await never_matching(two_replicas(offset_ms))
    assert report.trap is not None
    assert report.trap.kind is TrapKind.TIME_ZONE
    assert words.split()[0] in report.verdict


async def test_stamps_of_their_own_are_as_far_apart_as_they_are() -> None:
    rng = random.Random(1)
    stamps = [(replica, 1000 * n + rng.randrange(300), n) for n in range(READINGS) for replica in (0, 1)]
    report = await never_matching(stamps)
    assert report.trap is not None
    assert (report.trap.kind, report.can_be_deduplicated) == (TrapKind.OWN_STAMPS, False)
    assert "ms apart in source time" in report.verdict


async def test_a_constant_value_says_nothing_of_an_offset() -> None:
    """Its copies can't be told apart by content, so the distance is to any neighbour."""
    stamps = [(replica, 1000 * n + 30 * replica, "same") for n in range(READINGS) for replica in (0, 1)]
    report = await never_matching(stamps)
    assert report.trap is not None
    assert report.trap.kind is TrapKind.OWN_STAMPS


async def test_without_times_there_is_nothing_to_compare() -> None:
    copies = Copies()
    for n in range(READINGS):
        for replica in (0, 1):
            await copies.deliver(replica, f"{n}/{replica}", None, n)
    report = await reported(copies)
    assert report.trap is not None
    assert report.trap.kind is TrapKind.NO_TIMES


async def test_a_group_that_does_not_observe_is_told_how_to_find_out() -> None:
    report = await never_matching(two_replicas(30), is_observed=False)
    assert report.trap is not None
    assert report.trap.kind is TrapKind.NOT_MEASURED
    assert "observe" in report.verdict


async def plant_with_heartbeats(beating: dict[int, int], changes: int = 12, *, is_observed: bool = True) -> Copies:
    """Every replica delivers each change; `beating` repeat the value that often, each time with a time of its own."""
    copies = Copies(is_observed)
    for n in range(changes):
        at = NOW_MS + 10_000 * n
        for replica in random.Random(n).sample((0, 1), 2):
            await copies.deliver(replica, f"{n}", at, n)
        for beat in range(max(beating.values())):
            for replica, beats in beating.items():
                if beat < beats:
                    time = at + 1000 * (beat + 1) + 7 * replica + 3
                    await copies.deliver(replica, f"{n}/{beat}/{replica}", time, n)
    return copies


@pytest.mark.parametrize("is_observed", [True, False])
@pytest.mark.parametrize(
    ("beating", "named"), [({1: 3}, ("edge-1",)), ({0: 1}, ("edge-0",)), ({0: 4, 1: 4}, ("edge-0", "edge-1"))]
)
async def test_a_watchdog_that_invents_times_is_named(
    beating: dict[int, int], named: tuple[str, ...], is_observed: bool
) -> None:
    report = await reported(await plant_with_heartbeats(beating, is_observed=is_observed))
    assert report.trap is not None
    assert (report.trap.kind, report.trap.replicas, report.can_be_deduplicated) == (TrapKind.WATCHDOG, named, True)
    assert all(name in report.verdict for name in named)


async def test_a_watchdog_is_named_even_if_changes_are_rare() -> None:
    report = await reported(await plant_with_heartbeats({0: 60, 1: 60}, changes=2))
    assert report.match_rate is not None
    assert report.match_rate < 0.05
    assert report.trap is not None
    assert report.trap.kind is TrapKind.WATCHDOG


async def test_values_that_stay_are_no_watchdog_even_if_a_replica_misses_some() -> None:
    copies = Copies()
    for n in range(200):
        await copies.deliver(0, str(n), NOW_MS + 1000 * n, "same")
        if n % 3:
            await copies.deliver(1, str(n), NOW_MS + 1000 * n, "same")
    assert (await reported(copies)).trap is None


async def test_a_replica_that_was_down_is_no_watchdog_of_the_others() -> None:
    copies = Copies()
    for n in range(200):
        await copies.deliver(0, str(n), NOW_MS + 1000 * n, n // 10)
        if n < 20:
            await copies.deliver(1, str(n), NOW_MS + 1000 * n, n // 10)
    assert (await reported(copies)).trap is None


async def test_heartbeats_that_keep_the_time_are_no_watchdog() -> None:
    copies = Copies()
    for n in range(30):
        for replica in (0, 1):
            for _ in range(4):
                await copies.deliver(replica, str(n), NOW_MS + 1000 * n, n)
    report = await reported(copies)
    assert report.trap is None
    assert report.match_rate == 1


@pytest.mark.parametrize(
    ("delivered", "lack", "verdict"),
    [
        ({0: 1}, Lack.ONE_READING, "only 1 reading so far"),
        ({0: 1, 1: 1}, Lack.ONE_READING, "only 1 reading so far"),
        ({0: 2}, Lack.ONE_SENDER, "only edge-0 sends it"),
        ({0: 200}, Lack.ONE_SENDER, "only edge-0 sends it"),
        ({0: 12, 1: 12}, Lack.FEW_READINGS, "only 12 readings so far"),
        ({0: 200, 1: 4}, Lack.FEW_READINGS, "only 4 readings of a second replica so far"),
        ({0: 40, 1: 40}, None, "good"),
        ({0: 1000, 1: 20}, None, "2% have a second copy; edge-1 delivers only 2%"),
    ],
    ids=str,
)
async def test_what_too_little_is_known_of_is_undecided(delivered: dict[int, int], lack: Lack | None, verdict: str) -> None:
    copies = Copies()
    for n in range(max(delivered.values())):
        for replica, count in delivered.items():
            if n < count:
                await copies.deliver(replica, str(n), NOW_MS + 1000 * n, n)
    report = await reported(copies)
    assert (report.trap, report.undecided, report.can_be_deduplicated) == (None, lack, True if lack is None else None)
    assert report.verdict.startswith(verdict)


async def test_fields_that_anybody_wrote_into_redis_change_nothing() -> None:
    counts = await (await plant_with_heartbeats({1: 3})).counts()
    garbage = dict.fromkeys(
        ["", "n:", "n:x", "n:1e9", f"n:{10**9}", "m:", "m0:x", "mx:1", "m٣:1", "u", "ux", "v-1", "h", "h0:x"], 7
    )
    expected = source_report(SOURCE, counts, 0, NAMES)
    assert source_report(SOURCE, {**counts, **garbage}, 0, NAMES) == expected


async def test_three_replicas_of_which_one_is_off() -> None:
    copies = Copies()
    for n in range(READINGS):
        for replica in (0, 1, 2):
            await copies.deliver(replica, f"{n}/{replica}", NOW_MS + 1000 * n + (250 if replica == 2 else 0), n)
    report = source_report(SOURCE, await copies.counts(), 0, REPLICAS)
    assert report.trap is not None
    assert report.trap.kind is TrapKind.OTHER_IDS
