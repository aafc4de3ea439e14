"""What is counted of a batch once it is finished, and examples for people who look into it.

An example says who, what and when, with hashes and sizes; it never holds a payload.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from dedup_service.core.claims import Claim, Verdict
from dedup_service.core.events import Reading
from dedup_service.core.examples import ConflictExample, DeadLetterExample
from dedup_service.core.groups import Group
from dedup_service.core.outgoing import ORIGIN_PROPERTY, OutgoingEvent
from dedup_service.processing.event_work import EventWork
from dedup_service.telemetry import DEAD_LETTER, Count, Telemetry


def count_finished(work: list[EventWork], telemetry: Telemetry) -> None:
    telemetry.add(Count.INPUT_EVENTS, len(work))
    by_sender: dict[tuple[str, str], list[Verdict]] = defaultdict(list)
    for item in work:
        if item.ignored is not None:
            telemetry.add(Count.IGNORED, label=item.ignored)
        for what in item.extraction.not_readings:
            telemetry.add(Count.NOT_READINGS, label=what)
        if item.looks_like is not None:
            telemetry.recognised[item.looks_like] += 1
        for reason, letter in item.dead:
            telemetry.add(Count.DEAD_LETTERED, letter.readings, reason)
            telemetry.add_example(DEAD_LETTER, **dead_letter_example(item, reason, letter))
        if item.group is not None:
            if item.beyond_limits:
                telemetry.add(Count.BEYOND_LIMITS, item.beyond_limits, item.replica)
            if item.unreadable_times:
                telemetry.add(Count.TIMES_UNREADABLE, item.unreadable_times, item.group.name)
            by_sender[item.group.name, item.replica] += item.verdicts
    for (group, replica), verdicts in by_sender.items():
        _count_copies(group, replica, Counter(verdicts), telemetry)


def _count_copies(group: str, replica: str, verdicts: Counter[Verdict], telemetry: Telemetry) -> None:
    copies, winners = verdicts.total(), verdicts[Verdict.WINNER]
    duplicates = verdicts[Verdict.DUPLICATE] + verdicts[Verdict.CONFLICT]
    telemetry.finished(group, copies=copies, readings=winners, duplicates=duplicates)
    telemetry.add(Count.COPIES, copies, replica)
    telemetry.add(Count.WINNERS, winners, replica)
    telemetry.add(Count.DUPLICATES, duplicates, replica)
    telemetry.add(Count.CONFLICTS, verdicts[Verdict.CONFLICT], replica)
    telemetry.add(Count.REPLAYS, verdicts[Verdict.REPLAY] + verdicts[Verdict.FOUND])


def conflict_example(item: EventWork, group: Group, reading: Reading, winner: Claim) -> ConflictExample:
    return {
        "group": group.name,
        "source": reading.source,
        "id": reading.id,
        "replica": item.replica,
        "enqueued_ms": item.event.enqueued_ms,
        "content": reading.content_hash.hex(),
        "bytes": len(reading.raw),
        "winner_replicas": winner.replicas,
        "winner_enqueued_ms": winner.enqueued_ms,
        "winner_content": winner.content.hex(),
    }


def dead_letter_example(item: EventWork, reason: str, letter: OutgoingEvent) -> DeadLetterExample:
    return {
        "group": item.group.name if item.group is not None else "",
        "reason": reason,
        "replica": item.replica,
        "enqueued_ms": item.event.enqueued_ms,
        "origin": str(letter.properties.get(ORIGIN_PROPERTY, "")),
        "readings": letter.readings,
        "bytes": len(letter.body),
    }
