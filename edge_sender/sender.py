"""The sender: runs sources, store, delivery and election concurrently, and stops them in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass

from edge_sender.buffering.batcher import Batcher, BatchLimits
from edge_sender.buffering.delivery import Delivery
from edge_sender.buffering.inbox import Inbox, IntakeOptions, SourceIntake
from edge_sender.buffering.salvage import SpoolFile
from edge_sender.buffering.store import Store
from edge_sender.counters import Counters, SourceTally
from edge_sender.election import Election, ElectionOptions, Role
from edge_sender.identity.check import CheckedIntake, IdentityCheck
from edge_sender.identity.rules import IdentityRules
from edge_sender.ports import Clocks, Intake, Source, Uplink, Witness

logger = logging.getLogger(__name__)

NOTE_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class SenderOptions:
    intake: IntakeOptions
    commit_seconds: float
    batch: BatchLimits
    max_in_flight: int
    flush_seconds: float
    """How long to go on sending what is kept after the stop."""
    election: ElectionOptions | None = None
    """None: this replica always sends."""


@dataclass(frozen=True, slots=True)
class ConfiguredSource:
    source: Source
    rules: IdentityRules
    event_type: str
    check: IdentityCheck | None = None
    """Observes the samples, to find out whether the rules suit the source."""
    tally: SourceTally | None = None
    """Kept by sources that subscribe to variables of a server."""
    resumes: bool = False
    """Whether it begins where it was, for which it needs the spool."""

    def intake(self, inbox: Inbox, positions: Mapping[str, str]) -> Intake:
        intake = SourceIntake(inbox, self.source.name, self.rules, self.event_type, positions, self.tally or SourceTally())
        return intake if self.check is None else CheckedIntake(intake, self.check)


class Sender:
    """`witness` is needed with `options.election`."""

    def __init__(
        self,
        options: SenderOptions,
        sources: Sequence[ConfiguredSource],
        spool: SpoolFile,
        uplink: Uplink,
        clocks: Clocks,
        witness: Witness | None = None,
    ) -> None:
        monotonic = clocks.monotonic
        self.counters = Counters()
        self.sources = sources
        self.inbox = Inbox(options.intake, self.counters, monotonic, self._is_sending)
        self.store = Store(spool, self.inbox, self.counters, options.commit_seconds)
        batcher = Batcher(options.batch)
        self.delivery = Delivery(self.store, batcher, uplink, self.counters, clocks, options.max_in_flight)
        self.election: Election | None = None
        if options.election is not None and witness is not None:
            self.election = Election(
                options.election, witness, self.counters, monotonic, self._is_fit, self._is_ready, self.inbox.release
            )
        self._monotonic = monotonic
        self._overlap_seconds = options.intake.overlap_seconds
        self._reading_since = monotonic()
        self._flush_seconds = options.flush_seconds

    @property
    def role(self) -> Role:
        return Role.ACTIVE if self.election is None else self.election.role

    def _is_sending(self) -> bool:
        return self.election is None or self.election.is_sending()

    def _is_fit(self) -> bool:
        return self.delivery.uplink_is_up and all(item.source.is_up for item in self.sources)

    def _is_ready(self) -> bool:
        """Whether the readings that this replica holds back reach back over the whole overlap."""
        return self._monotonic() - self._reading_since >= self._overlap_seconds

    async def _note_reading(self) -> None:
        """Keep track of since when every source has been up without interruption."""
        while True:
            if not all(item.source.is_up for item in self.sources):
                self._reading_since = self._monotonic() + NOTE_SECONDS
            await asyncio.sleep(NOTE_SECONDS)

    async def run(self, stop: asyncio.Event, *others: Awaitable[None]) -> None:
        """Run until `stop`, end the sources, and send what is kept for at most `flush_seconds`. The rest stays in the spool.

        `others` run alongside, such as checks.
        """
        await self.store.open()
        await self.store.commit()  # drops what became too old while it was stopped, before anything is sent
        reading = [asyncio.ensure_future(work) for work in (*map(self._read, self.sources), *others)]
        keeping = [asyncio.create_task(self.store.run()), asyncio.create_task(self.delivery.run())]
        if self.election is not None:
            reading += [asyncio.create_task(self.election.run()), asyncio.create_task(self._note_reading())]
        stopped = asyncio.create_task(stop.wait())
        failure = await _first_failure([*reading, *keeping], stopped)
        await _cancel([*reading, stopped])
        try:
            if self.election is not None:
                await self.election.close()  # before anything slow: another replica should start at once
            await self.store.commit()
            await _cancel([keeping[1]])
            await self._flush()
        finally:
            await self._close(keeping[0])
        logger.info("stopped: %s; %d readings stay in the spool", self.counters.summary(), self.store.readings)
        if failure is not None:
            raise failure

    async def _read(self, item: ConfiguredSource) -> None:
        if item.resumes:
            await self.store.opened.wait()
        await item.source.run(item.intake(self.inbox, self.store.positions))
        logger.info("the source %s has nothing more to deliver", item.source.name)

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(self._flush_seconds):
                await self.delivery.flush()
        except TimeoutError:
            logger.warning("stopped before the hub acknowledged everything; the rest stays in the spool")

    async def _close(self, committing: asyncio.Task[None]) -> None:
        await self.delivery.close()
        await _cancel([committing])
        await self.store.close()


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
