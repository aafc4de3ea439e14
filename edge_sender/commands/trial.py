"""Runs sources as `run` does, up to the point where a reading would be spooled: there it is passed on instead."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edge_sender.buffering.inbox import Inbox, IntakeOptions
from edge_sender.config.sources import SourceConfig
from edge_sender.counters import Counters
from edge_sender.identity.readings import Reading
from edge_sender.ports import Accountable, Explaining
from edge_sender.sender import ConfiguredSource
from wire.ids import Sample

MOST_WAITING = 1000
"""Readings that may wait to be shown, before sources that can wait do."""
ROOM_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Observed:
    """What became of a sample."""

    entry: str
    """Name of its entry in the sources' document."""
    arrived_ns: int
    """Wall clock, in nanoseconds since 1970."""
    sample: Sample
    reading: Reading | None
    """None if it got no id."""
    why: str = ""


class TrialInbox(Inbox):
    """Remembers why a sample got no id."""

    def __init__(self, counters: Counters) -> None:
        super().__init__(
            IntakeOptions(memory_readings=2, when_full="drop-oldest", overlap_seconds=0), counters, time.monotonic
        )
        self.refusal: str | None = None

    def refuse(self, error: Exception) -> None:
        super().refuse(error)
        self.refusal = str(error)


class Trial:
    """One entry of the sources' document. What becomes of its samples is put into `observations`."""

    def __init__(self, config: SourceConfig, item: ConfiguredSource, observations: asyncio.Queue[Observed]) -> None:
        self.name = config.name
        self.config = config
        self.item = item
        self.counters = Counters()
        self.uris: set[str] = set()
        self.first: Observed | None = None
        """The first reading that got an id."""
        self.refusals: Counter[str] = Counter()
        """Why samples got no id."""
        self.problem: str | None = None
        """Why the source did not work at the end."""
        self._failure: str | None = None
        self._is_finished = False
        self._observations = observations
        self._inbox = TrialInbox(self.counters)
        self._intake = item.intake(self._inbox)

    async def run(self) -> None:
        try:
            await self.item.source.run(self)
        except Exception as error:  # noqa: BLE001  # in `run` it would end the sender, which is what is to be found out
            self._failure = f"the source ended: {error!r}"
        self._is_finished = True

    def take(self, sample: Sample, position: str | None = None, *, initial: bool | None = None) -> None:
        self._inbox.refusal = None
        self._intake.take(sample, position, initial=initial)
        if self._inbox.pending:
            self._pass_on(sample, self._inbox.pending.popleft())
        elif self._inbox.refusal is not None:
            self.refusals[self._inbox.refusal.removeprefix(f"{sample.source}: ")] += 1
            self._pass_on(sample, None, self._inbox.refusal)

    def _pass_on(self, sample: Sample, reading: Reading | None, why: str = "") -> None:
        observed = Observed(self.name, time.time_ns(), sample, reading, why)
        self.uris.add(sample.source)
        if reading is not None and self.first is None:
            self.first = observed
        self._observations.put_nowait(observed)

    def when_kept(self, call: Callable[[], None]) -> None:
        call()

    async def room(self) -> None:
        while self._observations.qsize() > MOST_WAITING:
            await asyncio.sleep(ROOM_POLL_SECONDS)

    def position(self) -> str | None:
        return None

    def handed_over(self) -> str | None:
        return None

    def is_due(self) -> bool:
        return True

    @property
    def readings(self) -> int:
        return self.counters.readings.total()

    def note_problem(self) -> None:
        """To be called before the source is stopped, which would be a problem of its own."""
        source = self.item.source
        if self._failure is not None or self._is_finished:
            self.problem = self._failure
        elif not source.is_up:
            told = source.problem if isinstance(source, Explaining) else None
            self.problem = told or "it is not up yet"

    @property
    def skipped(self) -> dict[str, int]:
        """What became no readings before ids were made, by reason."""
        source, tally = self.item.source, self.item.tally
        found: Counter[str] = Counter(source.skipped if isinstance(source, Accountable) else {})
        if tally is not None:
            found.update(tally.skipped)
            found.update(tally.lost)
        return {reason: count for reason, count in found.items() if count}

    def notices(self) -> Iterator[str]:
        """What needs attention, though the source delivers."""
        source, tally = self.item.source, self.item.tally
        if isinstance(source, Explaining) and source.notice is not None:
            yield source.notice
        if tally is not None:
            yield from (f"the server granted {what} ({count} times)" for what, count in tally.revised.items())
            yield from (f"left out: {name}: {why}" for name, why in tally.left_out.items())
            yield from (f"trouble with {name}: {why}" for name, why in tally.troubled.items())


async def observe(trials: Sequence[Trial], seconds: float, is_enough: Callable[[], bool], stop: asyncio.Event) -> None:
    """Run the sources until the time is over, there is enough, `stop` is set, or none has more to deliver."""
    running = [asyncio.create_task(trial.run()) for trial in trials]
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline and not stop.is_set() and not is_enough():
            if all(task.done() for task in running):
                return
            await asyncio.sleep(min(ROOM_POLL_SECONDS, max(0.0, deadline - time.monotonic())))
    finally:
        for trial in trials:
            trial.note_problem()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
