"""A damaged spool: what can be read of it moves into a new file, and an unattended gateway goes on."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edge_sender.buffering import spool_file
from edge_sender.buffering.mark_log import MarkLog
from edge_sender.buffering.run_log import RunLog
from edge_sender.buffering.spool import COLUMNS, Spool, is_whole
from edge_sender.buffering.spool_values import ROW_OVERHEAD_BYTES, SpoolError, SpoolLimits
from edge_sender.ports import Clocks

logger = logging.getLogger(__name__)

COPIED_AT_ONCE = 200
LAST_ROW = 2**62
HEAD, DATA = 3, 4
"""Their places in `COLUMNS`."""
SMALL_TABLES = ("boots", "positions", "marks", "runs")
CHECKS: dict[str, Callable[[sqlite3.Connection], object]] = {
    "boots": spool_file.read_boots,
    "marks": lambda db: MarkLog(db).read(),
    "runs": lambda db: RunLog(db).read(),
}
"""Fail for what SQLite can read, and we can't."""
OF_EARLIER_VERSION = "row, 0, at, head, data, NULL"

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """Where the spool is, and how it is opened. `path` None keeps everything in memory."""

    path: Path | None
    limits: SpoolLimits
    clocks: Clocks

    def open(self) -> Spool:
        """Raises SpoolUnusableError and SpoolError."""
        return Spool(self.path, self.limits, self.clocks)

    def salvage(self, why: SpoolError) -> tuple[Spool, int]:
        """Move the file aside, and copy what is readable, with its row numbers, into a new one. It must not be open.

        Returns the new spool, and how many readings were lost, as far as that is known. Raises SpoolError; then everything
        is as before.
        """
        if self.path is None:
            raise why
        aside = self.path.with_name(f"{self.path.name}.damaged")
        _move(self.path, aside)
        try:
            with contextlib.closing(sqlite3.connect(aside, isolation_level=None, timeout=0)) as old:
                copied = _copy(old, self.path)
                lost = max(0, _readings_in(old) - copied)
            spool = self.open()
        except (SpoolError, sqlite3.Error) as error:
            _move(aside, self.path)
            raise SpoolError(f"{why}, and what is left of it can't be copied: {error}") from error
        logger.error(
            "the spool %s is damaged (%s): %d readings are kept, %d are lost; the damaged file is now %s",
            self.path,
            why,
            copied,
            lost,
            aside,
        )
        return spool, lost


def _move(source: Path, to: Path) -> None:
    """With its log, in which readings may be. Raises SpoolError."""
    try:
        for suffix in ("-shm", "-wal", ""):
            to.with_name(to.name + suffix).unlink(missing_ok=True)
            if (part := source.with_name(source.name + suffix)).exists():
                part.replace(to.with_name(to.name + suffix))
    except OSError as error:
        raise SpoolError(str(error)) from error


def _copy(old: sqlite3.Connection, path: Path) -> int:
    """Returns how many readings were copied, up to a full disk. Raises SpoolError."""
    count, size, new = 0, 0, spool_file.opened(path)
    with contextlib.closing(new):
        for table in SMALL_TABLES:
            with spool_file.errors():
                _copy_table(old, new, table)
        for rows in _readable(old):
            whole = [row for row in rows if is_whole(*row[1:])]
            try:
                with spool_file.errors():
                    new.execute("BEGIN IMMEDIATE")
                    new.executemany(f"INSERT INTO readings ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", whole)  # noqa: S608  # ours
                    count += len(whole)
                    size += sum(len(row[HEAD]) + len(row[DATA]) + ROW_OVERHEAD_BYTES for row in whole)
                    spool_file.write_totals(new, count, size)
                    new.execute("COMMIT")
            except SpoolError as error:
                logger.error("not all of the damaged spool could be copied: %s", error)  # noqa: TRY400  # the message says it all
                with contextlib.suppress(sqlite3.Error):
                    new.execute("ROLLBACK")
                return count - len(whole)
    return count


def _copy_table(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> None:
    """As a whole or not at all. Raises sqlite3.Error of the new file."""
    try:
        rows = old.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608  # ours
        if table in CHECKS:
            CHECKS[table](old)
    except (sqlite3.Error, TypeError, ValueError) as error:
        logger.warning("of the damaged spool, its %s can't be read and begin anew: %s", table, error)
        return
    if rows:
        places = ", ".join("?" * len(rows[0]))
        new.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({places})", rows)  # noqa: S608  # ours


def _readable(old: sqlite3.Connection) -> Iterator[list[Row]]:
    """All rows that can be read, in order. What can't be read is passed over by searching for the next that can."""
    after, read = 0, partial(_read, old, _columns(old))
    while after < LAST_ROW:
        rows = read(after, COPIED_AT_ONCE)
        if rows is None:
            rows = read(after, 1)
        if rows is None:
            after = _next_readable(lambda row: read(row, 1) is not None, after)
            continue
        if not rows:
            return
        yield rows
        after = rows[-1][0]


def _columns(old: sqlite3.Connection) -> str:
    try:
        names = [name for _, name, *_ in old.execute("PRAGMA table_info(readings)")]
    except sqlite3.Error:
        return COLUMNS
    return COLUMNS if "boot" in names else OF_EARLIER_VERSION


def _read(old: sqlite3.Connection, columns: str, after: int, limit: int) -> list[Row] | None:
    """Rows after `after`; None where a page of them is damaged."""
    try:
        return old.execute(
            f"SELECT {columns} FROM readings WHERE row > ? ORDER BY row LIMIT ?",  # noqa: S608  # ours
            (after, limit),
        ).fetchall()
    except sqlite3.Error:
        return None


def _next_readable(can_read_after: Callable[[int], bool], after: int) -> int:
    """The smallest number, about, after which something can be read again; `LAST_ROW` if nothing can."""
    bad, step = after, 1
    while not can_read_after(after + step):
        bad, step = after + step, step * 2
        if after + step >= LAST_ROW:
            return LAST_ROW
    good = after + step
    while good - bad > 1:
        middle = (bad + good) // 2
        if can_read_after(middle):
            good = middle
        else:
            bad = middle
    return good


def _readings_in(old: sqlite3.Connection) -> int:
    """How many the file says that it held; 0 if it doesn't."""
    try:
        known = old.execute("SELECT readings FROM totals").fetchone()
    except sqlite3.Error:
        return 0
    return known[0] if known and isinstance(known[0], int) else 0
