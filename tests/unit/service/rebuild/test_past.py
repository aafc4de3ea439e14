"""What was before a pod: it asks seldom, since every pod does, all at once when Redis has forgotten."""

from __future__ import annotations

import pytest

from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.ports.hubs import PartitionState
from dedup_service.rebuild.past import Past
from dedup_service.telemetry import Telemetry
from tests.doubles.memory import MemoryClock, MemoryPublisher

EVENT = OutgoingEvent(b"{}", None, None, None, None, {}, 0)


class Hub(MemoryPublisher):
    """Where only some partitions hold events; it notes about which it was asked."""

    def __init__(self, filled: set[int]) -> None:
        super().__init__({str(n): [EVENT] * (n in filled) for n in range(100)}, MemoryClock())
        for name, events in self.partitions.items():
            self.times[name] = [0] * len(events)
        self.asked: list[str] = []

    async def partition_state(self, partition_id: str) -> PartitionState:
        self.asked.append(partition_id)
        return await super().partition_state(partition_id)


@pytest.mark.parametrize(
    ("filled", "has_published", "questions"),
    [(set(range(100)), True, 1), ({0}, True, 1), ({77}, True, 100), (set(), False, 100)],
)
async def test_a_clean_hub_in_use_is_asked_about_one_partition(
    filled: set[int], has_published: bool, questions: int
) -> None:
    hub = Hub(filled)

    async def has_worked() -> bool:
        return True

    past = Past(has_worked, hub, list(hub.partitions), hub.clock, Telemetry())
    await past.ask()
    assert past.has_published is has_published
    assert len(hub.asked) == questions
    await past.ask()
    assert len(hub.asked) == (questions if has_published else 2 * questions)
