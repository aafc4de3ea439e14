"""The log of marks (see last_ids.py) in the spool's file. It is rewritten when it is several times as long as it must be."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from edge_sender.buffering.last_ids import LastIds, split

SCHEMA = "CREATE TABLE IF NOT EXISTS marks (number INTEGER PRIMARY KEY, dropped INTEGER NOT NULL, marks BLOB NOT NULL);"
LEAST_BYTES = 64 * 1024
GROWTH = 3


class MarkLog:
    """Writes inside the spool's transactions; after a rollback, set `size` back to what it was. Raises sqlite3.Error."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        length = db.execute("SELECT COALESCE(SUM(LENGTH(marks)), 0) FROM marks").fetchone()[0]
        self.size: tuple[int, int] = length, max(LEAST_BYTES, length)
        """Its bytes, and above how many it is rewritten."""

    def read(self) -> LastIds:
        last = LastIds()
        for dropped, marks in self._db.execute("SELECT dropped, marks FROM marks ORDER BY number"):
            for mark in split(marks):
                (last.forget if dropped else last.note)(mark)
        return last

    def note(self, kept: Iterable[bytes], dropped: Iterable[bytes]) -> None:
        length, most = self.size
        for is_dropped, marks in ((False, b"".join(kept)), (True, b"".join(dropped))):
            if marks:
                self._db.execute("INSERT INTO marks (dropped, marks) VALUES (?, ?)", (is_dropped, marks))
                length += len(marks)
        self.size = length, most
        if length > most:
            self._rewrite()

    def _rewrite(self) -> None:
        marks = self.read().marks()
        self._db.execute("DELETE FROM marks")
        self._db.execute("INSERT INTO marks (dropped, marks) VALUES (0, ?)", (marks,))
        self.size = len(marks), max(LEAST_BYTES, GROWTH * len(marks))
