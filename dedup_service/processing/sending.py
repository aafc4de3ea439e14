"""Sending the clean events and the dead letters of a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from dedup_service.core.clean_events import CleanEvent, split
from dedup_service.core.dead_letters import ORIGINAL_SIZE_PROPERTY, truncated, undeliverable
from dedup_service.core.events import Origin
from dedup_service.core.outgoing import OutgoingEvent, halves, origin_text
from dedup_service.errors import UnavailableError, UndeliverableError
from dedup_service.ports import Publisher
from dedup_service.processing.event_work import EventWork
from dedup_service.telemetry import Count, Telemetry
from dedup_service.waiting import Retrier

Permit = Callable[[float], None]
PublishedNow = Callable[[str], Awaitable[set[Origin]]]
Queue = list[tuple[EventWork, CleanEvent]]


class CleanSender:
    """One partition's sends to the clean hub. `permit` raises when the lease does not allow a send of so many seconds;
    `published_now` asks the clean stream after an ambiguous one."""

    def __init__(
        self, publisher: Publisher, retrier: Retrier, telemetry: Telemetry, permit: Permit, published_now: PublishedNow
    ) -> None:
        self._publisher = publisher
        self._retrier = retrier
        self._telemetry = telemetry
        self._permit = permit
        self._published_now = published_now

    async def send(self, queues: dict[str, Queue], incarnation: int) -> None:
        """Different output partitions in parallel. What the hub never takes is added to its event's dead letters."""
        sends = [self._send_queue(partition, queue, incarnation) for partition, queue in queues.items()]
        # Not a TaskGroup: one partition that gives up must not cancel another's send half-way.
        for result in await asyncio.gather(*sends, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    async def _send_queue(self, partition: str, queue: Queue, incarnation: int) -> None:
        failed: str | None = None
        while queue:
            events = [clean.event for _, clean in queue]
            attempt = partial(self._publisher.publish, partition, events, self._permit)
            try:
                sent = await self._retrier.run(attempt, repeat_ambiguous=False)
            except UndeliverableError as error:
                item, clean = queue.pop(0)
                if smaller := split(clean):
                    queue[:0] = [(item, half) for half in smaller]
                else:
                    item.dead.append((error.reason, undeliverable(clean, error.reason, error.detail)))
            except UnavailableError as error:  # ambiguous: never straight to a retry
                failed = error.what
                self._drop_published(queue, await self._published_now(partition), incarnation)
            else:
                for item, clean in queue[:sent]:
                    self._acknowledged(item, clean)
                del queue[:sent]
        if failed is not None:
            self._telemetry.available(failed)

    def _drop_published(self, queue: Queue, published: set[Origin], incarnation: int) -> None:
        remaining: Queue = []
        for item, clean in queue:
            doubtful = bool(clean.readings)
            if doubtful and item.origin(incarnation, clean.readings[0]) in published:
                self._acknowledged(item, clean)
                self._telemetry.add(Count.IN_DOUBT, len(clean.readings), "found")
            else:
                self._telemetry.add(Count.IN_DOUBT, len(clean.readings), "published")
                remaining.append((item, clean))
        queue[:] = remaining

    def _acknowledged(self, item: EventWork, clean: CleanEvent) -> None:
        item.published.update(reading.index for reading in clean.readings)
        self._telemetry.add(Count.CLEAN_EVENTS)
        self._telemetry.add(Count.CLEAN_READINGS, clean.event.readings)


async def send_dead_letters(
    publisher: Publisher, partition: str, work: list[EventWork], retrier: Retrier, telemetry: Telemetry, incarnation: int
) -> None:
    """At least once. A letter that the hub does not take is cut until it does."""
    letters: list[tuple[EventWork, OutgoingEvent]] = [(item, letter) for item in work for _, letter in item.dead]
    while letters:
        batch = [letter for _, letter in letters]
        try:
            sent = await retrier.run(partial(publisher.publish, partition, batch))
        except UndeliverableError:
            item, letter = letters[0]
            if smaller := halves(letter):
                letters[:1] = [(item, half) for half in smaller]
                continue
            if ORIGINAL_SIZE_PROPERTY not in letter.properties:
                telemetry.dead_letter_truncated(origin_text(item.event, incarnation), len(letter.body))
            letters[0] = (item, truncated(letter))
        else:
            del letters[:sent]
