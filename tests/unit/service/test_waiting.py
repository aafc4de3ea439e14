"""How the service waits for what is away: it is soon back after a short outage, and bounded in a long one."""

from __future__ import annotations

import pytest

from dedup_service.errors import UnavailableError
from dedup_service.telemetry import PartitionFigures
from dedup_service.waiting import MAX_BACKOFF_SECONDS, Activity, Retrier, Stop
from tests.doubles.memory import INPUT_HUB, MemoryClock
from tests.support.plant import Plant

HOUR = 3600.0


async def attempts(outage: float) -> list[float]:
    """When an operation was tried, in seconds since the outage began; the last one succeeds."""
    clock, times = MemoryClock(), []
    began = clock.monotonic()

    async def operation() -> None:
        times.append(clock.monotonic() - began)
        if times[-1] < outage:
            raise UnavailableError(INPUT_HUB, "away")

    activity = Activity(clock, PartitionFigures())
    await Retrier(clock, Plant().telemetry, Stop(clock), activity).run(operation)
    return times


@pytest.mark.parametrize("outage", [0.1, 0.5, 1.0, 2.0, 4.0])
async def test_what_is_back_is_noticed_after_a_quarter_of_its_absence(outage: float) -> None:
    times = await attempts(outage)
    assert times[-1] - outage <= max(0.25 * outage, 0.1) + 0.001


async def test_what_stays_away_is_asked_a_bounded_number_of_times() -> None:
    assert len(await attempts(HOUR)) <= HOUR / MAX_BACKOFF_SECONDS + 30
