"""The way in: sample → id → memory, until the store commits it. A passive replica holds its readings back instead."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_sender.buffering.last_ids import LastIds
from edge_sender.buffering.sized import SizedDeque
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
    memory_bytes: int = sys.maxsize
    """Most memory that they may take; the same happens above it."""


class Inbox:
    """Readings on their way to the spool, oldest first. `is_sending`: whether this replica sends a source now."""

    def __init__(
        self,
        options: IntakeOptions,
        counters: Counters,
        monotonic: Callable[[], float],
        is_sending: Callable[[str], bool] = lambda _: True,
        last_ids: LastIds | None = None,
        runs: Runs | None = None,
    ) -> None:
        self.arrived = asyncio.Event()
        self.pending: SizedDeque[Reading] = SizedDeque(lambda reading: reading.size)
        self.positions: dict[str, str] = {}
        """Position of each source as of its last reading."""
        self.when_kept: list[Callable[[], None]] = []
        """To be called once what has arrived before is on disk."""
        self.has_room: Callable[[], bool] = lambda: True
        """Set by the store: False if sources that can wait should."""
        self.options = options
        self._counters = counters
        self._monotonic = monotonic
        self.is_sending = is_sending
        self.last_ids = LastIds() if last_ids is None else last_ids
        self.runs = Runs() if runs is None else runs
        self._handed_over: dict[str, deque[tuple[float, str]]] = {}
        """By source: how far another replica had got, and when it said so."""
        self._held: dict[str, SizedDeque[tuple[float, Reading]]] = {}
        """By source, with the time of arrival."""

    def take(self, source: str, reading: Reading, position: str | None) -> None:
        self._counters.readings[source] += 1
        if not self.is_sending(source):
            self._hold(source, reading)
            return
        self._release(source)
        self._put(reading)
        if position is not None:
            self.positions[source] = position
            self._handed_over.pop(source, None)

    def remember(self, last_ids: LastIds, runs: Runs, positions: Mapping[str, str]) -> None:
        """What a former run knew, of which the spool told only now."""
        self.positions.update({**positions, **self.positions})
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
        """Pass on what was held back of sources that this replica sends now: duplicates of it are harmless, a gap is not."""
        for source in [source for source in self._held if self.is_sending(source)]:
            self._release(source)

    def _release(self, source: str) -> None:
        held = self._held.pop(source, None)
        if held:
            self._forget_old(held)
            for _, reading in held:
                self._put(reading)

    def hand_over(self, source: str, position: str) -> None:
        """Another replica, which reads this source, has got so far with it."""
        said = self._handed_over.setdefault(source, deque())
        now = self._monotonic()
        if not said or said[-1][1] != position:
            said.append((now, position))
        while len(said) > 1 and said[1][0] <= now - self.options.overlap_seconds:
            said.popleft()

    def handed_over(self, source: str) -> str | None:
        """How far the other replica had got an overlap ago."""
        said = self._handed_over.get(source)
        return said[0][1] if said else None

    async def room(self) -> None:
        """Returns once there is room for a while."""
        while not (self.has_room() and self._is_half_empty()):
            await asyncio.sleep(ROOM_POLL_SECONDS)

    def put_back(self, readings: Sequence[Reading]) -> None:
        """Put readings that the disk did not accept in front of those that arrived in the meantime."""
        self.pending.extendleft(reversed(readings))
        self._drop_excess()
        self.arrived.set()

    def _put(self, reading: Reading) -> None:
        size = self.pending.bytes + self.pending.cost(reading)
        if self.options.when_full == "drop-newest" and self._is_too_much(len(self.pending) + 1, size):
            self._counters.dropped["memory-full"] += 1
            return
        self.pending.append(reading)
        self.last_ids.note(reading.mark)
        self._drop_excess()
        self.arrived.set()

    def _drop_excess(self) -> None:
        drop = self.pending.popleft if self.options.when_full == "drop-oldest" else self.pending.pop
        while self._is_too_much(len(self.pending), self.pending.bytes):
            self.last_ids.forget(drop().mark)
            self._counters.dropped["memory-full"] += 1

    def _is_too_much(self, readings: int, size: int) -> bool:
        """A single reading never is: it is sent, or refused, as it is."""
        return readings > 1 and (readings > self.options.memory_readings or size > self.options.memory_bytes)

    def _is_half_empty(self) -> bool:
        options = self.options
        return len(self.pending) < options.memory_readings // 2 and self.pending.bytes < options.memory_bytes // 2

    def _hold(self, source: str, reading: Reading) -> None:
        if self.options.overlap_seconds:
            held = self._held.setdefault(source, SizedDeque(lambda entry: entry[1].size))
            held.append((self._monotonic(), reading))
            self._forget_old(held)
            while self._is_too_much(sum(map(len, self._held.values())), sum(held.bytes for held in self._held.values())):
                max(self._held.values(), key=lambda held: held.bytes).popleft()

    def _forget_old(self, held: deque[tuple[float, Reading]]) -> None:
        oldest = self._monotonic() - self.options.overlap_seconds
        while held and held[0][0] < oldest:
            held.popleft()


@dataclass(frozen=True, slots=True)
class SourceIntake:
    """The inbox as one source sees it. The id is minted here, before anything else happens to the reading."""

    inbox: Inbox
    source: str
    rules: IdentityRules
    event_type: str
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

    def when_kept(self, call: Callable[[], None]) -> None:
        if self.inbox.pending:
            self.inbox.when_kept.append(call)
        else:  # nothing of it is to be kept: another replica sends, or it came before
            call()

    async def room(self) -> None:
        await self.inbox.room()

    def position(self) -> str | None:
        return self.inbox.positions.get(self.source)

    def handed_over(self) -> str | None:
        return self.inbox.handed_over(self.source)

    def is_due(self) -> bool:
        return self.inbox.is_sending(self.source)
