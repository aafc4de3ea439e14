"""The spool: what was committed survives whatever happens to the process, in order and within its bounds."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sender.buffering import last_ids
from edge_sender.buffering.last_ids import MARK_BYTES, LastIds
from edge_sender.buffering.spool import Spool
from edge_sender.buffering.spool_values import (
    ROW_OVERHEAD_BYTES,
    DamagedSpoolError,
    Dropped,
    Rows,
    SpoolError,
    SpoolLimits,
    SpoolUnusableError,
    appended,
    parted,
)
from edge_sender.identity.readings import Reading, mark_of
from tests.support.clocks import GatewayClocks

READING_BYTES = 20
COST = READING_BYTES + ROW_OVERHEAD_BYTES


def reading(number: int) -> Reading:
    return Reading(b"{}", str(number).zfill(READING_BYTES - 2).encode())


def readings(*numbers: int) -> list[Reading]:
    return [reading(number) for number in numbers]


def numbers(spool: Spool, after: int = 0) -> list[int]:
    return [int(kept.data) for _, kept in spool.read(after, 10_000).readings]


def limits(**changed: Any) -> SpoolLimits:
    return SpoolLimits(**{"max_bytes": 100 * COST, "max_age_seconds": 100.0, "when_full": "drop-oldest", **changed})


def spool_at(path: Path | None, **changed: Any) -> Spool:
    return Spool(path, limits(**changed), GatewayClocks().clocks)


def test_committed_readings_are_read_oldest_first_even_by_the_next_process(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.db")
    spool.commit(readings(1, 2))
    spool.commit(readings(3), positions={"file": "7"})
    spool.close()
    again = spool_at(tmp_path / "s.db")
    assert numbers(again) == [1, 2, 3]
    assert again.positions() == {"file": "7"}
    assert (again.readings, again.size) == (3, 3 * COST)


def test_rows_are_never_used_twice(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.db")
    spool.commit(readings(1, 2))
    spool.commit(acknowledged=[Rows(1, 2)])
    spool.commit(readings(3), taken=2)
    assert numbers(spool, after=2) == [3]


@pytest.mark.parametrize(("when_full", "kept"), [("drop-oldest", [3, 4, 5, 6]), ("drop-newest", [1, 2, 3, 4])])
def test_a_full_spool_drops_by_the_policy(when_full: str, kept: list[int]) -> None:
    spool = spool_at(None, max_bytes=4 * COST, when_full=when_full)
    assert spool.commit(readings(1, 2, 3)) == Dropped()
    assert spool.commit(readings(4, 5, 6)) == Dropped(by_size=2)
    assert numbers(spool) == kept
    assert spool.size == 4 * COST


def test_what_is_on_its_way_is_not_dropped() -> None:
    spool = spool_at(None, max_bytes=4 * COST)
    spool.commit(readings(1, 2, 3))
    assert spool.commit(readings(4, 5, 6, 7), taken=2) == Dropped(by_size=3)
    assert numbers(spool) == [1, 2, 6, 7]


def test_more_than_fits_at_once_keeps_the_newest() -> None:
    spool = spool_at(None, max_bytes=4 * COST)
    assert spool.commit(readings(*range(10))) == Dropped(by_size=6)
    assert numbers(spool) == [6, 7, 8, 9]


def test_what_is_too_old_is_dropped_and_counted_unless_it_is_on_its_way() -> None:
    gateway = GatewayClocks()
    spool = Spool(None, limits(), gateway.clocks)
    spool.commit(readings(1, 2, 3))
    gateway.elapse(90)
    spool.commit(readings(4))
    gateway.elapse(11)
    assert spool.commit(taken=1) == Dropped(by_age=2)
    assert numbers(spool) == [1, 4]


def test_no_step_of_the_clock_makes_anything_old_or_young() -> None:
    """NTP after a boot at the last known time; a receiver that jumps to 2036 and back."""
    gateway = GatewayClocks()
    spool = Spool(None, limits(max_bytes=10**6), gateway.clocks)
    spool.commit(readings(*range(1000)))
    for gateway.error in (5 * 3600.0, 3e8, -3e8, 0.0):
        assert spool.commit() == Dropped()
    assert numbers(spool) == [*range(1000)]
    assert spool.ages.steps == 4
    gateway.error = -3e8
    gateway.elapse(100)
    assert spool.commit() == Dropped(by_age=1000)


def test_a_commit_that_fails_changes_nothing(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.db")
    spool.commit(readings(1))
    spool._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(SpoolError):
        spool.commit([Reading(b"{}", b"x" * 100)] * 50, acknowledged=[Rows(1, 1)])
    assert (numbers(spool), spool.readings, spool.size) == ([1], 1, COST)
    spool._db.execute("PRAGMA max_page_count = 100000")
    spool.commit(readings(2))
    assert numbers(spool) == [1, 2]


def test_commits_are_synced() -> None:
    """Surviving a loss of power relies on SQLite's guarantee for a log that is synced at every commit."""
    assert spool_at(None)._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_the_file_stays_near_its_bound(tmp_path: Path) -> None:
    bound = 2_000_000
    spool = spool_at(tmp_path / "s.db", max_bytes=bound)
    batch = [Reading(b"{}" * 50, b"x" * 100)] * 500
    for _ in range(60):
        spool.commit(batch)
    files = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert files < bound * 1.5 + 4_200_000  # the log is written back after 1,000 pages of 4 KB


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 60_000), commits=st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_a_loss_of_power_leaves_the_first_commits_whole(
    tmp_path_factory: pytest.TempPathFactory, cut: int, commits: list[int]
) -> None:
    """The log is cut off at any byte: what remains are whole commits, without a gap from the first one."""
    folder = tmp_path_factory.mktemp("power")
    spool = spool_at(folder / "s.db")
    ends, count = {0}, 0
    for size in commits:
        spool.commit(readings(*range(count, count + size)))
        count += size
        ends.add(count)
    for name in ("s.db", "s.db-wal"):
        shutil.copy(folder / name, folder / f"lost-{name}")
    log = folder / "lost-s.db-wal"
    log.write_bytes(log.read_bytes()[: max(0, log.stat().st_size - cut)])
    spool.close()
    after = spool_at(folder / "lost-s.db")
    remaining = numbers(after)
    assert remaining == list(range(len(remaining)))
    assert len(remaining) in ends


