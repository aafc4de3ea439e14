"""A checkpoint store in an SQLite file, for one machine: the SDK's CheckpointStore interface without Azure.

Several processes may share the file: ownership is taken only where the etag is still the stored one.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from azure.eventhub.aio import CheckpointStore

_SCHEMA = """
CREATE TABLE IF NOT EXISTS checkpoint (
    fully_qualified_namespace TEXT, eventhub_name TEXT, consumer_group TEXT, partition_id TEXT,
    sequence_number INTEGER, offset TEXT,
    PRIMARY KEY (fully_qualified_namespace, eventhub_name, consumer_group, partition_id)
);
CREATE TABLE IF NOT EXISTS ownership (
    fully_qualified_namespace TEXT, eventhub_name TEXT, consumer_group TEXT, partition_id TEXT,
    owner_id TEXT, etag TEXT, last_modified_time REAL,
    PRIMARY KEY (fully_qualified_namespace, eventhub_name, consumer_group, partition_id)
);
"""
_LIST = {
    "ownership": "SELECT * FROM ownership WHERE fully_qualified_namespace = ? AND eventhub_name = ? AND consumer_group = ?",
    "checkpoint": "SELECT * FROM checkpoint "
    "WHERE fully_qualified_namespace = ? AND eventhub_name = ? AND consumer_group = ?",
}
_FIND_OWNERSHIP = (
    "SELECT etag FROM ownership "
    "WHERE fully_qualified_namespace = ? AND eventhub_name = ? AND consumer_group = ? AND partition_id = ?"
)
_KEYS = ("fully_qualified_namespace", "eventhub_name", "consumer_group", "partition_id")
BUSY_SECONDS = 5.0

T = TypeVar("T")


class SqliteCheckpointStore(CheckpointStore):
    """Raises OSError when the file can't be used."""

    def __init__(self, path: Path) -> None:
        try:
            self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise OSError(f"the SQLite file {path} can't be opened: {error}") from error
        self._lock = threading.Lock()

    async def _run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """In a thread, since a commit waits for the disk; one transaction, which locks out other processes."""

        def transaction() -> T:
            with self._lock:
                try:
                    self._connection.execute("BEGIN IMMEDIATE")
                    try:
                        result = operation(self._connection)
                    except BaseException:
                        self._connection.execute("ROLLBACK")
                        raise
                    self._connection.execute("COMMIT")
                except sqlite3.Error as error:
                    raise OSError(f"the SQLite file can't be used: {error}") from error
                return result

        return await asyncio.to_thread(transaction)

    async def list_ownership(
        self, fully_qualified_namespace: str, eventhub_name: str, consumer_group: str, **kwargs: Any
    ) -> Iterable[dict[str, Any]]:
        return await self._list("ownership", (fully_qualified_namespace, eventhub_name, consumer_group))

    async def list_checkpoints(
        self, fully_qualified_namespace: str, eventhub_name: str, consumer_group: str, **kwargs: Any
    ) -> Iterable[dict[str, Any]]:
        return await self._list("checkpoint", (fully_qualified_namespace, eventhub_name, consumer_group))

    async def _list(self, table: str, scope: tuple[str, str, str]) -> list[dict[str, Any]]:
        return await self._run(lambda db: [dict(row) for row in db.execute(_LIST[table], scope)])

    async def claim_ownership(self, ownership_list: Iterable[dict[str, Any]], **kwargs: Any) -> Iterable[dict[str, Any]]:
        wanted = list(ownership_list)
        return await self._run(lambda db: [taken for item in wanted if (taken := _take(db, item)) is not None])

    async def update_checkpoint(self, checkpoint: dict[str, Any], **kwargs: Any) -> None:
        row = (*(checkpoint[key] for key in _KEYS), checkpoint["sequence_number"], checkpoint["offset"])
        await self._run(lambda db: db.execute("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?, ?, ?)", row))

    async def close(self) -> None:
        self._connection.close()


def _take(db: sqlite3.Connection, item: dict[str, Any]) -> dict[str, Any] | None:
    key = tuple(item[name] for name in _KEYS)
    row = db.execute(_FIND_OWNERSHIP, key).fetchone()
    if (row["etag"] if row else None) != item.get("etag"):
        return None
    taken = {**item, "etag": uuid.uuid4().hex, "last_modified_time": time.time()}
    values = (*key, taken["owner_id"], taken["etag"], taken["last_modified_time"])
    db.execute("INSERT OR REPLACE INTO ownership VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    return taken
