"""A damaged spool loses what is damaged, and nothing else; and it is counted."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edge_sender.buffering.disk import Batch, Disk
from edge_sender.buffering.salvage import SpoolFile
from edge_sender.buffering.spool import Spool
from edge_sender.buffering.spool_values import Rows, SpoolError, SpoolLimits
from edge_sender.identity.readings import Reading
from edge_sender.identity.runs import Runs
from tests.support.clocks import GatewayClocks
from wire.ids import Count

COUNT = 5_000
LIMITS = SpoolLimits(10**9, 3600.0, "drop-oldest")
PAGE_BYTES = 4096
LEAF = 13


def file_at(path: Path) -> SpoolFile:
    return SpoolFile(path, LIMITS, GatewayClocks().clocks)


def reading(number: int) -> Reading:
    return Reading(b"{}", str(number).zfill(100).encode())


def filled(path: Path, count: int = COUNT) -> SpoolFile:
    file = file_at(path)
    spool = file.open()
    runs = Runs()
    runs.observe("urn:a", Count("", 7), None, opens_epochs=False)
    spool.commit([reading(number) for number in range(1, count + 1)], positions={"file": "9"}, runs=runs.records())
    spool.close()
    return file


def numbers(disk: Disk, after: int = 0) -> list[int]:
    found = disk.read(after, 10**6)
    return [int(kept.data) for _, kept in found.readings] + (numbers(disk, found.last) if found.last else [])


def leaves(path: Path) -> list[int]:
    """The pages that hold readings: leaves of a table (https://sqlite.org/fileformat.html), behind the small tables."""
    content = path.read_bytes()
    return [page for page in range(20, len(content) // PAGE_BYTES) if content[page * PAGE_BYTES] == LEAF]


def spoil(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)


def test_a_damaged_page_costs_its_readings_which_are_counted(tmp_path: Path) -> None:
    file = filled(tmp_path / "s.db")
    for page in leaves(tmp_path / "s.db")[30:80:25]:
        spoil(tmp_path / "s.db", page)
    disk = Disk(file)
    disk.open()
    assert disk.kept
    assert disk.lost == 0, "opening reads no readings, or the health port would have to wait"
    left = numbers(disk)
    assert left == sorted(set(left))
    assert 0 < disk.lost == COUNT - len(left) < 200
    assert disk.kept.positions == {"file": "9"}
    assert disk.spool
    assert disk.spool.readings == len(left)
    assert (tmp_path / "s.db.damaged").exists()
    disk.close()
    assert numbers(Disk(file)) == left


@pytest.mark.parametrize("place", ["first", "last"])
def test_a_damaged_end_is_found_too(tmp_path: Path, place: str) -> None:
    file = filled(tmp_path / "s.db")
    spoil(tmp_path / "s.db", leaves(tmp_path / "s.db")[0 if place == "first" else -1])
    disk = Disk(file)
    left = numbers(disk)
    assert COUNT - 100 < len(left) < COUNT
    assert disk.lost == COUNT - len(left)
    disk.close()


def test_what_is_no_database_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(b"this is not a database, whatever it was" * 200)
    disk = Disk(file_at(path))
    disk.commit(Batch([reading(1)], {}, [], 0, b""))
    assert numbers(disk) == [1]
    assert (tmp_path / "s.db.damaged").read_bytes().startswith(b"this is not")
    disk.close()


def test_a_damaged_row_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    file = filled(tmp_path / "s.db", 10)
    with sqlite3.connect(tmp_path / "s.db") as db:
        db.execute("UPDATE readings SET data = replace(data, '0', '1') WHERE row = 3")
        db.execute("UPDATE readings SET data = CAST(data AS TEXT) WHERE row = 4")
        db.execute("UPDATE readings SET at = at + 1 WHERE row = 5")
        db.execute("UPDATE readings SET at = 'soon' WHERE row = 10")
    db.close()
    disk = Disk(file)
    found = disk.read(0, 100)
    assert [int(kept.data) for _, kept in found.readings] == [1, 2, 6, 7, 8, 9]
    assert (found.damaged, found.last) == ([3, 4, 5, 10], 10)
    disk.commit(Batch([], {}, [Rows(1, 10, is_given_up=True)], 10, b""))
    assert disk.spool
    assert (disk.spool.readings, disk.spool.size) == (0, 0)
    disk.close()


def test_damage_that_shows_while_readings_are_on_their_way_gives_no_new_one_their_numbers(tmp_path: Path) -> None:
    """Or their acknowledgement would remove it."""
    disk = Disk(filled(tmp_path / "s.db"))
    disk.open()
    assert disk.spool
    disk.spool._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    taken = disk.read(COUNT - 10, 100).last
    assert taken == COUNT
    disk.spool._db.execute("PRAGMA shrink_memory")
    spoil(tmp_path / "s.db", leaves(tmp_path / "s.db")[-1])
    disk.commit(Batch([reading(0)], {}, [], taken, b""))
    assert disk.lost
    assert numbers(disk, after=taken) == [0]
    disk.commit(Batch([], {}, [Rows(COUNT - 10, COUNT)], taken, b""))
    assert numbers(disk, after=taken) == [0]
    disk.close()


@pytest.mark.parametrize("table", ["positions", "marks", "runs", "boots", "totals", "readings"])
def test_a_table_that_is_damaged_costs_what_was_in_it(tmp_path: Path, table: str) -> None:
    path = tmp_path / "s.db"
    file = filled(path, 10)
    with sqlite3.connect(path) as db:
        (root,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    db.close()
    spoil(path, root - 1)
    disk = Disk(file)
    disk.commit(Batch([reading(11)], {}, [], 0, b""))
    assert numbers(disk) == ([11] if table == "readings" else [*range(1, 12)])
    assert disk.lost == (10 if table == "readings" else 0)
    assert disk.kept
    assert (len(disk.kept.positions), len(disk.kept.runs.records()) > 0) == (table != "positions", table != "runs")
    disk.close()


def test_where_there_is_no_room_for_what_is_left_everything_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.db"
    file = filled(path)
    spoil(path, leaves(path)[20])
    before = path.read_bytes()
    disk = Disk(file)
    disk.open()
    with monkeypatch.context() as patched:
        patched.setattr(Spool, "__init__", fails)
        with pytest.raises(SpoolError, match="no space"):
            numbers(disk)
    assert path.read_bytes() == before
    with pytest.raises(SpoolError):  # not at once again: it copies everything
        numbers(disk)
    disk._salvage_at = 0.0
    assert len(numbers(disk)) > COUNT - 100
    disk.close()


def fails(*_: object) -> None:
    raise SpoolError("no space")
