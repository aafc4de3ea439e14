"""How long a clean hub keeps its events is told by its oldest ones, where some have expired; others' readers stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from dedup_service.core.clean_retention import ASKED
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.errors import ShutOutError, UnavailableError
from dedup_service.ports.hubs import PartitionState, StartPosition
from dedup_service.rebuild.kept import ages_of_oldest
from tests.doubles.memory import MemoryClock, MemoryPublisher
from tests.support.shared import CLEAN_HUB_READING

EVENT = OutgoingEvent(b"{}", None, None, None, None, {}, 0)


def hub_of(expired: int) -> MemoryPublisher:
    """Each of its partitions got six events, one a minute, the last one just now."""
    hub = MemoryPublisher({name: [EVENT] * 6 for name in "01"}, MemoryClock(), expired=expired)
    for name in "01":
        hub.times[name] = [hub.clock.now_ms() - 60_000 * (5 - n) for n in range(6)]
    return hub


@pytest.mark.parametrize(("expired", "minutes"), [(0, None), (2, 3), (5, 0), (6, None)])
async def test_the_oldest_event_counts_where_others_have_expired(expired: int, minutes: int | None) -> None:
    hub = hub_of(expired)
    expected = {} if minutes is None else {"0": 60_000 * minutes, "1": 60_000 * minutes}
    assert await ages_of_oldest(hub, ["0", "1"], hub.clock) == expected


@dataclass(slots=True)
class RefusingReader:
    error: UnavailableError | None
    clock: MemoryClock
    closed: int = 0

    async def read(self, max_wait_seconds: float) -> list[Any]:
        if self.error is not None:
            raise self.error
        await self.clock.sleep(max_wait_seconds)
        return []

    def close(self) -> None:
        self.closed += 1


class RefusingHub(MemoryPublisher):
    reader: RefusingReader

    def open_reader(self, partition_id: str, start: StartPosition, *, by_force: bool = False) -> Any:
        assert not by_force
        return self.reader


def refusing(error: UnavailableError | None) -> tuple[RefusingHub, RefusingReader]:
    made, clock = hub_of(2), MemoryClock()
    hub = RefusingHub(made.partitions, clock, made.times, expired=2)
    hub.reader = RefusingReader(error, clock)
    return hub, hub.reader


async def test_a_partition_that_others_read_or_that_delivers_nothing_says_nothing() -> None:
    for error in (ShutOutError(CLEAN_HUB_READING, "others"), None):
        hub, reader = refusing(error)
        assert await ages_of_oldest(hub, ["0", "1"], hub.clock) == {}
        assert reader.closed == 2


async def test_a_hub_that_is_away_is_an_error() -> None:
    hub, reader = refusing(UnavailableError(CLEAN_HUB_READING, "away"))
    with pytest.raises(UnavailableError):
        await ages_of_oldest(hub, ["0"], hub.clock)
    assert reader.closed == 1


class CountingHub(MemoryPublisher):
    asked: int = 0

    async def partition_state(self, partition_id: str) -> PartitionState:
        CountingHub.asked += 1
        return await super().partition_state(partition_id)


@pytest.mark.parametrize("partitions", [2, 100])
async def test_each_pod_asks_about_a_few_partitions_of_each_hub(partitions: int) -> None:
    names = [f"{output}{n}" for output in ("", "ovens:") for n in range(partitions)]
    hub, CountingHub.asked = CountingHub({name: [] for name in names}, MemoryClock()), 0
    assert await ages_of_oldest(hub, names, hub.clock) == {}
    assert CountingHub.asked == 2 * min(ASKED, partitions)
