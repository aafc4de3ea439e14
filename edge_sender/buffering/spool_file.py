"""The spool's file: its tables, how it is opened, and what SQLite's errors mean."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edge_sender.buffering import mark_log, run_log
from edge_sender.buffering.ages import EARLIER_VERSION, Boot
from edge_sender.buffering.spool_values import (
    ROW_OVERHEAD_BYTES,
    DamagedSpoolError,
    SpoolError,
    SpoolFullError,
    SpoolUnusableError,
    WrongFormError,
)

LOG_BYTES = 8 * 1024 * 1024
"""To this the write-ahead log is cut when it was longer. What is left of it is also what a full disk still takes."""
LOG_PAGES = 256
"""With so many pages the log is moved into the file. On a full disk, the reserve must have room for them."""
NEARLY_EMPTY_BYTES = 256 * 1024
"""Up to this much is copied in order to give room back to the disk."""
MOST_PAGES = 1_073_741_823
"""SQLite's own limit in all its versions."""
SIZE = f"LENGTH(head) + LENGTH(data) + {ROW_OVERHEAD_BYTES}"

_READINGS = """
CREATE TABLE IF NOT EXISTS readings (
    row INTEGER PRIMARY KEY, at REAL NOT NULL, head BLOB NOT NULL, data BLOB NOT NULL,
    boot INTEGER NOT NULL DEFAULT 0, crc INTEGER
);
"""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS positions (source TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS totals (number INTEGER PRIMARY KEY, readings INTEGER NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS boots (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, base REAL NOT NULL, seen REAL NOT NULL, offset REAL NOT NULL,
    believed REAL, stepped REAL
);
"""


def opened(path: Path | None) -> sqlite3.Connection:
    """A connection with all tables, which locks the file. `path` None keeps everything in memory.

    Raises SpoolUnusableError if another process has the file or its folder is missing, and SpoolError. It reads no readings,
    however many there are: what is damaged is found when it is read.
    """
    if path is not None and not _has_folder(path):
        raise SpoolUnusableError(why_unusable(path, "its folder is not there"))
    with errors():
        db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False, timeout=0)
    try:
        with errors():
            _prepare(db)
    except SpoolError as error:
        db.close()
        if "locked" in str(error):
            raise SpoolUnusableError(why_unusable(path, error)) from None
        raise
    return db


def _has_folder(path: Path) -> bool:
    """Raises SpoolError if the disk does not say."""
    try:
        return path.parent.is_dir()
    except OSError as error:
        raise SpoolError(str(error)) from error


def _prepare(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
    db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("BEGIN IMMEDIATE")  # takes the lock now instead of at the first reading
    for statement in (_READINGS + _SCHEMA + mark_log.SCHEMA + run_log.SCHEMA).split(";"):
        db.execute(statement)
    if not any(name == "boot" for _, name, *_ in db.execute("PRAGMA table_info(readings)")):  # of an earlier version
        db.execute("ALTER TABLE readings ADD COLUMN boot INTEGER NOT NULL DEFAULT 0")
        db.execute("ALTER TABLE readings ADD COLUMN crc INTEGER")
        db.execute("INSERT OR REPLACE INTO boots VALUES (?, '', 0, 0, 0, NULL, NULL)", (EARLIER_VERSION,))
    db.execute("COMMIT")


def may_grow(db: sqlite3.Connection, *, is_allowed: bool) -> None:
    """Whether the file may take more of the disk than it has, or stores in free pages only. Then its log can always be moved
    into it, and what the log takes up be used again. Raises sqlite3.Error."""
    pages = MOST_PAGES if is_allowed else _number(db, "page_count")
    db.execute(f"PRAGMA max_page_count = {pages}").fetchall()


def move_log(db: sqlite3.Connection) -> None:
    """Into the file, so that it begins anew where it is. Raises sqlite3.Error."""
    db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()


def give_back(db: sqlite3.Connection, least_bytes: int) -> bool:
    """Make the file as short as what is in it, if it is longer by so much. Returns whether it was. Raises sqlite3.Error."""
    if _number(db, "freelist_count") * _number(db, "page_size") < least_bytes:
        return False
    db.execute("VACUUM")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return True


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Raises SpoolError and its kinds for errors of SQLite."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)  # errors of the module itself have none
        primary = sqlite3.SQLITE_OK if code is None else code & 0xFF
        if primary == sqlite3.SQLITE_FULL:
            raise SpoolFullError(str(error)) from error
        if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or _is_of_another_form(error):
            raise DamagedSpoolError(str(error)) from error
        raise SpoolError(str(error)) from error


def _is_of_another_form(error: sqlite3.Error) -> bool:
    """Damage that SQLite does not call so: a table or a column that is not there, or a record that is cut off."""
    return "no such" in str(error) or isinstance(error, WrongFormError)


def read_totals(db: sqlite3.Connection) -> tuple[int, int]:
    """(readings, bytes); counted where they are not known, which reads the whole file. Raises sqlite3.Error."""
    known = db.execute("SELECT readings, bytes FROM totals").fetchone()
    if known is None:
        known = db.execute(f"SELECT COUNT(*), COALESCE(SUM({SIZE}), 0) FROM readings").fetchone()  # noqa: S608  # ours
    return int(known[0]), int(known[1])


def write_totals(db: sqlite3.Connection, readings: int, size: int) -> None:
    """Raises sqlite3.Error."""
    db.execute("INSERT OR REPLACE INTO totals VALUES (1, ?, ?)", (readings, size))


def read_boots(db: sqlite3.Connection) -> list[Boot]:
    """Raises sqlite3.Error."""
    boots = [Boot(*values) for values in db.execute("SELECT * FROM boots ORDER BY number")]
    for boot in boots:
        numbers = (boot.base, boot.seen, boot.offset, boot.believed or 0.0, boot.stepped or 0.0)
        if not all(isinstance(number, float) for number in numbers):
            raise WrongFormError("a time of a boot is not a number")
    return boots


def write_boots(db: sqlite3.Connection, boots: list[Boot]) -> None:
    """Raises sqlite3.Error."""
    db.executemany(
        "INSERT OR REPLACE INTO boots VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((boot.number, boot.id, boot.base, boot.seen, boot.offset, boot.believed, boot.stepped) for boot in boots),
    )


def forget_boots(db: sqlite3.Connection, running: int) -> None:
    """Those before the oldest reading, except the last one by which an absence can be told. Raises sqlite3.Error."""
    db.execute(
        "DELETE FROM boots WHERE number < COALESCE((SELECT boot FROM readings ORDER BY row LIMIT 1), ?1) AND number < "
        "COALESCE((SELECT MAX(number) FROM boots WHERE number < ?1 AND believed IS NOT NULL), ?1)",
        (running,),
    )


def why_unusable(path: Path | None, error: object) -> str:
    """The setting, what is wrong, and what to do."""
    if "locked" in str(error):
        return f"EDGE_SPOOL_PATH: {path} is in use by another process; give each sender its own spool"
    return f"EDGE_SPOOL_PATH: {path} can't be opened ({error}); its folder must exist and be writable"
