"""The edge pipeline: sample → id → buffer → message → uplink. Ids are minted before buffering, and retries reuse them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass

from edge_sender.batcher import Batcher, BatchLimits
from edge_sender.identity import IdentityRules, NoIdentityError, Sample
from edge_sender.ports import Source, Uplink, UplinkError
from edge_sender.readings import Message, Reading, make_reading

logger = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class SenderOptions:
    rules: IdentityRules
    event_type: str
    batch: BatchLimits
    buffer_readings: int
    """Readings kept in memory while the uplink is down; then the oldest are dropped, and counted."""
    max_in_flight: int


@dataclass(slots=True)
class Counters:
    readings: int = 0
    without_identity: int = 0
    dropped_by_full_buffer: int = 0
    refused: int = 0
    sent_readings: int = 0
    sent_messages: int = 0
    retries: int = 0


class Sender:
    def __init__(self, options: SenderOptions, source: Source, uplink: Uplink, monotonic: Callable[[], float]) -> None:
        self.counters = Counters()
        self._options = options
        self._source = source
        self._uplink = uplink
        self._monotonic = monotonic
        self._buffer: deque[Reading] = deque()
        self._batcher = Batcher(options.batch)
        self._outbox: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(options.max_in_flight)
        self._uplink_down = False

    def on_sample(self, sample: Sample) -> None:
        try:
            reading = make_reading(sample, self._options.rules, self._options.event_type)
        except (NoIdentityError, ValueError, RecursionError) as error:
            self.counters.without_identity += 1
            if self.counters.without_identity == 1:
                logger.warning("a reading can't be sent, and others like it will only be counted: %s", error)
            return
        self.counters.readings += 1
        if len(self._buffer) >= self._options.buffer_readings:
            self._buffer.popleft()
            self.counters.dropped_by_full_buffer += 1
        self._buffer.append(reading)
        self._arrived.set()

    async def run(self, stop: asyncio.Event, flush_seconds: float) -> None:
        """Until `stop`; then what is buffered is sent, for at most `flush_seconds`."""
        work = asyncio.create_task(self._work())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        work.cancel()
        failure = (await asyncio.gather(work, return_exceptions=True))[0]
        try:
            await self._source.close()
        finally:
            await self._flush_within(flush_seconds)
            await self._uplink.close()
        logger.info("stopped: %s", asdict(self.counters))
        if isinstance(failure, Exception):
            raise failure

    async def _flush_within(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._flush(), seconds)
        except TimeoutError:
            logger.warning("stopped with %d readings that the hub has not acknowledged", self._unsent())

    async def _work(self) -> None:
        """Readings are taken and buffered before the uplink is up: an uplink that is late loses nothing."""
        await asyncio.gather(self._source.start(self.on_sample), self._connect())
        while True:
            await self._wait_for_work()
            await self._drain()

    def _unsent(self) -> int:
        return self.counters.readings - self.counters.sent_readings - self.counters.refused

    async def _connect(self) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            try:
                await self._uplink.connect()
                self._note_uplink(None)
                return
            except UplinkError as error:
                self._note_uplink(error)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)

    async def _wait_for_work(self) -> None:
        deadline = self._batcher.deadline
        timeout = None if deadline is None else max(0.0, deadline - self._monotonic())
        try:
            await asyncio.wait_for(self._arrived.wait(), timeout)
        except TimeoutError:
            return
        self._arrived.clear()

    async def _drain(self) -> None:
        """Start the messages that are complete. Readings stay in the bounded buffer until the uplink has a free slot."""
        while self._fill_outbox():
            await self._slots.acquire()
            task = asyncio.create_task(self._deliver(self._outbox.popleft()))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    def _fill_outbox(self) -> bool:
        now = self._monotonic()
        while self._buffer and not self._outbox:
            self._outbox += self._batcher.add(self._buffer.popleft(), now)
        if not self._outbox:
            self._outbox += self._batcher.due(now)
        return bool(self._outbox)

    async def _deliver(self, message: Message) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        try:
            while True:
                try:
                    await self._uplink.send(message)
                except UplinkError as error:
                    self._note_uplink(error)
                    self.counters.retries += 1
                    await asyncio.sleep(backoff)
                    backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
                else:
                    self._note_uplink(None)
                    self.counters.sent_messages += 1
                    self.counters.sent_readings += message.readings
                    return
        except Exception as error:  # noqa: BLE001  # refused, or a defect: either way it is not silently gone
            self.counters.refused += message.readings
            logger.warning("a message of %d readings can't be sent and is given up: %s", message.readings, error)
        finally:
            self._slots.release()

    def _note_uplink(self, error: UplinkError | None) -> None:
        """Log changes of state, not every failure."""
        if error is not None and not self._uplink_down:
            logger.warning("the uplink is down, readings are buffered: %s", error)
        elif error is None and self._uplink_down:
            logger.info("the uplink is back")
        self._uplink_down = error is not None

    async def _flush(self) -> None:
        await self._drain()
        self._outbox += self._batcher.flush()
        await self._drain()
        while self._in_flight:
            await asyncio.wait(self._in_flight)
