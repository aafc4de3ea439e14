"""The spool: readings on disk, oldest first, until the hub has acknowledged them.

SQLite with a write-ahead log that is synced at every commit. Once `commit` has returned, its readings survive SIGKILL and
loss of power. A commit that was interrupted never happened (https://sqlite.org/wal.html, https://sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge_sender.buffering import mark_log, run_log
from edge_sender.buffering.last_ids import LastIds
from edge_sender.identity.readings import Reading, mark_from
from edge_sender.identity.runs import Runs

logger = logging.getLogger(__name__)

WhenFull = Literal["drop-oldest", "drop-newest"]
ROW_OVERHEAD_BYTES = 64
"""What a reading takes up in the file in addition to its bytes."""
CLOCK_IS_SET = 1_600_000_000.0
"""Seconds since 1970. A gateway's clock may start in the past: a reading spooled before it was set has no age."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS readings (
    row INTEGER PRIMARY KEY, at REAL NOT NULL, head BLOB NOT NULL, data BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS positions (source TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID;
"""


class SpoolError(Exception):
    """The disk failed. Nothing was changed, and the call may be repeated."""


class SpoolUnusableError(Exception):
    """The spool can't be opened; the message says why and what to do."""


class DamagedSpoolError(Exception):
    """The content of the file is not a spool."""


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    max_bytes: int
    """Total size of the readings, each with `ROW_OVERHEAD_BYTES`."""
    max_age_seconds: float
    when_full: WhenFull

    def is_too_old(self, at: float, now: float) -> bool:
        """`at` and `now` in seconds since 1970. A reading spooled before the clock was set has no age."""
        return CLOCK_IS_SET <= at <= now - self.max_age_seconds


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows, from `first` to `last`."""

    first: int
    last: int
    is_given_up: bool = False
    """Whether the hub will never have them."""


@dataclass(frozen=True, slots=True)
class Place:
    """The row of a reading in the spool, and when it was spooled, in seconds since 1970."""

    row: int
    at: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """Numbers of readings that a commit dropped."""

    by_size: int = 0
    by_age: int = 0
    marks: tuple[bytes, ...] = ()
    """Of those among them that have one, and of those that were given up before."""


class Spool:
    """Used by one thread at a time and by one process, which locks the file.

    `now` is the wall clock in seconds since 1970, because ages must survive a restart.
    """

    def __init__(self, path: Path | None, limits: SpoolLimits, now: Callable[[], float]) -> None:
        """`path` None keeps everything in memory. Raises SpoolUnusableError, DamagedSpoolError."""
        self._limits = limits
        self._now = now
        try:
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False, timeout=0)
            self._prepare()
            self._marks, self._runs = mark_log.MarkLog(self._db), run_log.RunLog(self._db)
            last, self.readings, self.bytes = self._measure()
        except sqlite3.OperationalError as error:
            raise SpoolUnusableError(why_unusable(path, error)) from None
        except sqlite3.DatabaseError as error:
            raise DamagedSpoolError(str(error)) from None
        self._next_row = last + 1

    def _prepare(self) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA + mark_log.SCHEMA + run_log.SCHEMA)
        self._db.execute("BEGIN IMMEDIATE")  # takes the lock now instead of at the first reading
        self._db.execute("COMMIT")
        if (problem := self._db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(problem)

    def _measure(self) -> tuple[int, int, int]:
        """(last row, readings, bytes)"""
        last, readings, size = self._db.execute(
            "SELECT COALESCE(MAX(row), 0), COUNT(*), COALESCE(SUM(LENGTH(head) + LENGTH(data) + ?), 0) FROM readings",
            (ROW_OVERHEAD_BYTES,),
        ).fetchone()
        return int(last), int(readings), int(size)

    def commit(
        self,
        readings: Sequence[Reading] = (),
        *,
        positions: Mapping[str, str] | None = None,
        acknowledged: Iterable[Rows] = (),
        taken: int = 0,
        runs: bytes = b"",
    ) -> Dropped:
        """All or nothing: remove what the hub acknowledged or will never have, make room, store readings and marks,
        positions, and records of counters (`runs`).

        Rows up to `taken` are on their way to the hub and are not dropped. Raises SpoolError.
        """
        before = self.readings, self.bytes, self._next_row, self._marks.size, self._runs.size
        given_up: list[bytes] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for rows in acknowledged:
                if rows.is_given_up:
                    given_up += self._drop("row BETWEEN ? AND ?", rows.first, rows.last)
                else:
                    self._delete("row BETWEEN ? AND ?", rows.first, rows.last)
            by_age = self._drop_old(taken)
            kept, by_size = self._make_room(readings, taken)
            self._insert(kept)
            dropped = Dropped(len(by_size), len(by_age), tuple(filter(None, given_up + by_age + by_size)))
            self._marks.note((reading.mark for reading in kept), dropped.marks)
            self._runs.note(runs)
            self._db.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", (positions or {}).items())
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            self.readings, self.bytes, self._next_row, self._marks.size, self._runs.size = before
            raise SpoolError(str(error)) from error
        return dropped

    def _roll_back(self) -> None:
        """SQLite has done so by itself after some errors, and a disk that fails may refuse it: then it is done when the file
        is opened again."""
        with contextlib.suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _delete(self, condition: str, *values: float) -> None:
        self._forget("0", condition, *values)

    def _drop(self, condition: str, *values: float) -> list[bytes]:
        """Delete readings that the hub did not get; return their marks."""
        return [mark_from(head) for head in self._forget("head", condition, *values)]

    def _forget(self, column: str, condition: str, *values: float) -> list[Any]:
        """Delete rows; return this column of each."""
        rows = self._db.execute(
            f"DELETE FROM readings WHERE {condition} RETURNING LENGTH(head) + LENGTH(data) + {ROW_OVERHEAD_BYTES}, {column}",  # noqa: S608  # all parts are ours
            values,
        ).fetchall()
        self.readings -= len(rows)
        self.bytes -= sum(size for size, _ in rows)
        return [value for _, value in rows]

    def _drop_old(self, taken: int) -> list[bytes]:
        """Rows are in time order unless the clock was set; a row out of order waits until those before it are gone."""
        oldest = self._now() - self._limits.max_age_seconds
        young = self._db.execute(
            "SELECT row FROM readings WHERE row > ? AND NOT (at BETWEEN ? AND ?) ORDER BY row LIMIT 1",
            (taken, CLOCK_IS_SET, oldest),
        ).fetchone()
        before = young[0] if young else self._next_row
        return self._drop("row > ? AND row < ?", taken, before)

    def _make_room(self, readings: Sequence[Reading], taken: int) -> tuple[Sequence[Reading], list[bytes]]:
        """The readings that will fit, and the marks of those that were dropped for them."""
        excess = self.bytes + sum(map(_cost, readings)) - self._limits.max_bytes
        if excess <= 0:
            return readings, []
        dropped: list[bytes] = []
        if self._limits.when_full == "drop-oldest":
            dropped = self._drop_oldest(excess, taken)
        space, fitting = self._limits.max_bytes - self.bytes, 0
        wanted = readings if self._limits.when_full == "drop-newest" else readings[::-1]
        for reading in wanted:
            if (space := space - _cost(reading)) < 0:
                break
            fitting += 1
        kept, refused = wanted[:fitting], wanted[fitting:]
        if self._limits.when_full == "drop-oldest":
            kept = kept[::-1]
        return kept, dropped + [reading.mark for reading in refused]

    def _drop_oldest(self, excess: int, taken: int) -> list[bytes]:
        last = taken
        sizes = self._db.execute(
            "SELECT row, LENGTH(head) + LENGTH(data) + ? FROM readings WHERE row > ? ORDER BY row",
            (ROW_OVERHEAD_BYTES, taken),
        )
        for row, size in sizes:
            last, excess = row, excess - size
            if excess <= 0:
                break
        sizes.close()
        return self._drop("row > ? AND row <= ?", taken, last)

    def _insert(self, readings: Sequence[Reading]) -> None:
        at = self._now()
        first = self._next_row
        self._db.executemany(
            "INSERT INTO readings VALUES (?, ?, ?, ?)",
            ((row, at, reading.head, reading.data) for row, reading in enumerate(readings, first)),
        )
        self._next_row += len(readings)
        self.readings += len(readings)
        self.bytes += sum(map(_cost, readings))

    def read(self, after: int, limit: int) -> list[tuple[Place, Reading]]:
        """The oldest rows after `after`. Raises SpoolError."""
        try:
            rows = self._db.execute(
                "SELECT row, at, head, data FROM readings WHERE row > ? ORDER BY row LIMIT ?", (after, limit)
            ).fetchall()
        except sqlite3.Error as error:
            raise SpoolError(str(error)) from error
        return [(Place(row, at), Reading(head, data)) for row, at, head, data in rows]

    def oldest_at(self) -> float | None:
        """When the oldest reading was spooled, in seconds since 1970; None if there is none. Raises SpoolError."""
        try:
            row = self._db.execute("SELECT at FROM readings ORDER BY row LIMIT 1").fetchone()
        except sqlite3.Error as error:
            raise SpoolError(str(error)) from error
        return float(row[0]) if row else None

    def positions(self) -> dict[str, str]:
        """How far each source had got when its last reading was committed."""
        return dict(self._db.execute("SELECT source, position FROM positions").fetchall())

    def last_ids(self) -> LastIds:
        """The last id of each variable whose readings have marks, as of the last commit."""
        return self._marks.read()

    def runs(self) -> Runs:
        """The counters of all sources, as of the last commit."""
        return self._runs.read()

    def close(self) -> None:
        self._db.close()


def open_spool(path: Path | None, limits: SpoolLimits, now: Callable[[], float]) -> Spool:
    """Open the spool. A damaged one is moved aside, so that an unattended gateway goes on. Raises SpoolUnusableError."""
    try:
        return Spool(path, limits, now)
    except DamagedSpoolError as error:
        assert path is not None
        aside = path.with_name(f"{path.name}.damaged")
        logger.error("the spool %s is damaged (%s); it is kept as %s and replaced by an empty one", path, error, aside)  # noqa: TRY400  # the message says it all
        path.replace(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return Spool(path, limits, now)


def _cost(reading: Reading) -> int:
    return len(reading.head) + len(reading.data) + ROW_OVERHEAD_BYTES


def why_unusable(path: Path | None, error: object) -> str:
    """The setting, what is wrong, and what to do."""
    if "locked" in str(error):
        return f"EDGE_SPOOL_PATH: {path} is in use by another process; give each sender its own spool"
    return f"EDGE_SPOOL_PATH: {path} can't be opened ({error}); its folder must exist and be writable"
