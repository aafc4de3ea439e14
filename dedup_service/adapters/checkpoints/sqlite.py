"""Checkpoints in an SQLite file, for one machine; several processes may share it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from dedup_service.core.progress import Position
from dedup_service.errors import Dependency, DependencyKind, UnavailableError

DEPENDENCY = Dependency(DependencyKind.CHECKPOINTS)
BUSY_SECONDS = 5.0
UNKNOWN_TIME = 0
"""A checkpoint holds no enqueued time, as in the SDK's stores."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS checkpoint (
    namespace TEXT, hub TEXT, consumer_group TEXT, partition_id TEXT, sequence_number INTEGER, offset TEXT,
    PRIMARY KEY (namespace, hub, consumer_group, partition_id)
)
"""
_LOAD = "SELECT partition_id, sequence_number, offset FROM checkpoint WHERE namespace = ? AND hub = ? AND consumer_group = ?"
_SAVE = "INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?, ?, ?)"

T = TypeVar("T")


def _open(path: Path) -> sqlite3.Connection:
    """Raises OSError. Processes that start together wait for each other here, because SQLite does not wait for a change of
    the journal mode."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(_SCHEMA)
            return connection
        except sqlite3.Error as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise OSError(f"the SQLite file {path} can't be opened: {error}") from error
            time.sleep(0.05)


class SqliteCheckpoints:
    def __init__(self, path: Path, namespace: str, hub: str, consumer_group: str) -> None:
        """Raises OSError when the file can't be used."""
        self._scope = (namespace, hub, consumer_group)
        self._lock = threading.Lock()
        self._connection = _open(path)

    async def _run(self, operation: Callable[[], T]) -> T:
        """Runs in a thread, since a commit waits for the disk."""

        def locked() -> T:
            with self._lock:
                return operation()

        try:
            return await asyncio.to_thread(locked)
        except sqlite3.Error as error:
            raise UnavailableError(DEPENDENCY, str(error)) from error

    async def load(self) -> dict[str, Position]:
        rows = await self._run(lambda: self._connection.execute(_LOAD, self._scope).fetchall())
        return {partition: Position(number, offset, UNKNOWN_TIME) for partition, number, offset in rows}

    async def save(self, partition_id: str, position: Position) -> None:
        row = (*self._scope, partition_id, position.sequence_number, position.offset)
        await self._run(lambda: self._connection.execute(_SAVE, row))

    async def close(self) -> None:
        """After what is being written: SQLite would crash the process if the connection were closed beneath it."""
        await self._run(self._connection.close)