def test_one_spool_serves_one_process(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.db")
    with pytest.raises(SpoolUnusableError, match="EDGE_SPOOL_PATH: .*in use by another"):
        spool_at(tmp_path / "s.db")
    spool.close()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnusableError, match="EDGE_SPOOL_PATH: .*folder must exist"):
        spool_at(tmp_path / "no" / "s.db")


def test_sqlite_supports_returning_what_it_deletes() -> None:
    assert sqlite3.sqlite_version_info >= (3, 35)


def marked(variable: int, number: int) -> Reading:
    source, reading_id = f"urn:{variable}", f"{number:032x}"
    head = json.dumps({"source": source, "id": reading_id}).encode()
    return Reading(head, str(number).encode(), mark_of(source, reading_id))


def test_the_last_id_of_each_variable_is_committed_with_its_readings(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.db")
    spool.commit([marked(1, 1), marked(2, 1), marked(1, 2)])
    spool.commit(acknowledged=[Rows(1, 3)])
    spool.close()
    last = spool_at(tmp_path / "s.db").last_ids()
    assert [last.has(marked(*item).mark) for item in ((1, 1), (1, 2), (2, 1), (3, 1))] == [False, True, True, False]


@pytest.mark.parametrize("when_full", ["drop-oldest", "drop-newest"])
def test_what_was_dropped_is_no_last_id(when_full: str) -> None:
    size = len(marked(1, 1).head) + 1 + ROW_OVERHEAD_BYTES
    spool = spool_at(None, max_bytes=2 * size, when_full=when_full)
    spool.commit([marked(1, 1), marked(2, 1)])
    dropped = spool.commit([marked(3, 1)])
    lost = marked(1, 1) if when_full == "drop-oldest" else marked(3, 1)
    assert dropped == Dropped(by_size=1, marks=(lost.mark,))
    assert not spool.last_ids().has(lost.mark)
    assert spool.last_ids().has(marked(2, 1).mark)


def test_a_commit_that_fails_remembers_nothing() -> None:
    spool = spool_at(None)
    spool._db.execute("CREATE TRIGGER full BEFORE INSERT ON positions BEGIN SELECT RAISE(ABORT, 'disk'); END")
    with pytest.raises(SpoolError):
        spool.commit([marked(1, 1)], positions={"a": "1"})
    assert not spool.last_ids().has(marked(1, 1).mark)


def test_what_was_given_up_is_no_last_id() -> None:
    """The hub refused it, or it had waited too long: a variable that does not change must be sent when it comes again."""
    spool = spool_at(None)
    spool.commit([marked(1, 1), marked(2, 1)])
    dropped = spool.commit(acknowledged=[Rows(1, 1, is_given_up=True), Rows(2, 2)])
    assert dropped == Dropped(marks=(marked(1, 1).mark,))
    assert not spool.last_ids().has(marked(1, 1).mark)
    assert spool.last_ids().has(marked(2, 1).mark)
    assert spool.readings == 0


def test_a_damaged_log_of_last_ids_fails_the_whole_commit(tmp_path: Path) -> None:
    """So that its readings stay in memory, until the spool is salvaged."""
    spool = spool_at(tmp_path / "s.db")
    spool.commit([marked(1, 1)])
    before = spool.readings, spool.size
    spool._db.execute("DROP TABLE marks")
    with pytest.raises(DamagedSpoolError):
        spool.commit([marked(2, 1)])
    assert (spool.readings, spool.size) == before


def test_the_log_of_last_ids_stays_small(tmp_path: Path) -> None:
    """However many readings there are, it holds a few times what it must."""
    spool = spool_at(tmp_path / "s.db", max_bytes=10**9)
    for number in range(300):
        first = spool.next_row
        spool.commit([marked(variable, number) for variable in range(100)], acknowledged=[Rows(1, first - 1)])
    (size,) = spool._db.execute("SELECT SUM(LENGTH(marks)) FROM marks").fetchone()
    assert 100 * MARK_BYTES <= size <= 80_000
    assert all(spool.last_ids().has(marked(variable, 299).mark) for variable in range(100))


@given(st.lists(st.tuples(st.sampled_from(["note", "forget"]), st.integers(0, 3), st.integers(0, 2))))
def test_the_last_id_is_the_one_noted_last_and_not_forgotten(steps: list[tuple[str, int, int]]) -> None:
    last, model = LastIds(), dict[int, int]()
    for step, variable, number in steps:
        getattr(last, step)(marked(variable, number).mark)
        if step == "note":
            model[variable] = number
        elif model.get(variable) == number:
            del model[variable]
    for variable in range(4):
        assert [last.has(marked(variable, n).mark) for n in range(3)] == [model.get(variable) == n for n in range(3)]


def test_the_variables_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_ids, "MOST", 3)
    last = LastIds(marked(variable, 1).mark for variable in (1, 2, 3, 1, 4))
    assert [last.has(marked(variable, 1).mark) for variable in (1, 2, 3, 4)] == [True, False, True, True]


