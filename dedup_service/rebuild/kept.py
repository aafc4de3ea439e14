"""Looks how long the clean hubs keep their events; core/clean_retention.py says what follows from it."""

from __future__ import annotations

import random
from collections.abc import Iterable

from dedup_service.core.clean_retention import ASKED, by_output, partitions_to_look_at
from dedup_service.errors import ShutOutError
from dedup_service.ports.clock import Clock
from dedup_service.ports.hubs import CleanTail, StartPosition

WAIT_SECONDS = 1.0
READING_SECONDS = 10.0
"""A partition whose oldest event has not come by then says nothing."""


async def ages_of_oldest(tail: CleanTail, partition_ids: Iterable[str], clock: Clock) -> dict[str, int]:
    """The age in ms of the oldest event, by clean partition of which events have expired; only some of each hub's, chosen at
    random, since every pod asks at its start, and each question is a connection. Disturbs no other reader: a partition that
    others have says nothing.

    Raises UnavailableError.
    """
    kept = {}
    asked = [name for names in by_output(partition_ids).values() for name in random.sample(names, min(ASKED, len(names)))]
    for partition_id in asked:  # one after the other, since there is no hurry and each has its own connection
        state = await tail.partition_state(partition_id)
        if state.first_sequence_number > 0:
            kept[partition_id] = state.last_sequence_number - state.first_sequence_number + 1
    ages = {}
    for partition_id in partitions_to_look_at(kept):
        enqueued_ms = await _oldest_ms(tail, partition_id, clock)
        if enqueued_ms is not None:
            ages[partition_id] = clock.now_ms() - enqueued_ms
    return ages


async def _oldest_ms(tail: CleanTail, partition_id: str, clock: Clock) -> int | None:
    until = clock.monotonic() + READING_SECONDS
    reader = tail.open_reader(partition_id, StartPosition())
    try:
        while clock.monotonic() < until:
            if events := await reader.read(WAIT_SECONDS):
                return events[0].enqueued_ms
    except ShutOutError:
        return None
    finally:
        reader.close()
    return None
