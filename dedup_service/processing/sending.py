"""Sends what a batch becomes: clean events once, dead letters at least once."""

from __future__ import annotations

import asyncio
from functools import partial

from dedup_service.core.claims import Verdict
from dedup_service.core.clean_events import PLAIN, CleanEvent, PublishFlags, clean_events, forwarded, split
from dedup_service.core.dead_letters import (
    ORIGINAL_SIZE_PROPERTY,
    can_shrink,
    truncated,
    undeliverable,
    without_senders_properties,
)
from dedup_service.core.leases import Lease
from dedup_service.core.outgoing import OutgoingEvent, OutputPolicy, halves
from dedup_service.errors import (
    TOO_LARGE,
    UNSUPPORTED_PROPERTY,
    Dependency,
    DependencyKind,
    UnavailableError,
    UndeliverableError,
)
from dedup_service.ports.hubs import Publisher
from dedup_service.processing.event_work import EventWork
from dedup_service.processing.resolving import FOUND, PUBLISHED, Published, Resolver, outcome_of
from dedup_service.processing.shared import Shared
from dedup_service.telemetry import Count, Telemetry
from dedup_service.waiting import Retrier

DEAD_LETTER_HUB = Dependency(DependencyKind.DEAD_LETTER_HUB)

Queue = list[tuple[EventWork, CleanEvent]]


def clean_events_of(item: EventWork, forward_to: OutputPolicy | None) -> list[CleanEvent]:
    """What one input event becomes on the clean stream."""
    group = item.group
    if item.forwarded:
        policy = forward_to if group is None else group.output
        if policy is None or (group is not None and item.is_observed):
            return []
        return [forwarded(item.event, policy, item.origin_text)]
    if group is None or item.is_observed or (group.mode == "drop" and Verdict.WINNER not in item.verdicts):
        return []
    late = item.request.late if item.request is not None else frozenset()
    render = partial(clean_events, item.event, item.extraction, policy=group.output, origin=item.origin_text)
    events = render(item.winners, flags=PublishFlags(late) if late else PLAIN)
    if group.mode == "mark":
        shown = (Verdict.DUPLICATE,) if group.on_conflict == "dead-letter" else (Verdict.DUPLICATE, Verdict.CONFLICT)
        events += render(item.with_verdict(*shown), flags=PublishFlags(late, duplicate=True))
    return events


class CleanSender:
    """One partition's sends to the clean hub. Each of them needs the lease, and an ambiguous one is never simply
    repeated."""

    def __init__(self, publisher: Publisher, shared: Shared, retrier: Retrier, resolver: Resolver, lease: Lease) -> None:
        self._publisher = publisher
        self._shared = shared
        self._clock = shared.ports.clock
        self._telemetry = shared.ports.telemetry
        self._retrier = retrier
        self._resolver = resolver
        self._lease = lease

    async def send(self, work: list[EventWork]) -> None:
        """Sends to different output partitions in parallel. What the hub never accepts is added to its event's dead
        letters."""
        queues: dict[str, Queue] = {}
        for item in work:
            for clean in self._clean_events_of(item):
                queues.setdefault(clean.output_partition, []).append((item, clean))
        sends = [self._send_queue(partition, queue) for partition, queue in queues.items()]
        # Not a TaskGroup: one partition that gives up must not cancel another's send half-way.
        for result in await asyncio.gather(*sends, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result

    def _clean_events_of(self, item: EventWork) -> list[CleanEvent]:
        try:
            return clean_events_of(item, self._shared.forward_to)
        except Exception as error:  # noqa: BLE001  # see give_up
            self._shared.give_up(item, error)
            return []

    def _permit(self, seconds: float) -> float:
        """Asked after all waiting: other partitions' sends to the same output partition may have taken long. Returns what a
        pod that leaves has left."""
        self._lease.require(self._clock.monotonic(), seconds)
        return self._retrier.raise_if_overdue()

    async def _send_queue(self, partition: str, queue: Queue) -> None:
        failed: UnavailableError | None = None
        while queue:
            self._retrier.raise_if_overdue()
            events = [clean.event for _, clean in queue]
            attempt = partial(self._publisher.publish, partition, events, self._permit)
            self._shared.newest_sample.is_behind = True
            try:
                sent = await self._retrier.run(attempt, repeat_ambiguous=False)
            except UndeliverableError as error:
                item, clean = queue.pop(0)
                if error.reason == TOO_LARGE and (smaller := split(clean)):
                    queue[:0] = [(item, half) for half in smaller]
                else:
                    item.dead.append((error.reason, undeliverable(clean, error.reason, error.detail)))
            except UnavailableError as error:  # ambiguous: never straight to a retry
                failed = error
                self._retrier.raise_if_overdue()  # the next owner looks it up
                self._drop_published(queue, await self._resolver.published_by_this_process(partition))
            else:
                self._acknowledged(queue[:sent])
                del queue[:sent]
        if failed is not None:
            self._telemetry.available(failed.dependency)

    def _drop_published(self, queue: Queue, published: Published) -> None:
        remaining: Queue = []
        for item, clean in queue:
            outcome = outcome_of(item.origin(clean.readings[0]), [published]) if clean.readings else PUBLISHED
            self._telemetry.add(Count.IN_DOUBT, len(clean.readings), outcome)
            if outcome == FOUND:
                self._acknowledged([(item, clean)])
            else:
                remaining.append((item, clean))
        queue[:] = remaining

    def _acknowledged(self, queue: Queue) -> None:
        for item, clean in queue:
            item.published.update([reading.index for reading in clean.readings])
        self._telemetry.add(Count.CLEAN_EVENTS, len(queue))
        self._telemetry.add(Count.CLEAN_READINGS, sum([clean.event.readings for _, clean in queue]))


async def send_dead_letters(
    publisher: Publisher, partition: str, work: list[EventWork], retrier: Retrier, telemetry: Telemetry
) -> None:
    """Cuts a letter that is too large for the hub until it fits, and sends one with a property that can't be encoded without
    its sender's properties. Any other refusal is treated as an unavailable hub."""

    async def publish(batch: list[OutgoingEvent]) -> int:
        try:
            return await publisher.publish(partition, batch, lambda _: retrier.raise_if_overdue())
        except UndeliverableError as error:
            if _can_be_reduced(batch[0], error.reason):
                raise
            raise UnavailableError(DEAD_LETTER_HUB, f"it does not accept a dead letter ({error})") from error

    letters: list[tuple[EventWork, OutgoingEvent]] = [(item, letter) for item in work for _, letter in item.dead]
    while letters:
        retrier.raise_if_overdue()
        batch = [letter for _, letter in letters]
        try:
            sent = await retrier.run(partial(publish, batch))
        except UndeliverableError as error:
            item, letter = letters[0]
            letters[:1] = [(item, reduced) for reduced in _reduced(item, letter, error.reason, telemetry)]
        else:
            del letters[:sent]


def _can_be_reduced(letter: OutgoingEvent, reason: str) -> bool:
    if reason == UNSUPPORTED_PROPERTY:
        return without_senders_properties(letter) != letter
    return reason == TOO_LARGE and can_shrink(letter)


def _reduced(item: EventWork, letter: OutgoingEvent, reason: str, telemetry: Telemetry) -> list[OutgoingEvent]:
    """What is sent in place of a letter that the hub can't take."""
    if reason == UNSUPPORTED_PROPERTY:
        return [without_senders_properties(letter)]
    if smaller := halves(letter):
        return smaller
    if ORIGINAL_SIZE_PROPERTY not in letter.properties:
        telemetry.dead_letter_truncated(item.origin_text, len(letter.body))
    return [truncated(letter)]
