"""What happened is one entry each: however often it is seen, by however many pods, and however often it repeats."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup_service.core.timeline import (
    ENDINGS,
    LASTING,
    MAX_ENTRIES,
    MAX_TEXT,
    MOMENTS,
    REPEAT_MS,
    Entry,
    Kind,
    Sight,
    Spell,
    Timeline,
    decode,
    encode,
    ending_of,
    observed,
    span,
)

START_MS = 1_800_000_000_000
SILENT: Kind = "replica-silent"
KINDS: tuple[Kind, ...] = get_args(Kind)


def silent(name: str = "edge-2", began_ms: int = START_MS, group: str = "presses") -> Spell:
    return Spell(SILENT, name, f"{name} fell silent (2 of 3 replicas are sending)", began_ms, group=group)


def look(timeline: Timeline, seconds: float, *spells: Spell, **others: object) -> Timeline:
    return observed(timeline, Sight(START_MS + round(seconds * 1000), spells, pods=["pod-1"], **others))  # type: ignore[arg-type]  # as in Sight


def texts(timeline: Timeline) -> list[str]:
    return [entry.text for entry in timeline.entries if entry.kind != "pod-joined"]


def test_every_kind_is_a_moment_or_has_an_end() -> None:
    assert set(ENDINGS) | MOMENTS == set(KINDS)
    assert not set(ENDINGS) & MOMENTS


def test_a_silence_is_one_entry_from_its_beginning_to_its_end() -> None:
    timeline = look(Timeline(), 12, silent())
    for seconds in range(15, 147, 3):
        assert look(timeline, seconds, silent()) is timeline
    (entry,) = [entry for entry in look(timeline, 148).entries if entry.kind == SILENT]
    assert entry.text == "edge-2 fell silent (2 of 3 replicas are sending)"
    assert (entry.began_ms, entry.ended_ms) == (START_MS, START_MS + 148_000)
    assert ending_of(entry) == "is back after 2 min 28 s"


def test_while_it_lasts_it_has_no_end() -> None:
    (*_, entry) = look(Timeline(), 12, silent()).entries
    assert entry.ended_ms is None
    assert ending_of(entry) is None


def test_the_end_is_when_it_was_seen_not_when_it_was_looked_for() -> None:
    timeline = look(Timeline(), 12, silent())
    (*_, entry) = look(timeline, 18, told=(), ends_ms={silent().subject: START_MS + 15_500}).entries
    assert entry.ended_ms == START_MS + 15_500


def test_what_can_not_be_told_now_goes_on() -> None:
    timeline = look(Timeline(), 12, silent())
    assert look(timeline, 15, told=()) is timeline
    assert look(timeline, 15, told=LASTING - {SILENT}, replicas={"presses": []}) == msgspec.structs.replace(
        timeline, changed_ms=START_MS + 15_000, replicas={"presses": ()}
    )
    gone = look(timeline, 15, told=LASTING - {SILENT}, replicas={"ovens": []})
    assert [entry.ended_ms for entry in gone.entries if entry.kind == SILENT] == [START_MS + 15_000]


def silences(timeline: Timeline) -> list[Entry]:
    return [entry for entry in timeline.entries if entry.kind == SILENT]


def test_a_silence_that_flaps_is_two_entries() -> None:
    timeline = Timeline()
    for n in range(0, 2000, 10):
        timeline = look(timeline, n + 3, silent(began_ms=START_MS + n * 1000))
        timeline = look(timeline, n + 6)
    first, rest = silences(timeline)
    assert (first.times, rest.times) == (1, 199)
    assert (rest.began_ms, rest.ended_ms) == (START_MS + 10_000, START_MS + 1996_000)
    assert (ending_of(first), ending_of(rest)) == ("is back after 6.0 s", "is back for now")


def test_two_outages_soon_after_each_other_are_two_entries() -> None:
    """Whoever switches a gateway off twice reads twice that it was silent, and for how long."""
    timeline = look(look(Timeline(), 12, silent()), 19)
    timeline = look(timeline, 60, silent(began_ms=START_MS + 50_000))
    first, second = silences(timeline)
    assert (ending_of(first), ending_of(second)) == ("is back after 19 s", None)


def test_what_ended_before_is_not_the_end_of_what_lasts_now() -> None:
    """A pod tells what ended for a minute, and by then it may have begun again."""
    timeline = look(look(Timeline(), 12, silent()), 19)
    again, ended = silent(began_ms=START_MS + 30_000), replace(silent(), ended_ms=START_MS + 19_000)
    timeline = look(timeline, 40, ended, again)
    timeline = look(timeline, 45, again, ended)
    assert [entry.ended_ms for entry in silences(timeline)] == [START_MS + 19_000, None]


def test_what_flapped_and_comes_back_much_later_is_another_entry() -> None:
    timeline = Timeline()
    for n in (0, 10):
        timeline = look(look(timeline, n + 3, silent(began_ms=START_MS + n * 1000)), n + 6)
    ended_ms = START_MS + 16_000
    assert len(silences(look(timeline, 400, silent(began_ms=ended_ms + REPEAT_MS)))) == 2
    assert len(silences(look(timeline, 400, silent(began_ms=ended_ms + REPEAT_MS + 1)))) == 3


def test_other_subjects_have_entries_of_their_own() -> None:
    timeline = look(Timeline(), 3, silent("edge-1"), silent("edge-2"), silent("edge-2", group="ovens"))
    assert len(texts(timeline)) == 3
    assert [entry.ended_ms is None for entry in look(timeline, 6, silent("edge-1")).entries] == [False, True, False, False]


def test_an_older_look_than_that_of_another_pod_changes_nothing() -> None:
    timeline = look(look(Timeline(), 12, silent()), 15)
    assert look(timeline, 14, silent()) is timeline


def test_pods_join_leave_and_are_lost() -> None:
    timeline = observed(Timeline(), Sight(START_MS, pods=["a", "b"]))
    timeline = observed(timeline, Sight(START_MS + 3000, pods=["a"], left=["b"]))
    timeline = observed(timeline, Sight(START_MS + 6000, pods=["a", "c"]))
    timeline = observed(timeline, Sight(START_MS + 20_000, pods=["a"], lost={"c": START_MS + 9000}))
    timeline = observed(timeline, Sight(START_MS + 23_000, pods=["a"], lost={"c": START_MS + 9000}))
    assert texts(timeline) == ["b left", "c was lost: it ended without leaving, or is cut off"]
    assert [entry.what for entry in timeline.entries if entry.kind == "pod-joined"] == ["a", "b", "c"]
    assert timeline.entries[-1].began_ms == START_MS + 9000


def test_a_pod_that_crashes_in_a_loop_makes_two_entries() -> None:
    timeline = observed(Timeline(), Sight(START_MS, pods=["a"]))
    for n in range(1, 50):
        timeline = observed(timeline, Sight(START_MS + n * 20_000, pods=["a", "b"]))
        at = START_MS + n * 20_000 + 10_000
        timeline = observed(timeline, Sight(at, pods=["a"], lost={"b": at}))
    assert [(entry.what, entry.kind, entry.times) for entry in timeline.entries] == [
        ("a", "pod-joined", 1),
        ("b", "pod-joined", 49),
        ("b", "pod-lost", 49),
    ]


def test_a_takeover_says_what_went_from_whom_to_whom() -> None:
    before = {"0": "a", "1": "b", "2": "b", "10": "b"}
    timeline = look(Timeline(), 0, owners=before)
    assert texts(timeline) == []
    timeline = look(timeline, 3, owners={"0": "a"})  # nobody's for a moment
    assert texts(timeline) == []
    timeline = look(timeline, 6, owners={"0": "a", "1": "c", "2": "a", "10": "a"})
    assert texts(timeline) == ["a took over partitions 2, 10 from b", "c took over partition 1 from b"]
    assert look(timeline, 9, owners={"0": "a", "1": "c", "2": "a", "10": "a"}) is timeline


def test_processes_on_one_host_are_one_pod_to_people() -> None:
    first, second = "host-a-17-0a1b2c3d", "host-a-18-99999999"
    timeline = observed(Timeline(), Sight(START_MS, pods=[first], owners={"0": first}))
    timeline = observed(timeline, Sight(START_MS + 3000, pods=[second], lost={first: START_MS}, owners={"0": second}))
    assert [entry.text for entry in timeline.entries] == [
        "host-a joined",
        "host-a was lost: it ended without leaving, or is cut off",
        f"{second} took over partition 0 from {first}",
    ]
    assert timeline.entries[0].times == 2


def test_many_partitions_are_named_in_part() -> None:
    timeline = look(Timeline(), 0, owners={str(n): "a" for n in range(30)})
    (text,) = texts(look(timeline, 3, owners={str(n): "b" for n in range(30)}))
    assert text == "b took over partitions 0, 1, 2, 3, 4, 5, 6, 7 and 22 more from a"


def test_a_replica_is_new_once_and_not_where_the_timeline_is() -> None:
    assert texts(look(Timeline(), 0, replicas={"presses": ["edge-1"]})) == []
    timeline = look(Timeline(), 0)
    for _ in range(3):
        timeline = look(timeline, 3, replicas={"presses": ["edge-1"]})
    timeline = look(timeline, 6)  # nothing is counted
    timeline = look(timeline, 9, replicas={"presses": ["edge-1", "edge-2"], "ovens": []})
    assert texts(timeline) == ["edge-1 was seen for the first time", "edge-2 was seen for the first time"]


def test_that_redis_forgot_is_told_once() -> None:
    timeline = Timeline()
    for seconds in range(60, 600, 60):
        timeline = look(timeline, seconds, forgot_ms=START_MS + 50_000)
    timeline = look(timeline, 700)
    timeline = look(timeline, 800, forgot_ms=START_MS + 750_000)
    assert [(entry.kind, entry.began_ms - START_MS) for entry in timeline.entries[1:]] == [
        ("redis-forgot", 50_000),
        ("redis-forgot", 750_000),
    ]


def test_an_outage_that_was_over_before_anybody_could_look_is_told_once() -> None:
    away = Spell("unavailable", "Redis", "Redis was unavailable", START_MS + 1000, START_MS + 31_000)
    timeline = look(Timeline(), 32, away)
    for seconds in range(35, 90, 3):
        assert look(timeline, seconds, away) is timeline
    (*_, entry) = timeline.entries
    assert ending_of(entry) == "is available again after 30 s"
    other_pod = Spell("unavailable", "Redis", "Redis was unavailable", START_MS + 900, START_MS + 31_500)
    (*_, entry) = look(timeline, 90, away, other_pod).entries
    assert (entry.times, entry.ended_ms) == (1, START_MS + 31_500)


def test_entries_are_bounded_and_what_lasts_stays_longest() -> None:
    timeline = look(Timeline(), 0, silent("edge-0"))
    for n in range(3 * MAX_ENTRIES):
        timeline = look(timeline, 10 * n + 3, silent("edge-0"), silent(f"edge-{n}x", START_MS + n * 10_000))
        timeline = look(timeline, 10 * n + 6, silent("edge-0"))
    assert len(timeline.entries) == MAX_ENTRIES
    assert [entry.what for entry in timeline.entries if entry.ended_ms is None] == ["edge-0"]
    assert len(decode(encode(timeline)).entries) == MAX_ENTRIES


def test_long_texts_are_cut() -> None:
    timeline = look(Timeline(), 0, silent("x" * 5000))
    assert decode(encode(timeline)) == timeline
    assert look(timeline, 3, silent("x" * 5000)) is timeline
    assert len(timeline.entries[-1].text) == MAX_TEXT


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"[]",
        b'{"entries":[{}]}',
        b'{"entries":[{"number":1,"kind":"x","group":"","what":"","text":"","began_ms":1,"ended_ms":1}]}',
        b'{"entries":[{"number":1,"kind":"conflicts","group":"","what":"","text":"","began_ms":-1,"ended_ms":1}]}',
        b'{"entries":[{"number":1,"kind":"conflicts","group":"","what":"","text":"","began_ms":1e300,"ended_ms":1}]}',
        msgspec.json.encode({"entries": [Entry(n, "conflicts", "", "", "", 1, 1) for n in range(MAX_ENTRIES + 1)]}),
        msgspec.json.encode({"entries": [Entry(1, "conflicts", "", "", "x" * (MAX_TEXT + 1), 1, 1)]}),
    ],
)
def test_a_timeline_of_another_shape_is_refused_as_a_whole(stored: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(stored)


def test_spans() -> None:
    expected = {0.04: "0.0 s", 9.94: "9.9 s", 10: "10 s", 59.4: "59 s", 59.6: "1 min", 148: "2 min 28 s", 3600: "1 h"}
    expected |= {3_660: "1 h 1 min", 86_400 * 3 + 7_300: "3 d 2 h"}
    assert {seconds: span(seconds) for seconds in expected} == expected


names = st.sampled_from(["a", "b", "c"])
spells = st.builds(
    lambda kind, what, began, lasted: Spell(
        kind, what, what, began, None if lasted is None and kind not in MOMENTS else began + (lasted or 0)
    ),
    st.sampled_from(KINDS),
    names,
    st.integers(0, 10**6),
    st.none() | st.integers(0, 10**5),
)
sights = st.builds(
    Sight,
    st.integers(1, 10**6),
    st.lists(spells, max_size=6),
    told=st.sets(st.sampled_from(KINDS)),
    pods=st.sets(names),
    left=st.sets(names, max_size=1),
    lost=st.dictionaries(names, st.integers(0, 10**6), max_size=1),
    owners=st.dictionaries(st.sampled_from(["0", "1"]), names),
    replicas=st.dictionaries(names, st.lists(names, unique=True)),
    forgot_ms=st.integers(0, 5),
)


@given(st.lists(sights, max_size=12))
def test_whatever_is_seen_the_timeline_stays_in_order_and_readable(seen: list[Sight]) -> None:
    timeline = Timeline()
    for sight in seen:
        timeline = observed(timeline, sight)
        numbers = [entry.number for entry in timeline.entries]
        assert numbers == sorted(set(numbers))
        lasting = [entry.subject for entry in timeline.entries if entry.ended_ms is None]
        assert len(lasting) == len(set(lasting))
        assert all(entry.ended_ms is None or entry.ended_ms >= entry.began_ms for entry in timeline.entries)
        assert all(entry.kind not in MOMENTS or entry.ended_ms is not None for entry in timeline.entries)
        assert decode(encode(timeline)) == timeline
    assert all(ending_of(entry) != "" for entry in timeline.entries)


@given(st.lists(sights, max_size=6), sights)
def test_a_look_that_is_repeated_adds_nothing(seen: list[Sight], last: Sight) -> None:
    """Of each subject, a look has one spell."""
    timeline = Timeline()
    for sight in (*seen, last):
        timeline = observed(timeline, sight)
    lasting = {spell.subject: spell for spell in last.spells if spell.ended_ms is None}
    calm = Sight(last.now_ms, list(lasting.values()), pods=timeline.pods)
    once = observed(timeline, calm)
    assert observed(once, calm) is once
