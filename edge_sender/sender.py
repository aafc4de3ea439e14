"""The sender: runs sources, store, delivery and election concurrently, and stops them in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass

from edge_sender.buffering.batcher import Batcher, BatchLimits
from edge_sender.buffering.delivery import Delivery
from edge_sender.buffering.inbox import Inbox, IntakeOptions, SourceIntake
from edge_sender.buffering.salvage import SpoolFile
from edge_sender.buffering.spool_values import SpoolLimits
from edge_sender.buffering.store import Store
from edge_sender.company import Company
from edge_sender.counters import Counters, SourceTally
from edge_sender.election import Election, ElectionOptions, Role
from edge_sender.identity.check import CheckedIntake, IdentityCheck
from edge_sender.identity.rules import IdentityRules
from edge_sender.ports import Clocks, Intake, Peers, Source, SourceConfigError, Standing, Uplink, Witness
from edge_sender.reading import Readers
from edge_sender.turns import Turns, TurnsOptions

logger = logging.getLogger(__name__)

NOTE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class SenderOptions:
    intake: IntakeOptions
    spool: SpoolLimits
    commit_seconds: float
    batch: BatchLimits
    max_in_flight: int
    flush_seconds: float
    """How long to go on sending what is kept after the stop."""
    election: ElectionOptions | None = None
    """None: this replica always sends."""
    replica: str = ""
    """Its name, among those that take turns."""
    turns: TurnsOptions | None = None
    """How replicas hear each other; needed with peers."""


@dataclass(slots=True)
class ConfiguredSource:
    source: Source
    rules: IdentityRules
    event_type: str
    check: IdentityCheck | None = None
    """Observes the samples, to find out whether the rules suit the source."""
    tally: SourceTally | None = None
    """Kept by sources that subscribe to variables of a server."""
    made_from: object = None
    """Its configuration: sources that were made from equal ones are the same. None: like no other."""
    resumes: bool = False
    """Whether it begins where it was, for which it needs the spool."""

    @property
    def name(self) -> str:
        return self.source.name

    def intake(self, inbox: Inbox) -> Intake:
        intake = SourceIntake(inbox, self.name, self.rules, self.event_type, self.tally or SourceTally())
        return CheckedIntake(intake, lambda: self.check)

    def is_like(self, other: ConfiguredSource | None) -> bool:
        return other is not None and self.made_from is not None and self.made_from == other.made_from


class Sender:
    """`witness` is needed with `options.election`, and with that there may be `peers`."""

    def __init__(
        self,
        options: SenderOptions,
        sources: Sequence[ConfiguredSource],
        spool: SpoolFile,
        uplink: Uplink,
        clocks: Clocks,
        witness: Witness | None = None,
        peers: Peers | None = None,
    ) -> None:
        monotonic = clocks.monotonic
        self.counters = Counters()
        self.sources = sources
        self.readers = Readers()
        self._limits = spool.limits
        self.inbox = Inbox(options.intake, self.counters, monotonic, self._is_sending)
        self.store = Store(spool, self.inbox, self.counters, options.commit_seconds)
        self._batcher = Batcher(options.batch)
        self.delivery = Delivery(self.store, self._batcher, uplink, self.counters, clocks, options.max_in_flight)
        self.election: Election | None = None
        if options.election is not None and witness is not None:
            self.election = Election(
                options.election,
                witness,
                self.counters,
                monotonic,
                self._is_fit,
                self._is_ready,
                self.inbox.release,
                lambda: self.company is not None and self.company.leaves_it,
            )
        self.company: Company | None = None
        if peers is not None and options.turns is not None and self.election is not None:
            turns = Turns(options.turns, monotonic())
            self.company = Company(
                turns, peers, self.election, self.inbox, self._standing, options.turns.heartbeat_seconds, monotonic
            )
        self._replica = options.replica
        self._monotonic = monotonic
        self._reading_since = monotonic()
        self._flush_seconds = options.flush_seconds

    @property
    def role(self) -> Role:
        return Role.ACTIVE if self.election is None else self.election.role

    def _is_sending(self, source: str) -> bool:
        if self.election is None or self.election.is_sending():
            return True
        return self.company is not None and self.company.fills_in(source)

    def _standing(self) -> Standing:
        assert self.election is not None
        return Standing(
            name=self._replica,
            is_sender=self.election.is_sending(),
            holds=self.election.holds,
            is_fit=self._is_fit(),
            can_send=self.delivery.can_send,
            is_ready=self._is_ready(),
            reads=frozenset(item.name for item in self.sources if self.is_up(item)),
            positions=self.inbox.positions,
        )

    def _is_fit(self) -> bool:
        return self.delivery.uplink_is_up and self._all_read()

    def is_up(self, item: ConfiguredSource) -> bool:
        """Whether this source can deliver at the moment."""
        return item.source.is_up and self.failure(item) is None

    def failure(self, item: ConfiguredSource) -> str | None:
        """With what this source has failed, if it waits for another start."""
        return self.readers.failures.get(_reader(item))

    def _all_read(self) -> bool:
        return all(map(self.is_up, self.sources))

    def _is_ready(self) -> bool:
        """Whether the readings that this replica holds back reach back over the whole overlap."""
        return self._monotonic() - self._reading_since >= self.inbox.options.overlap_seconds

    async def _note_reading(self) -> None:
        """Keep track of since when every source has been up without interruption."""
        while True:
            if not self._all_read():
                self._reading_since = self._monotonic() + NOTE_SECONDS
            await asyncio.sleep(NOTE_SECONDS)

    async def run(self, stop: asyncio.Event, *others: Awaitable[None]) -> None:
        """Run until `stop`, end the sources, and send what is kept for at most `flush_seconds`. The rest stays in the spool.

        `others` run alongside. What one of them fails with ends the sender.
        """
        await self.store.open()
        await self.store.commit()  # drops what became too old while it was stopped, before anything is sent
        for item in self.sources:
            self._start(item)
        deciding = [asyncio.ensure_future(work) for work in others]
        keeping = [asyncio.create_task(self.store.run()), asyncio.create_task(self.delivery.run())]
        if self.election is not None:
            deciding += [asyncio.create_task(self.election.run()), asyncio.create_task(self._note_reading())]
        if self.company is not None:
            keeping.append(asyncio.create_task(self.company.run()))
        stopped = asyncio.create_task(stop.wait())
        failure = await _first_failure([*deciding, *keeping], stopped)
        await _cancel([*deciding, stopped])
        try:
            if self.election is not None:
                await self.election.close()  # before anything slow: another replica should start at once
            if self.company is not None:
                self.company.leave()
            await self.readers.stop()
            await self.store.commit()
            await _cancel([keeping[1]])
            await self._flush()
        finally:
            await self._close([keeping[0], *keeping[2:]])
        logger.info("stopped: %s; %d readings stay in the spool", self.counters.summary(), self.store.readings)
        if failure is not None:
            raise failure

    async def change(self, options: SenderOptions, sources: Sequence[ConfiguredSource]) -> None:
        """Go on with these, without a stop. Only sources that are new, or others than before, are started, and those that
        are not wanted any more end. Raises SourceConfigError if one of them fails at its start; then all is as before."""
        before, wanted = {item.name: item for item in self.sources}, {item.name: item for item in sources}
        new = [item for item in sources if not item.is_like(before.get(item.name))]
        replaced = [before[item.name] for item in new if item.name in before]
        await self._stop(replaced)  # not beside each other: a broker knows no two clients with one name
        for item in new:
            self._start(item)
        failure = await self.readers.prove(map(_reader, new), lambda: all(item.source.is_up for item in new))
        if failure is not None:
            await self._stop(new)
            for item in replaced:
                self._start(item)
            raise SourceConfigError(f"fails at its start, and all is as before: {failure}")
        await self._stop([item for name, item in before.items() if name not in wanted])
        self.sources = [item if item in new else before[item.name] for item in sources]
        await self._renew_checks(item for item in sources if item not in new)
        self._apply(options)

    def _apply(self, options: SenderOptions) -> None:
        self.inbox.options = options.intake
        self._limits.become(options.spool)
        self.store.commit_seconds = options.commit_seconds
        self._batcher.limits = options.batch
        self.delivery.max_in_flight = options.max_in_flight
        if self.election is not None and options.election is not None:
            self.election.options = options.election

    async def _renew_checks(self, made: Iterable[ConfiguredSource]) -> None:
        """Check the sources that go on as these would be checked."""
        going_on = {item.name: item for item in self.sources}
        for other in made:
            item = going_on[other.name]
            if _when(item.check) == _when(other.check):
                continue
            await self.readers.stop([_checker(item)])
            item.check = None if other.check is None else other.check.of(item.source)
            self._start_check(item)

    def _start(self, item: ConfiguredSource) -> None:
        self.readers.start(_reader(item), lambda: self._read(item))
        self._start_check(item)

    def _start_check(self, item: ConfiguredSource) -> None:
        if item.check is not None:
            self.readers.start(_checker(item), item.check.run)

    async def _stop(self, items: Iterable[ConfiguredSource]) -> None:
        await self.readers.stop(name for item in items for name in (_reader(item), _checker(item)))

    async def _read(self, item: ConfiguredSource) -> None:
        if item.resumes:
            await self.store.opened.wait()
        await item.source.run(item.intake(self.inbox))
        logger.info("the source %s has nothing more to deliver", item.name)

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(self._flush_seconds):
                await self.delivery.flush()
        except TimeoutError:
            logger.warning("stopped before the hub acknowledged everything; the rest stays in the spool")

    async def _close(self, keeping: Sequence[asyncio.Task[None]]) -> None:
        await self.delivery.close()
        await _cancel(keeping)
        await self.store.close()


def _reader(item: ConfiguredSource) -> str:
    return f"the source {item.name}"


def _checker(item: ConfiguredSource) -> str:
    return f"the identity check of {item.name}"


def _when(check: IdentityCheck | None) -> tuple[float, float] | None:
    return None if check is None else (check.seconds, check.every_seconds)


async def _first_failure(tasks: Sequence[asyncio.Future[None]], stopped: asyncio.Task[bool]) -> BaseException | None:
    """The exception that ended a task before the stop, if any. A task that returns has finished its work."""
    running: set[asyncio.Future[None] | asyncio.Task[bool]] = {*tasks, stopped}
    while not stopped.done():
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopped}:
            if (failure := task.exception()) is not None:
                return failure
    return None


async def _cancel(tasks: Sequence[asyncio.Future[None] | asyncio.Task[bool]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
