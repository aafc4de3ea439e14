"""The spool: readings on disk, oldest first, until the hub has acknowledged them.

SQLite with a write-ahead log that is synced at every commit. Once `commit` has returned, its readings survive SIGKILL and
loss of power. A commit that was interrupted never happened (https://sqlite.org/wal.html, https://sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_sender.buffering import mark_log, run_log, spool_file
from edge_sender.buffering.ages import Ages
from edge_sender.buffering.last_ids import LastIds
from edge_sender.buffering.room import Room, place_of
from edge_sender.buffering.spool_values import Dropped, Place, Rows, SpoolLimits
from edge_sender.identity.readings import Reading
from edge_sender.identity.runs import Runs
from edge_sender.ports import Clocks

READ_BYTES = 1024 * 1024
"""Above this much no more readings are read at once."""
STEP_BYTES = 256 * 1024
"""What `remove` removes in one transaction, which logs as much."""
COLUMNS = "row, boot, at, head, data, crc"


@dataclass(frozen=True, slots=True)
class ReadRows:
    """What `read` found."""

    readings: list[tuple[Place, Reading]]
    damaged: list[int]
    """Rows that are not what was written."""

    @property
    def last(self) -> int:
        """The last row of both."""
        return max([*self.damaged, *(place.row for place, _ in self.readings[-1:])], default=0)


class Spool:
    """Used by one thread at a time and by one process, which locks the file."""

    def __init__(self, path: Path | None, limits: SpoolLimits, clocks: Clocks) -> None:
        """`path` None keeps everything in memory. Raises SpoolUnusableError and SpoolError."""
        self._limits = limits
        self.path = path
        self._db = spool_file.opened(path)
        try:
            with spool_file.errors():
                self.ages = Ages(spool_file.read_boots(self._db), clocks)
                self._marks, self._runs = mark_log.MarkLog(self._db), run_log.RunLog(self._db)
                self._room = Room(self._db, limits, *spool_file.read_totals(self._db))
                self.next_row = int(self._db.execute("SELECT COALESCE(MAX(row), 0) FROM readings").fetchone()[0]) + 1
                self.oldest = self._oldest()
        except BaseException:
            self._db.close()
            raise

    def begin_behind(self, other: Spool) -> None:
        """Give no row the number of one that `other`, of which this is what is left, has given: it may be on its way."""
        self.next_row = max(self.next_row, other.next_row)

    @property
    def readings(self) -> int:
        return self._room.readings

    @property
    def size(self) -> int:
        return self._room.size

    def is_too_old(self, place: Place) -> bool:
        """What can't be dated is not."""
        age = self.ages.age(place)
        return age is not None and age >= self._limits.max_age_seconds

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
        self.ages.note()
        boots = self.ages.unwritten()
        with self._transaction():
            given_up: list[bytes] = []
            for rows in acknowledged:
                if rows.is_given_up:
                    given_up += self._room.drop(rows.first, rows.last)[1]
                else:
                    self._room.delete(rows.first, rows.last)
            by_age, old, is_more = self._room.drop_old(taken, self.is_too_old)
            kept, by_size, refused = self._room.make(readings, taken)
            self._insert(kept)
            marks = tuple(filter(None, given_up + old + refused))
            dropped = Dropped(by_size, by_age, marks, is_more or self._room.is_above_limit)
            self._marks.note((reading.mark for reading in kept), dropped.marks)
            self._runs.note(runs)
            self._db.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", (positions or {}).items())
            if boots:
                spool_file.write_boots(self._db, boots)
                spool_file.forget_boots(self._db, self.ages.boot.number)
            spool_file.write_totals(self._db, self.readings, self.size)
            oldest = self._oldest()
        self.ages.written(boots)
        self.oldest = oldest
        return dropped

    def may_grow(self, *, is_allowed: bool) -> None:
        """Whether the file may take more of the disk than now. Raises SpoolError."""
        with spool_file.errors():
            spool_file.may_grow(self._db, is_allowed=is_allowed)

    def remove(self, rows: Rows) -> None:
        """Remove what the hub has, in small steps, and move the log away before each: a full disk may have room for these
        where it has none for a commit. Raises SpoolError; then some may be removed."""
        while self._remove_step(rows):
            continue

    def _remove_step(self, rows: Rows) -> bool:
        with spool_file.errors():
            spool_file.move_log(self._db)
        with self._transaction():
            step = self._room.step(rows, STEP_BYTES)
            if step is not None:
                self._room.delete(step.first, step.last)
                spool_file.write_totals(self._db, self.readings, self.size)
            oldest = self._oldest()
        self.oldest = oldest
        return step is not None

    def give_back(self, least_bytes: int) -> bool:
        """Give the disk what a former backlog took of it, if it is so much and little is waiting. Returns whether it was
        given anything. Raises SpoolError."""
        with spool_file.errors():
            return self.size <= spool_file.NEARLY_EMPTY_BYTES and spool_file.give_back(self._db, least_bytes)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, here as in the file. Raises SpoolError."""
        before = self.readings, self.size, self.next_row, self._marks.size, self._runs.size
        try:
            with spool_file.errors():
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
        except BaseException:
            self._roll_back()
            self._room.readings, self._room.size, self.next_row, self._marks.size, self._runs.size = before
            raise

    def _roll_back(self) -> None:
        """SQLite has done so by itself after some errors, and a disk that fails may refuse it: then it is done when the file
        is opened again."""
        with contextlib.suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def _insert(self, readings: Sequence[Reading]) -> None:
        place = self.ages.place(0)
        first = self.next_row
        self._db.executemany(
            "INSERT INTO readings (row, at, head, data, boot, crc) VALUES (?, ?, ?, ?, ?, ?)",
            (
                (row, place.at, reading.head, reading.data, place.boot, check_value(place.boot, place.at, reading))
                for row, reading in enumerate(readings, first)
            ),
        )
        self.next_row += len(readings)
        self._room.add(readings)

    def read(self, after: int, limit: int) -> ReadRows:
        """The oldest rows after `after`, at most `limit`. Raises SpoolError."""
        found, size = ReadRows([], []), 0
        with spool_file.errors(), contextlib.closing(self._db.cursor()) as cursor:
            cursor.execute(f"SELECT {COLUMNS} FROM readings WHERE row > ? ORDER BY row LIMIT ?", (after, limit))  # noqa: S608  # ours
            for row, boot, at, head, data, crc in cursor:
                if not is_whole(boot, at, head, data, crc):
                    found.damaged.append(row)
                    continue
                reading = Reading(head, data)
                found.readings.append((place_of(row, boot, at), reading))
                if (size := size + reading.size) > READ_BYTES:
                    break
        return found

    def _oldest(self) -> Place | None:
        row = self._db.execute("SELECT row, boot, at FROM readings ORDER BY row LIMIT 1").fetchone()
        return None if row is None else place_of(*row)

    def oldest_seconds(self) -> float | None:
        """How long the oldest reading has waited, as of the last commit; None if there is none, or it can't be dated."""
        return None if self.oldest is None else self.ages.age(self.oldest)

    def positions(self) -> dict[str, str]:
        """How far each source had got when its last reading was committed. Raises SpoolError."""
        with spool_file.errors():
            return dict(self._db.execute("SELECT source, position FROM positions").fetchall())

    def last_ids(self) -> LastIds:
        """The last id of each variable whose readings have marks, as of the last commit. Raises SpoolError."""
        with spool_file.errors():
            return self._marks.read()

    def runs(self) -> Runs:
        """The counters of all sources, as of the last commit. Raises SpoolError."""
        with spool_file.errors():
            return self._runs.read()

    def close(self) -> None:
        """Raises SpoolError."""
        with spool_file.errors():
            self._db.close()


def check_value(boot: int, at: float, reading: Reading) -> int:
    return zlib.crc32(reading.data, zlib.crc32(reading.head, zlib.crc32(struct.pack("<qd", boot, at))))


def is_whole(boot: object, at: object, head: object, data: object, crc: object) -> bool:
    """Whether a row is what was written. Rows of an earlier version have no check value."""
    if not (isinstance(boot, int) and isinstance(at, float) and isinstance(head, bytes) and isinstance(data, bytes)):
        return False
    return crc is None or crc == check_value(boot, at, Reading(head, data))