def log_bytes(path: Path) -> int:
    return path.with_name(f"{path.name}-wal").stat().st_size


def fill(spool: Spool, count: int) -> None:
    for first in range(0, count, 5000):
        spool.commit([Reading(b"{}", str(number).encode().zfill(200)) for number in range(first, first + 5000)])


def test_what_became_too_old_is_dropped_in_steps_and_the_log_stays_small(tmp_path: Path) -> None:
    """An outage longer than the age limit: 60,000 readings in one step made a log as large as the database."""
    gateway = GatewayClocks()
    spool = Spool(tmp_path / "s.db", limits(max_bytes=10**9), gateway.clocks)
    fill(spool, 60_000)
    gateway.elapse(101)
    steps = [spool.commit()]
    while steps[-1].is_more:
        steps.append(spool.commit())
    assert sum(dropped.by_age for dropped in steps) == 60_000
    assert max(dropped.by_age for dropped in steps) <= 5_000
    assert log_bytes(tmp_path / "s.db") <= 9 * 2**20 < (tmp_path / "s.db").stat().st_size


def test_a_limit_that_was_lowered_is_reached_in_steps_and_takes_new_readings_all_the_while(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.db", max_bytes=10**9)
    fill(spool, 60_000)
    spool.close()
    spool = spool_at(tmp_path / "s.db", max_bytes=1_000_000)
    dropped = [spool.commit(readings(-1))]
    while dropped[-1].is_more:
        dropped.append(spool.commit())
    assert len(dropped) > 2
    assert spool.size <= 1_000_000
    assert sum(step.by_size for step in dropped) + spool.readings == 60_001
    assert numbers(spool, after=60_000) == [-1]
    assert log_bytes(tmp_path / "s.db") <= 9 * 2**20


def test_readings_are_read_in_portions_of_bounded_size(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.db", max_bytes=10**9)
    spool.commit([Reading(b"{}", b"x" * 250_000)] * 40)
    assert len(spool.read(0, 500).readings) == 5


def test_a_spool_of_an_earlier_version_is_read_and_its_readings_count_from_the_update_on(tmp_path: Path) -> None:
    """Their times are those of a wall clock that nobody vouches for."""
    with sqlite3.connect(tmp_path / "s.db") as db:
        db.execute(
            "CREATE TABLE readings (row INTEGER PRIMARY KEY, at REAL NOT NULL, head BLOB NOT NULL, data BLOB NOT NULL)"
        )
        db.executemany("INSERT INTO readings VALUES (?, ?, ?, ?)", ((n, 1.0, b"{}", b"%d" % n) for n in range(1, 4)))
    db.close()
    gateway = GatewayClocks()
    spool = Spool(tmp_path / "s.db", limits(), gateway.clocks)
    assert spool.commit(readings(4)) == Dropped()
    assert numbers(spool) == [1, 2, 3, 4]
    assert spool.size == 3 * (3 + ROW_OVERHEAD_BYTES) + COST
    gateway.elapse(100)
    assert spool.commit() == Dropped(by_age=4)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3), st.booleans())), st.integers(0, 60))
def test_ranges_are_parted_and_joined_without_losing_a_row(steps: list[tuple[int, int, bool]], most: int) -> None:
    ranges, rows, end = list[Rows](), list[tuple[int, bool]](), 0
    for count, gap, is_given_up in steps:
        first = end + gap + 1
        end = first + count - 1
        appended(ranges, Rows(first, end, is_given_up))
        rows += [(row, is_given_up) for row in range(first, end + 1)]
    now, later = parted(ranges, most)
    listed = [
        [(row, part.is_given_up) for part in side for row in range(part.first, part.last + 1)] for side in (now, later)
    ]
    assert listed[0] + listed[1] == rows
    assert len(listed[0]) == min(most, len(rows))
