"""The log of counters (see identity/runs.py) in the spool's file, written with the readings that they count.

As with last ids, a table with a row for each source would write a page of the disk for almost every reading. It is rewritten
when it is several times as long as it must be.
"""

from __future__ import annotations

import sqlite3
import struct

from edge_sender.buffering.spool_values import WrongFormError
from edge_sender.identity.runs import Runs, decode

SCHEMA = "CREATE TABLE IF NOT EXISTS runs (number INTEGER PRIMARY KEY, records BLOB NOT NULL);"
LEAST_BYTES = 64 * 1024
GROWTH = 3


class RunLog:
    """Writes inside the spool's transactions; after a rollback, set `size` back to what it was. Raises sqlite3.Error."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.read()  # what can't be decoded is found now, while the file can be replaced
        length = db.execute("SELECT COALESCE(SUM(LENGTH(records)), 0) FROM runs").fetchone()[0]
        self.size: tuple[int, int] = length, max(LEAST_BYTES, length)
        """Its bytes, and above how many it is rewritten."""

    def read(self) -> Runs:
        rows = self._db.execute("SELECT records FROM runs ORDER BY number")
        try:
            return Runs(record for (records,) in rows for record in decode(records))
        except struct.error as error:
            raise WrongFormError(f"a record of a counter is cut off: {error}") from None

    def note(self, records: bytes) -> None:
        if not records:
            return
        self._db.execute("INSERT INTO runs (records) VALUES (?)", (records,))
        length, most = self.size
        self.size = length + len(records), most
        if self.size[0] > most:
            self._rewrite()

    def _rewrite(self) -> None:
        records = self.read().records()
        self._db.execute("DELETE FROM runs")
        self._db.execute("INSERT INTO runs (records) VALUES (?)", (records,))
        self.size = len(records), max(LEAST_BYTES, GROWTH * len(records))
