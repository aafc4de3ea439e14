"""The way in: sample → id → memory, until the store commits it. A passive replica holds its readings back instead."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_sender.buffering.last_ids import LastIds
from edge_sender.buffering.spool_values import WhenFull
from edge_sender.counters import Counters, Reason, SourceTally
from edge_sender.identity.readings import Reading, make_reading
from edge_sender.identity.rules import IdentityRules
from edge_sender.identity.runs import Observed, Runs
from wire.ids import Count, NoIdentityError, NoTimeError, Sample

logger = logging.getLogger(__name__)

ROOM_POLL_SECONDS = 0.05
MOST_LOGGED = 10
"""Sources of one entry whose counters went back that are logged; more of them are in the status."""


@dataclass(frozen=True, slots=True)
class IntakeOptions:
    memory_readings: int
    """Most readings kept in memory while the disk does not accept them; above it, `when_full` says which are dropped."""
    when_full: WhenFull
    overlap_seconds: float
    """How far back the readings reach that a passive replica sends when it takes over."""


class Inbox:
    """Readings on their way to the spool, oldest first. `is_sending` says whether this replica accepts readings now."""

    def __init__(
        self,
        options: IntakeOptions,
        counters: Counters,
        monotonic: Callable[[], float],
        is_sending: Callable[[], bool] = lambda: True,
        last_ids: LastIds | None = None,
        runs: Runs | None = None,
    ) -> None:
        self.arrived = asyncio.Event()
        self.pending: deque[Reading] = deque()
        self.positions: dict[str, str] = {}
        """Position of each source as of its last reading."""
        self.has_room: Callable[[], bool] = lambda: True
        """Set by the store: False if sources that can wait should."""
        self._options = options
        self._counters = counters
        self._monotonic = monotonic
        self._is_sending = is_sending
        self.last_ids = LastIds() if last_ids is None else last_ids
        self.runs = Runs() if runs is None else runs
        self._held: deque[tuple[float, Reading]] = deque()

    def take(self, source: str, reading: Reading, position: str | None) -> None:
        self._counters.readings[source] += 1
        if position is not None:  # also while another replica sends, or a takeover would start with all old readings
            self.positions[source] = position
            self.arrived.set()
        if not self._is_sending():
            self._hold(reading)
            return
        self.release()
        self._put(reading)

    def remember(self, last_ids: LastIds, runs: Runs) -> None:
        """What a former run knew, of which the spool told only now."""
        self.last_ids.put_under(last_ids)
        self.runs.put_back(runs)

    def count(self, entry: str, source: str, observed: Observed, number: int) -> None:
        """A reading's counter was followed; it is committed also while another replica sends."""
        self.arrived.set()
        if observed.restart is None:
            return
        what = f"its counter went back to {number}"
        if observed.restart == "untimed":
            what += "; without a source time, a late reading looks the same"
        elif observed.epoch:
            what += f"; its epoch is now {observed.epoch}"
        else:
            what += " in the same epoch: readings with numbers that came before are dropped as duplicates of those"
        tally = self._counters.restarts[entry]
        if tally.note(observed.restart, source, what) and len(tally.listed) <= MOST_LOGGED:
            logger.warning("%s: %s: %s", entry, source, what)
            if len(tally.listed) == MOST_LOGGED:
                logger.warning("%s: further counters that went back are listed in /v1/status only", entry)

    def refuse(self, error: Exception) -> None:
        """Count a sample that gets no id, and drop it: its copies could not be recognised."""
        reason: Reason = "without-time" if isinstance(error, NoTimeError) else "no-identity"
        self._counters.dropped[reason] += 1
        if self._counters.dropped[reason] == 1:
            logger.warning("a reading gets no id and is dropped; further ones will only be counted: %s", error)

    def release(self) -> None:
        """Pass on what was held back if this replica is sending now: duplicates of it are harmless, a gap is not."""
        if self._held and self._is_sending():
            self._forget_old()
            for _, reading in self._held:
                self._put(reading)
            self._held.clear()

    async def room(self) -> None:
        """Returns once there is room for a while."""
        while not (self.has_room() and len(self.pending) < self._options.memory_readings // 2):
            await asyncio.sleep(ROOM_POLL_SECONDS)

    def put_back(self, readings: Sequence[Reading]) -> None:
        """Put readings that the disk did not accept in front of those that arrived in the meantime."""
        self.pending.extendleft(reversed(readings))
        drop = self.pending.popleft if self._options.when_full == "drop-oldest" else self.pending.pop
        while len(self.pending) > self._options.memory_readings:
            self.last_ids.forget(drop().mark)
            self._counters.dropped["memory-full"] += 1
        self.arrived.set()

    def _put(self, reading: Reading) -> None:
        if len(self.pending) >= self._options.memory_readings:
            self._counters.dropped["memory-full"] += 1
            if self._options.when_full == "drop-newest":
                return
            self.last_ids.forget(self.pending.popleft().mark)
        self.pending.append(reading)
        self.last_ids.note(reading.mark)
        self.arrived.set()

    def _hold(self, reading: Reading) -> None:
        if self._options.overlap_seconds:
            self._held.append((self._monotonic(), reading))
            self._forget_old()

    def _forget_old(self) -> None:
        oldest = self._monotonic() - self._options.overlap_seconds
        while self._held and (self._held[0][0] < oldest or len(self._held) > self._options.memory_readings):
            self._held.popleft()


@dataclass(frozen=True, slots=True)
class SourceIntake:
    """The inbox as one source sees it. The id is minted here, before anything else happens to the reading."""

    inbox: Inbox
    source: str
    rules: IdentityRules
    event_type: str
    committed: Mapping[str, str] = field(default_factory=dict)
    """Positions that former runs committed, by source."""
    tally: SourceTally = field(default_factory=SourceTally)

    def take(self, sample: Sample, position: str | None = None, *, initial: bool | None = None) -> None:
        try:
            count = self._count(sample)
            reading = make_reading(sample, self.rules, self.event_type, count=count, is_marked=initial is not None)
        except (NoIdentityError, ValueError, ArithmeticError, RecursionError) as error:
            self.inbox.refuse(error)
            return
        if initial and self.inbox.last_ids.has(reading.mark):
            self.tally.count("repeated")
        else:
            self.inbox.take(self.source, reading, position)

    def _count(self, sample: Sample) -> Count | None:
        """With the epoch that was opened for it, if its counter is its identity and started over. Raises NoIdentityError."""
        count = self.rules.members.count(sample.data)
        if count is None or not self.rules.goes_by_counter(sample.source):
            return count
        observed = self.inbox.runs.observe(sample.source, count, sample.time_ns, opens_epochs=self.rules.opens_epochs)
        self.inbox.count(self.source, sample.source, observed, count.number)
        return count._replace(epoch=count.epoch + observed.epoch)

    async def room(self) -> None:
        await self.inbox.room()

    def position(self) -> str | None:
        return self.committed.get(self.source)
