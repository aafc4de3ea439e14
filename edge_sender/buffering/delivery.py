"""The way out: store → message → uplink, oldest first. A message that fails is sent again with the same bytes."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections import deque
from dataclasses import replace

from edge_sender.buffering.backoff import Backoff
from edge_sender.buffering.batcher import Batcher, Parcel
from edge_sender.buffering.store import Store
from edge_sender.counters import Counters
from edge_sender.ports import Clocks, MessageRefusedError, Uplink, UplinkError

logger = logging.getLogger(__name__)

LATE_SECONDS = 1.0
LATE_SHARE = 3.0
"""An acknowledgement is late after so long, and after so many times what the slowest of the last ones took."""
FORGETTING = 0.9
"""How much of that is remembered with each acknowledgement."""
MAX_DEFECTS = 10
"""A message is given up after this many unexpected errors."""


class TooOldError(Exception):
    """The message has waited longer than the spool's age limit."""


class Delivery:
    def __init__(
        self,
        store: Store,
        batcher: Batcher,
        uplink: Uplink,
        counters: Counters,
        clocks: Clocks,
        max_in_flight: int,
    ) -> None:
        self.uplink_is_up = True
        """False from a failure until the next success."""
        self._store = store
        self._batcher = batcher
        self._uplink = uplink
        self._counters = counters
        self._monotonic = clocks.monotonic
        self.max_in_flight = max_in_flight
        self._outbox: deque[Parcel] = deque()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._backoff = Backoff(clocks.monotonic, random.random)
        self._connected = asyncio.Event()
        self._staying: asyncio.Task[None] | None = None
        self._waiting_since: dict[int, float] = {}
        """By number of the send: when it began, if it is not acknowledged yet."""
        self._sends = itertools.count()
        self._usual_seconds = 0.0

    @property
    def can_send(self) -> bool:
        """False already when an acknowledgement is late, long before the time-out of sends. Peers are told, since one of
        them may be able to send, and is not needed for long if it was only late."""
        return self.uplink_is_up and not self._is_late()

    def _is_late(self) -> bool:
        oldest = min(self._waiting_since.values(), default=None)
        patience = max(LATE_SECONDS, LATE_SHARE * self._usual_seconds)
        return oldest is not None and self._monotonic() - oldest > patience

    async def run(self) -> None:
        self._staying = asyncio.create_task(self._stay_connected())
        await self._connected.wait()
        while True:
            await self._wait_for_work()
            await self._start_complete()

    async def flush(self) -> None:
        """Send everything in the store, and wait for the acknowledgements."""
        await self._start_complete()
        self._outbox += self._batcher.flush()
        await self._start_complete()
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    async def close(self) -> None:
        tasks = [*self._in_flight, *([] if self._staying is None else [self._staying])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._uplink.close()

    async def _stay_connected(self) -> None:
        """Also while there is nothing to send: peers are told whether this gateway could, and a module hears its inputs."""
        while True:
            try:
                await self._uplink.connect()
                self._connected.set()
                self._note_uplink(None)
                await self._uplink.lost()
                self._note_uplink(UplinkError("the connection is lost"))
            except UplinkError as error:
                self._note_uplink(error)
            except Exception as error:  # a defect in a library or here: it may pass
                logger.exception("connecting failed with an unexpected error")
                self._note_uplink(UplinkError(repr(error)))
            self._connected.clear()
            await asyncio.sleep(self._backoff.pause())

    async def _wait_for_work(self) -> None:
        deadline = self._batcher.deadline
        timeout = None if deadline is None else max(0.0, deadline - self._monotonic())
        try:
            async with asyncio.timeout(timeout):  # wait_for would lose a cancellation that arrives with the event
                await self._store.committed.wait()
        except TimeoutError:
            return
        self._store.committed.clear()

    async def _start_complete(self) -> None:
        """Start sending the messages that are complete. Other readings stay in the store until they can be sent."""
        while await self._fill_outbox():
            while len(self._in_flight) >= self.max_in_flight:
                await asyncio.wait(self._in_flight, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self._deliver(self._outbox.popleft()))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    async def _fill_outbox(self) -> bool:
        while not self._outbox and (item := await self._store.next()) is not None:
            place, reading = item
            self._outbox += self._batcher.add(reading, place, self._monotonic())
        if not self._outbox:
            self._outbox += self._batcher.due(self._monotonic())
        return bool(self._outbox)

    async def _deliver(self, parcel: Parcel) -> None:
        is_given_up = True
        try:
            await self._send_until_acknowledged(parcel)
        except MessageRefusedError as error:
            self._counters.dropped["refused"] += parcel.message.readings
            logger.warning("a message of %d readings can't be sent and is given up: %s", parcel.message.readings, error)
        except TooOldError:
            self._counters.dropped["too-old"] += parcel.message.readings
        else:
            if not self._counters.sent_messages:
                logger.info(
                    "readings flow: the hub has acknowledged the first message (%d readings)", parcel.message.readings
                )
            is_given_up = False
            self._counters.sent_messages += 1
            self._counters.sent_readings += parcel.message.readings
            self._counters.sent_bytes += len(parcel.message.body)
        if parcel.rows is not None:
            self._store.acknowledge(replace(parcel.rows, is_given_up=is_given_up))

    async def _send_until_acknowledged(self, parcel: Parcel) -> None:
        """Raises MessageRefusedError, TooOldError."""
        defects = 0
        while True:
            try:
                await self._attempt(parcel)
                self._note_uplink(None)
                self._backoff.over()
                return
            except (MessageRefusedError, TooOldError):
                raise
            except UplinkError as error:
                self._note_uplink(error)
            except Exception as error:  # a defect in a library or here: the readings may still be good
                defects += 1
                logger.exception("a send failed with an unexpected error")
                if defects == MAX_DEFECTS:
                    raise MessageRefusedError(repr(error)) from error
                self._note_uplink(UplinkError(repr(error)))
            self._counters.retries += 1

    async def _attempt(self, parcel: Parcel) -> None:
        """While the uplink is down, one message at a time probes whether it is back, and the others wait."""
        if self.uplink_is_up:
            await self._send(parcel)
            return
        async with self._one_at_a_time:
            await self._connected.wait()
            if not self.uplink_is_up:
                await asyncio.sleep(self._backoff.pause())
            await self._send(parcel)
            self._note_uplink(None)

    async def _send(self, parcel: Parcel) -> None:
        """Raises TooOldError for a message that waited too long: a service that has forgotten it would publish it again."""
        if parcel.oldest is not None and self._store.is_too_old(parcel.oldest):
            raise TooOldError
        number, began = next(self._sends), self._monotonic()
        self._waiting_since[number] = began
        try:
            await self._uplink.send(parcel.message)
        finally:
            del self._waiting_since[number]
        self._usual_seconds = max(FORGETTING * self._usual_seconds, self._monotonic() - began)

    def _note_uplink(self, error: UplinkError | None) -> None:
        """Log changes of state, not every failure."""
        if error is not None and self.uplink_is_up:
            logger.warning("the uplink is down, readings are kept: %s", error)
        elif error is None and not self.uplink_is_up:
            logger.info("the uplink is back")
        self.uplink_is_up = error is None
