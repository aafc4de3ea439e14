"""A counter that starts over without an epoch is noticed, by times and not by arrival, and the same on every gateway."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sender.buffering.inbox import Inbox, IntakeOptions, SourceIntake
from edge_sender.config.sources import check_sources
from edge_sender.counters import Counters
from edge_sender.identity import runs as module
from edge_sender.identity.runs import MOST_RUNS, Runs, decode
from wire.ids import NS_PER_SECOND, Count, Sample

MINUTE = 60 * NS_PER_SECOND
START = 1_770_000_000 * NS_PER_SECOND - 1_770_000_000 * NS_PER_SECOND % (10 * MINUTE)
"""Begins a cell of ten minutes."""
VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "reading_ids.json").read_text())

Measured = tuple[int, int]
"""(number, source time in nanoseconds)"""


def epochs(readings: list[Measured], runs: Runs | None = None, *, own: str = "", opens: bool = True) -> list[str]:
    runs = Runs() if runs is None else runs
    return [runs.observe("urn:a", Count(own, number), at, opens_epochs=opens).epoch for number, at in readings]


def at(minutes: float) -> int:
    return START + round(minutes * MINUTE)


def restarts(readings: list[tuple[int, int | None]], *, own: list[str] | None = None) -> list[str | None]:
    runs = Runs()
    names = own or [""] * len(readings)
    return [
        runs.observe("urn:a", Count(name, number), time_ns, opens_epochs=False).restart
        for (number, time_ns), name in zip(readings, names, strict=True)
    ]


@pytest.mark.parametrize(
    ("readings", "noticed"),
    [
        ([(5, 1), (6, 2), (0, 3), (1, 4)], [None, None, "restarted", None]),
        ([(65535, 1), (0, 2)], [None, "restarted"]),
        ([(5, 1), (6, 2), (5, 1), (6, 2), (7, 3)], [None] * 5),
        ([(6, 2), (5, 1), (7, 3)], [None] * 3),
        ([(5, 1), (5, 2), (5, 3)], [None] * 3),
        ([(5, 2), (4, 2), (6, 2), (7, 3)], [None] * 4),
        ([(5, None), (6, None), (2, None), (3, None)], [None, None, "untimed", None]),
        ([(5, 9), (6, 2), (0, 3)], [None, None, "restarted"]),
    ],
    ids=["restart", "wrap", "repeats", "late", "equal", "one time", "no times", "clock put back"],
)
def test_what_is_a_restart(readings: list[tuple[int, int | None]], noticed: list[str | None]) -> None:
    assert restarts(readings) == noticed


def test_with_an_epoch_of_the_source_a_counter_may_start_over() -> None:
    assert restarts([(5, 1), (0, 2), (6, 1), (1, 3), (0, 4)], own=["a", "b", "a", "b", "b"]) == [None] * 4 + ["restarted"]


def test_readings_from_a_restart_on_have_an_epoch_made_from_their_time_and_late_ones_do_not() -> None:
    found = epochs([(5, at(1)), (0, at(12.5)), (1, at(13)), (6, at(2)), (0, at(12.5))])
    assert found == ["", name := "@2026-02-02T02:50:00.000000Z", name, "", name]


def test_restarts_soon_after_each_other_have_different_epochs() -> None:
    found = epochs([(5, at(1)), (0, at(2)), (9, at(3)), (0, at(4)), (1, at(4.001)), (0, at(4.0011)), (1, at(4.002))])
    assert found == [
        "",
        "@2026-02-02T02:40:00.000000Z",
        "@2026-02-02T02:40:00.000000Z",
        "@2026-02-02T02:44:00.000000Z",
        "@2026-02-02T02:44:00.000000Z",
        "@2026-02-02T02:44:00.066000Z",
        "@2026-02-02T02:44:00.066000Z",
    ]


def test_a_gateway_that_missed_the_first_reading_of_a_run_names_it_alike_within_a_cell() -> None:
    whole = epochs([(5, at(1)), (0, at(12)), (1, at(13)), (2, at(14))])
    late = epochs([(5, at(1)), (1, at(13)), (0, at(12)), (2, at(14))])
    assert (late[1], late[2], late[3]) == (whole[2], whole[1], whole[3])


def test_across_the_border_of_a_cell_it_names_the_run_otherwise_until_the_next_one() -> None:
    """Doubled, never lost: no reading gets the id of another one."""
    whole = epochs([(5, at(1)), (0, at(9.9)), (1, at(10.1)), (0, at(30)), (1, at(31))])
    late = epochs([(5, at(1)), (1, at(10.1)), (0, at(30)), (1, at(31))])
    assert late[1] != whole[2]
    assert late[2:] == whole[3:]


def test_a_reading_from_before_all_remembered_runs_is_an_epoch_of_its_own() -> None:
    readings = [item for run in range(MOST_RUNS + 1) for item in ((5, at(100 * run)), (9, at(100 * run + 1)))]
    runs = Runs()
    assert len(set(epochs(readings, runs))) == MOST_RUNS + 1
    assert epochs([(7, at(0.5))], runs) == ["@2026-02-02T02:40:30.000000Z"]


def test_without_the_setting_no_epoch_is_made_also_if_it_was_set_before() -> None:
    runs = Runs()
    assert epochs([(5, at(1)), (0, at(2))], runs)[1] != ""
    assert epochs([(1, at(3)), (0, at(4)), (1, at(2.5))], runs, opens=False) == ["", "", ""]


histories = st.lists(st.lists(st.integers(1, 3 * MINUTE), min_size=2, max_size=6), min_size=1, max_size=MOST_RUNS)
"""Distances in time, of the readings of each run."""


def measured(history: list[list[int]]) -> list[list[Measured]]:
    """Runs of a counter that begins with 0."""
    now = START
    return [[(number, now := now + apart) for number, apart in enumerate(run)] for run in history]


@settings(deadline=None)  # it draws much
@given(history=histories, data=st.data())
def test_gateways_that_see_the_ends_of_each_run_give_each_reading_the_same_epoch(
    history: list[list[int]], data: st.DataObject
) -> None:
    """What they miss in between, and what comes late or again, changes nothing. No two readings have one id."""
    every = measured(history)
    found: dict[Measured, set[str]] = {}
    for _ in range(2):
        runs, seen = Runs(), list[Measured]()
        for run in every:
            inner = [item for item in run[1:-1] if data.draw(st.booleans())]
            for item in (run[0], *inner, run[-1]):
                again = (
                    data.draw(st.lists(st.sampled_from(sum(every[: every.index(run)], seen)), max_size=2)) if seen else []
                )
                for one in (*again, item):
                    found.setdefault(one, set()).update(epochs([one], runs))
                seen.append(item)
            if data.draw(st.booleans()):
                runs = Runs(decode(runs.records()))
    if len(every) < MOST_RUNS:
        assert all(len(names) == 1 for names in found.values())
    ids = [(number, name) for (number, _), names in found.items() for name in names]
    assert len(ids) == len(set(ids))


@given(history=histories)
def test_what_is_remembered_survives_encoding(history: list[list[int]]) -> None:
    runs = Runs()
    for run in measured(history):
        epochs(run, runs)
    runs.observe("urn:b", Count("é", 2**127), None, opens_epochs=True)
    assert Runs(decode(runs.records())).records() == runs.records()


def test_a_record_that_is_cut_off_is_refused() -> None:
    runs = Runs()
    epochs([(5, at(1)), (0, at(2))], runs)
    with pytest.raises(struct.error):
        list(decode(runs.records()[:-1]))


def test_the_counters_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SOURCES", 2)
    runs = Runs()
    for source in ("a", "b", "c"):
        runs.observe(source, Count("", 5), 1, opens_epochs=False)
    back = [runs.observe(source, Count("", 0), 2, opens_epochs=False).restart for source in ("b", "c", "a")]
    assert back == ["restarted", "restarted", None]


def test_numbers_and_times_of_any_size_do_no_harm() -> None:
    runs = Runs()
    for number, time_ns in ((10**400, 1), (5, 10**30), (5, -(10**30))):
        assert runs.observe("urn:a", Count("", number), time_ns, opens_epochs=True).epoch == ""
    assert runs.records() == b""


@pytest.mark.parametrize("vector", VECTORS["counters"], ids=lambda v: v["name"])
def test_golden_vectors_of_counters(vector: dict[str, Any]) -> None:
    """One reading after the other of one source, with the settings of `sequence`."""
    entry = {"name": "a", "kind": "synthetic", "identity": "sequence", "sequence": vector["sequence"]}
    rules = check_sources({"sources": [entry]}).sources[0].rules
    inbox = Inbox(IntakeOptions(1000, "drop-oldest", 0.0), Counters(), lambda: 0.0)
    intake = SourceIntake(inbox, "a", rules, "t")
    for reading in vector["readings"]:
        intake.take(Sample(vector["source"], int(reading["time_ns"]), reading["data"]))
    found = [(item.attributes["id"], item.attributes.get("sequenceepoch")) for item in inbox.pending]
    assert found == [(item["id"], item["epoch"]) for item in vector["readings"]]
