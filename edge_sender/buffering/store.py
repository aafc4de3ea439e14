"""The spool as the event loop uses it: commits in groups on its own thread, and works from memory while the disk fails."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from edge_sender.buffering.disk import Batch, Disk
from edge_sender.buffering.inbox import Inbox
from edge_sender.buffering.reserve import State
from edge_sender.buffering.salvage import SpoolFile
from edge_sender.buffering.spool import ReadRows, Spool
from edge_sender.buffering.spool_values import Dropped, Place, Rows, SpoolError, SpoolFullError, appended, parted
from edge_sender.counters import Counters
from edge_sender.identity.readings import Reading

logger = logging.getLogger(__name__)

READ_ROWS = 500
REMOVED_AT_ONCE = 5_000
"""Rows that one commit removes because the hub has them, so that its log stays small."""
RETRY_SECONDS = 1.0
ANSWER_SECONDS = 10.0
"""A disk that takes longer counts as failing: the sender begins, or goes on, without it, until it has answered."""
NO_ANSWER = f"it has not answered for {ANSWER_SECONDS:g} s"
FULL_ENOUGH = 0.9
"""Share of the spool's limit above which sources that can wait do so."""

T = TypeVar("T")


class Store:
    """Moves readings from the inbox to the spool, and from the spool to the delivery."""

    def __init__(self, file: SpoolFile, inbox: Inbox, counters: Counters, commit_seconds: float) -> None:
        self.committed = asyncio.Event()
        """Set when there may be something to deliver."""
        self.opened = asyncio.Event()
        """Set once what the spool remembers is known."""
        self.problem: str | None = None
        """Why the disk does not keep readings at the moment."""
        self._disk = Disk(file)
        self._limits = file.limits
        self._inbox = inbox
        self._counters = counters
        self.commit_seconds = commit_seconds
        self._acknowledged: list[Rows] = []
        self._taken = 0
        self._ahead: deque[tuple[Place, Reading]] = deque()
        self._committing = asyncio.Lock()
        self._unanswered: asyncio.Future[Any] | None = None
        """The call on which the disk was given up, and whose end is waited for."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        inbox.has_room = lambda: self.size < file.limits.max_bytes * FULL_ENOUGH
        self.committed.set()  # for what a former run left

    @property
    def readings(self) -> int:
        """Number on disk and in memory, including those that were acknowledged since the last commit."""
        return (0 if self._spool is None else self._spool.readings) + len(self._inbox.pending)

    @property
    def size(self) -> int:
        return 0 if self._spool is None else self._spool.size

    @property
    def is_failing(self) -> bool:
        return self.problem is not None

    @property
    def reserve(self) -> State:
        """Of the disk, so that what was sent can be removed also where nothing is free."""
        return self._disk.reserve.state

    @property
    def clock_steps(self) -> int:
        """How often the gateway's clock was set, as far as it was seen."""
        return 0 if self._spool is None else self._spool.ages.steps

    @property
    def _spool(self) -> Spool | None:
        return self._disk.spool

    def oldest_seconds(self) -> float | None:
        """How long the oldest reading on disk has waited, as of the last commit; None if that is not known."""
        return None if self._spool is None else self._spool.oldest_seconds()

    def is_too_old(self, place: Place) -> bool:
        return self._spool is not None and self._spool.is_too_old(place)

    async def open(self) -> None:
        """Open the spool. Where the disk refuses that or takes too long, work begins without it, and it is tried again.

        Raises SpoolUnusableError.
        """
        if self.opened.is_set():
            return
        try:
            await self._on_disk(self._disk.open)
        except SpoolError as error:
            self._note_failure(error)
        else:
            self._begin()

    def _begin(self) -> None:
        """Take over what the spool remembers, once it is open."""
        kept = self._disk.kept
        if kept is None or self.opened.is_set():
            return
        self._inbox.remember(kept.last_ids, kept.runs, kept.positions)
        self.opened.set()

    async def run(self) -> None:
        while True:
            await self._inbox.arrived.wait()
            done = await asyncio.shield(self.commit())
            await asyncio.sleep(self.commit_seconds if done else RETRY_SECONDS)

    async def commit(self) -> bool:
        """Commit everything that has arrived or was acknowledged, at once. Returns whether the disk accepted it."""
        async with self._committing:
            self._inbox.arrived.clear()
            waiting, self._inbox.when_kept = self._inbox.when_kept, []
            if self._is_silent:
                _call(waiting)
                self.committed.set()  # meanwhile, readings are delivered from memory
                return False
            acknowledged, later = parted(self._acknowledged, REMOVED_AT_ONCE)
            counted, self._inbox.runs.changed = self._inbox.runs.changed, set()
            runs = self._inbox.runs.records(counted)
            readings, positions = list(self._inbox.pending), dict(self._inbox.positions)
            batch = Batch(readings, positions, acknowledged, self._taken, runs)
            self._inbox.pending.clear()
            self._acknowledged = later
            started = time.monotonic()
            try:
                dropped, full = await self._on_disk(lambda: self._disk.commit(batch), self._committed_late)
            except SpoolError as error:
                self._acknowledged = acknowledged + self._acknowledged
                self._put_back(readings, counted, error)
                return False
            finally:
                self._counters.commit_seconds += time.monotonic() - started
                _call(waiting)
            self._note_commit(dropped)
            if full is not None:
                self._put_back(readings, counted, full)
                return False
            self._note_failure(None)
            return True

    def _note_commit(self, dropped: Dropped) -> None:
        self._begin()
        self._counters.commits += 1
        self._counters.dropped["spool-full"] += dropped.by_size
        self._counters.dropped["too-old"] += dropped.by_age
        self._note_damage()
        for mark in dropped.marks:
            self._inbox.last_ids.forget(mark)
        if dropped.is_more or self._acknowledged:
            self._inbox.arrived.set()
        self.committed.set()

    def _note_damage(self) -> None:
        lost, self._disk.lost = self._disk.lost, 0
        self._counters.dropped["damaged"] += lost

    def _put_back(self, readings: list[Reading], counted: set[bytes], error: SpoolError) -> None:
        self._inbox.runs.changed |= counted
        self._inbox.put_back(readings)
        self._note_failure(error)
        self.committed.set()

    async def next(self) -> tuple[Place | None, Reading] | None:
        """The oldest reading that was not handed out yet, with its place; None if there is none.

        While the disk fails, readings that it does not accept are handed out from memory, without a place.
        """
        if not self._ahead and self._spool is not None and not self._is_silent:
            await self._read_ahead()
        if self._ahead:
            return self._ahead.popleft()
        if self.is_failing and self._inbox.pending:
            return None, self._inbox.pending.popleft()
        return None

    async def _read_ahead(self) -> None:
        """Read rows, up to whole ones. Damaged ones are dropped."""
        while not self._ahead:
            after = self._taken
            try:
                found = await self._on_disk(partial(self._disk.read, after, READ_ROWS), partial(self._read_late, after))
            except SpoolError as error:
                self._note_failure(error)
                return
            self._hand_out(after, found)
            if not found.last:
                return

    def _hand_out(self, after: int, found: ReadRows) -> None:
        self._note_damage()
        if after != self._taken:  # an earlier read of the same rows has come late, and just before this one
            return
        self._ahead.extend(found.readings)
        for row in found.damaged:
            self._drop_damaged(row)
        self._taken = found.last or self._taken

    def _read_late(self, after: int, found: ReadRows) -> None:
        """A disk that is always slow would otherwise be asked for the same rows again and again."""
        self._hand_out(after, found)
        self.committed.set()

    def _drop_damaged(self, row: int) -> None:
        self._counters.dropped["damaged"] += 1
        if self._counters.dropped["damaged"] == 1:
            logger.error("row %d of the spool is damaged and is dropped; further ones will only be counted", row)
        self.acknowledge(Rows(row, row, is_given_up=True))

    def acknowledge(self, rows: Rows) -> None:
        """The hub has these rows or never will; the next commit removes them."""
        appended(self._acknowledged, rows)
        self._inbox.arrived.set()

    async def close(self) -> None:
        """Commit what there is, and close the file, even if the disk fails."""
        while await self.commit() and self._acknowledged:
            continue
        try:
            await self._on_disk(self._disk.close)
        except SpoolError as error:
            logger.warning("the spool could not be closed in order; it is repaired at the next start: %s", error)
        if self._is_silent:
            logger.error("the spool's disk still does not answer: this process ends when it does, or when it is killed")
        self._thread.shutdown(wait=not self._is_silent)

    @property
    def _is_silent(self) -> bool:
        """Whether the disk has not answered in time, and still does not: a card that hangs, a server that is gone."""
        return self._unanswered is not None and not self._unanswered.done()

    async def _on_disk(self, call: Callable[[], T], late: Callable[[T], None] = lambda _: None) -> T:
        """Raises SpoolError if the disk does not answer in time. Then nothing else is asked of it until it does, and `late`
        is called with what it says."""
        if self._is_silent:
            raise SpoolError(NO_ANSWER)
        answer = asyncio.get_running_loop().run_in_executor(self._thread, call)
        await asyncio.wait({answer}, timeout=ANSWER_SECONDS)
        if not answer.done():
            self._unanswered = answer
            answer.add_done_callback(partial(self._answered_late, late))
            raise SpoolError(NO_ANSWER)
        return answer.result()

    def _answered_late(self, late: Callable[[T], None], answer: asyncio.Future[T]) -> None:
        if answer.cancelled():
            return
        if (error := answer.exception()) is None:
            late(answer.result())
        else:
            logger.warning("the spool's disk has answered at last, with an error: %s", error)
        self._inbox.arrived.set()

    def _committed_late(self, answer: tuple[Dropped, SpoolFullError | None]) -> None:
        """What this commit was about goes into the next one as well: its readings are sent twice at most."""
        self._note_commit(answer[0])

    def _note_failure(self, error: SpoolError | None) -> None:
        """Log changes of state, not every failure."""
        if error is not None:
            self._counters.spool_failures += 1
        if error is not None and not self.is_failing:
            logger.error("the spool's disk is failing, readings are kept in memory only: %s", error)
        elif error is None and self.is_failing:
            logger.info("the spool's disk works again")
        self.problem = None if error is None else str(error)


def _call(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()
