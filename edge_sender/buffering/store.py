"""The spool as the event loop uses it: commits in groups on its own thread, and works from memory while the disk fails."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from edge_sender.buffering.inbox import Inbox
from edge_sender.buffering.spool import Dropped, Place, Rows, Spool, SpoolError, SpoolLimits
from edge_sender.counters import Counters
from edge_sender.identity.readings import Reading

logger = logging.getLogger(__name__)

READ_ROWS = 500
RETRY_SECONDS = 1.0
FULL_ENOUGH = 0.9
"""Share of the spool's limit above which sources that can wait do so."""

T = TypeVar("T")


class Store:
    """Moves readings from the inbox to the spool, and from the spool to the delivery."""

    def __init__(self, spool: Spool, limits: SpoolLimits, inbox: Inbox, counters: Counters, commit_seconds: float) -> None:
        self.committed = asyncio.Event()
        """Set when there may be something to deliver."""
        self.is_failing = False
        self._spool = spool
        self._inbox = inbox
        self._counters = counters
        self._commit_seconds = commit_seconds
        self._acknowledged: list[Rows] = []
        self._taken = 0
        self._ahead: deque[tuple[Place, Reading]] = deque()
        self._committing = asyncio.Lock()
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="spool")
        inbox.has_room = lambda: spool.bytes < limits.max_bytes * FULL_ENOUGH
        self.committed.set()  # for what a former run left

    @property
    def readings(self) -> int:
        """Number on disk and in memory, including those that were acknowledged since the last commit."""
        return self._spool.readings + len(self._inbox.pending)

    @property
    def bytes(self) -> int:
        return self._spool.bytes

    async def oldest_at(self) -> float | None:
        """When the oldest reading on disk was spooled, in seconds since 1970; None if there is none or the disk fails."""
        try:
            return await self._on_disk(self._spool.oldest_at)
        except SpoolError:
            return None

    async def run(self) -> None:
        while True:
            await self._inbox.arrived.wait()
            done = await asyncio.shield(self.commit())
            await asyncio.sleep(self._commit_seconds if done else RETRY_SECONDS)

    async def commit(self) -> bool:
        """Commit everything that has arrived or was acknowledged, at once. Returns whether the disk accepted it."""
        async with self._committing:
            self._inbox.arrived.clear()
            readings, positions = list(self._inbox.pending), dict(self._inbox.positions)
            acknowledged, taken = self._acknowledged, self._taken
            counted, self._inbox.runs.changed = self._inbox.runs.changed, set()
            runs = self._inbox.runs.records(counted)
            self._inbox.pending.clear()
            self._acknowledged = []
            try:
                dropped = await self._on_disk(
                    lambda: self._spool.commit(
                        readings, positions=positions, acknowledged=acknowledged, taken=taken, runs=runs
                    )
                )
            except SpoolError as error:
                self._inbox.runs.changed |= counted
                self._put_back(readings, acknowledged)
                self._note_failure(error)
                return False
            self._note_commit(dropped)
            return True

    def _note_commit(self, dropped: Dropped) -> None:
        self._counters.commits += 1
        self._counters.dropped["spool-full"] += dropped.by_size
        self._counters.dropped["too-old"] += dropped.by_age
        for mark in dropped.marks:
            self._inbox.last_ids.forget(mark)
        self._note_failure(None)
        self.committed.set()

    def _put_back(self, readings: list[Reading], acknowledged: list[Rows]) -> None:
        self._inbox.put_back(readings)
        self._acknowledged = acknowledged + self._acknowledged
        self.committed.set()

    async def next(self) -> tuple[Place | None, Reading] | None:
        """The oldest reading that was not handed out yet, with its place; None if there is none.

        While the disk fails, readings that it does not accept are handed out from memory, without a place.
        """
        if not self._ahead:
            await self._read_ahead()
        if self._ahead:
            return self._ahead.popleft()
        if self.is_failing and self._inbox.pending:
            return None, self._inbox.pending.popleft()
        return None

    async def _read_ahead(self) -> None:
        try:
            self._ahead.extend(await self._on_disk(lambda: self._spool.read(self._taken, READ_ROWS)))
        except SpoolError as error:
            self._note_failure(error)
            return
        if self._ahead:
            self._taken = self._ahead[-1][0].row

    def acknowledge(self, rows: Rows) -> None:
        """The hub has these rows or never will; the next commit removes them."""
        self._acknowledged.append(rows)
        self._inbox.arrived.set()

    async def close(self) -> None:
        await self.commit()
        await self._on_disk(self._spool.close)
        self._disk.shutdown()

    async def _on_disk(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, call)

    def _note_failure(self, error: SpoolError | None) -> None:
        """Log changes of state, not every failure."""
        if error is not None:
            self._counters.spool_failures += 1
        if error is not None and not self.is_failing:
            logger.error("the spool's disk is failing, readings are kept in memory only: %s", error)
        elif error is None and self.is_failing:
            logger.info("the spool's disk works again")
        self.is_failing = error is not None
