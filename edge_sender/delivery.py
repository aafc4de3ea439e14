"""The way out: store → message → uplink, oldest first; what fails is sent again, with the same bytes."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from edge_sender.batcher import Batcher, Parcel
from edge_sender.counters import Counters
from edge_sender.ports import MessageRefusedError, Uplink, UplinkError
from edge_sender.store import Store

logger = logging.getLogger(__name__)

FIRST_BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 5.0


class Delivery:
    def __init__(
        self,
        store: Store,
        batcher: Batcher,
        uplink: Uplink,
        counters: Counters,
        monotonic: Callable[[], float],
        max_in_flight: int,
    ) -> None:
        self.uplink_is_up = True
        """False from a failure to the next success."""
        self._store = store
        self._batcher = batcher
        self._uplink = uplink
        self._counters = counters
        self._monotonic = monotonic
        self._outbox: deque[Parcel] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(max_in_flight)
        self._one_at_a_time = asyncio.Lock()
        self._backoff = FIRST_BACKOFF_SECONDS

    async def run(self) -> None:
        await self._connect()
        while True:
            await self._wait_for_work()
            await self._start_complete()

    async def flush(self) -> None:
        """Send everything that the store has, and wait for the acknowledgements."""
        await self._start_complete()
        self._outbox += self._batcher.flush()
        await self._start_complete()
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    async def close(self) -> None:
        for task in tuple(self._in_flight):
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        await self._uplink.close()

    async def _connect(self) -> None:
        while True:
            try:
                await self._uplink.connect()
                self._note_uplink(None)
                return
            except UplinkError as error:
                self._note_uplink(error)
                await asyncio.sleep(self._next_backoff())

    async def _wait_for_work(self) -> None:
        deadline = self._batcher.deadline
        timeout = None if deadline is None else max(0.0, deadline - self._monotonic())
        try:
            async with asyncio.timeout(timeout):  # wait_for would lose a cancellation that comes with the event
                await self._store.committed.wait()
        except TimeoutError:
            return
        self._store.committed.clear()

    async def _start_complete(self) -> None:
        """Send the messages that are complete. Readings stay in the store until a message may be under way."""
        while await self._fill_outbox():
            await self._slots.acquire()
            task = asyncio.create_task(self._deliver(self._outbox.popleft()))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    async def _fill_outbox(self) -> bool:
        while not self._outbox and (found := await self._store.next()) is not None:
            row, reading = found
            self._outbox += self._batcher.add(reading, row, self._monotonic())
        if not self._outbox:
            self._outbox += self._batcher.due(self._monotonic())
        return bool(self._outbox)

    async def _deliver(self, parcel: Parcel) -> None:
        try:
            await self._send_until_acknowledged(parcel)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # refused, or a defect: either way it is not silently gone
            self._counters.dropped["refused"] += parcel.message.readings
            if not isinstance(error, MessageRefusedError):
                logger.exception("a defect")
            logger.warning("a message of %d readings can't be sent and is given up: %s", parcel.message.readings, error)
        else:
            self._counters.sent_messages += 1
            self._counters.sent_readings += parcel.message.readings
            self._counters.sent_bytes += len(parcel.message.body)
        finally:
            self._slots.release()
        if parcel.rows is not None:
            self._store.acknowledge(parcel.rows)

    async def _send_until_acknowledged(self, parcel: Parcel) -> None:
        while True:
            try:
                await self._attempt(parcel)
                self._note_uplink(None)
                return
            except UplinkError as error:
                self._counters.retries += 1
                self._note_uplink(error)

    async def _attempt(self, parcel: Parcel) -> None:
        """While the uplink is down one message tries whether it is back, and the others wait."""
        if self.uplink_is_up:
            await self._uplink.send(parcel.message)
            return
        async with self._one_at_a_time:
            if not self.uplink_is_up:
                await asyncio.sleep(self._next_backoff())
            await self._uplink.send(parcel.message)
            self._note_uplink(None)

    def _next_backoff(self) -> float:
        seconds, self._backoff = self._backoff, min(self._backoff * 2, MAX_BACKOFF_SECONDS)
        return seconds

    def _note_uplink(self, error: UplinkError | None) -> None:
        """Log changes of state, not every failure."""
        if error is not None and self.uplink_is_up:
            logger.warning("the uplink is down, readings are kept: %s", error)
        elif error is None and not self.uplink_is_up:
            logger.info("the uplink is back")
        self.uplink_is_up = error is None
        if error is None:
            self._backoff = FIRST_BACKOFF_SECONDS
