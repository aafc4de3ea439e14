"""What leaves the spool, in steps of bounded size: rows that are done with, that are too old, and that others need room for.

Works inside the spool's transactions, and raises sqlite3.Error.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_sender.buffering.ages import EARLIER_VERSION
from edge_sender.buffering.spool_file import SIZE
from edge_sender.buffering.spool_values import ROW_OVERHEAD_BYTES, Place, Rows, SpoolLimits
from edge_sender.identity.readings import Reading, mark_from

DELETED_AT_ONCE = 500
STEP_ROWS = 5_000
"""Most rows that one transaction drops for their age."""
STEP_BYTES = 4 * 1024 * 1024
"""By how much one transaction brings a spool that is larger than its limit nearer to that."""

NO_BOOT = -1


def cost(reading: Reading) -> int:
    return len(reading.head) + len(reading.data) + ROW_OVERHEAD_BYTES


@dataclass(slots=True)
class Room:
    """Keeps count of what is in the table `readings`."""

    db: sqlite3.Connection
    limits: SpoolLimits
    readings: int
    size: int
    """Their bytes, each with `ROW_OVERHEAD_BYTES`."""

    def add(self, readings: Sequence[Reading]) -> None:
        """They were written."""
        self.readings += len(readings)
        self.size += sum(map(cost, readings))

    def delete(self, first: int, last: int) -> int:
        """Returns how many rows there were."""
        return self._forget(first, last, None)

    def drop(self, first: int, last: int) -> tuple[int, list[bytes]]:
        """Delete readings that the hub did not get; return how many, and their marks."""
        marks: list[bytes] = []
        return self._forget(first, last, marks), marks

    def drop_old(self, after: int, is_too_old: Callable[[Place], bool]) -> tuple[int, list[bytes], bool]:
        """Drop the oldest rows after `after`, at most `STEP_ROWS`. Returns how many, their marks, and whether there may be
        more. Rows are in order of time; one that is out of order waits until those before it are gone."""
        last, count = after, 0
        found = self.db.execute("SELECT row, boot, at FROM readings WHERE row > ? ORDER BY row LIMIT ?", (after, STEP_ROWS))
        for row, boot, at in found:
            if not is_too_old(place_of(row, boot, at)):
                break
            last, count = row, count + 1
        found.close()
        if not count:
            return 0, [], False
        dropped, marks = self.drop(after + 1, last)
        return dropped, marks, count == STEP_ROWS

    def make(self, readings: Sequence[Reading], after: int) -> tuple[Sequence[Reading], int, list[bytes]]:
        """Make room by the policy. Returns the readings that will fit, how many others were dropped, and their marks."""
        most = max(self.limits.max_bytes, self.size - STEP_BYTES)
        excess = self.size + sum(map(cost, readings)) - most
        if excess <= 0:
            return readings, 0, []
        dropped, marks = 0, list[bytes]()
        if self.limits.when_full == "drop-oldest":
            dropped, marks = self._drop_oldest(excess, after)
        space, fitting = most - self.size, 0
        wanted = readings if self.limits.when_full == "drop-newest" else readings[::-1]
        for reading in wanted:
            if (space := space - cost(reading)) < 0:
                break
            fitting += 1
        kept, refused = wanted[:fitting], wanted[fitting:]
        if self.limits.when_full == "drop-oldest":
            kept = kept[::-1]
        return kept, dropped + len(refused), marks + [reading.mark for reading in refused]

    @property
    def is_above_limit(self) -> bool:
        """Whether the limit was lowered, and the policy has more to drop."""
        return self.size > self.limits.max_bytes and self.limits.when_full == "drop-oldest"

    def _drop_oldest(self, excess: int, after: int) -> tuple[int, list[bytes]]:
        last = after
        sizes = self.db.execute(f"SELECT row, {SIZE} FROM readings WHERE row > ? ORDER BY row", (after,))  # noqa: S608  # ours
        for row, size in sizes:
            last, excess = row, excess - size
            if excess <= 0:
                break
        sizes.close()
        return (0, []) if last == after else self.drop(after + 1, last)

    def step(self, rows: Rows, most_bytes: int) -> Rows | None:
        """The first of these rows, at most so many bytes or one; None if there are none."""
        last = None
        found = self.db.execute(
            f"SELECT row, {SIZE} FROM readings WHERE row BETWEEN ? AND ? ORDER BY row",  # noqa: S608  # ours
            (rows.first, rows.last),
        )
        for row, size in found:
            most_bytes -= size
            if last is not None and most_bytes < 0:
                break
            last = row
        found.close()
        return None if last is None else Rows(rows.first, last)

    def _forget(self, first: int, last: int, marks: list[bytes] | None) -> int:
        """SQLite holds in memory what a statement returns, so each deletes a few hundred rows."""
        count = 0
        column = "0" if marks is None else "head"
        while (end := self._end(first, last)) is not None:
            rows = self.db.execute(
                f"DELETE FROM readings WHERE row BETWEEN ? AND ? RETURNING {SIZE}, {column}",  # noqa: S608  # ours
                (first, end),
            ).fetchall()
            count += len(rows)
            self.size = max(0, self.size - sum(size for size, _ in rows))
            if marks is not None:
                marks += filter(None, (mark_from(head) for _, head in rows))
            first = end + 1
        self.readings = max(0, self.readings - count)
        return count

    def _end(self, first: int, last: int) -> int | None:
        found = self.db.execute(
            "SELECT MAX(row) FROM (SELECT row FROM readings WHERE row BETWEEN ? AND ? ORDER BY row LIMIT ?)",
            (first, last, DELETED_AT_ONCE),
        ).fetchone()[0]
        return None if found is None else int(found)


def place_of(row: int, boot: object, at: object) -> Place:
    """What an earlier version wrote as `at` was the wall clock, and says nothing; what is damaged can't be dated."""
    if not (isinstance(boot, int) and isinstance(at, float)):
        return Place(row, NO_BOOT, 0.0)
    return Place(row, boot, 0.0 if boot == EARLIER_VERSION else at)
