"""Synthetic sources, and times: what replicas make of them is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from edge_sender.sources.synthetic import SyntheticSource
from tests.doubles.intake import ListIntake
from wire.ids import Sample
from wire.times import TimeFormat, parse_time


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_replicas_make_the_same_synthetic_readings_at_different_moments() -> None:
    """One replica reads the clock rarely, the other often."""
    runs: list[list[Sample]] = []
    for step in (2.0, 7.3):
        now, intake = [1000.0], ListIntake()

        def clock(now: list[float] = now, step: float = step) -> int:
            now[0] += step / 2
            return round(now[0] * 1e9)

        running = asyncio.create_task(SyntheticSource("s", "urn:s:", 2, 0.5, clock).run(intake))
        await until(lambda intake=intake: len(intake.samples) >= 80)  # type: ignore[misc]  # binds the loop's value
        running.cancel()
        runs.append([sample for sample in intake.samples if 2020 <= sample.data["sequence"] < 2026])
    assert runs[0] == runs[1]
    assert len(runs[0]) == 12


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        ("1970-01-01T00:00:01.123456789Z", "rfc3339", 1_123_456_789),
        ("1970-01-01T01:00:00+01:00", "rfc3339", 0),
        (1.5, "s", 1_500_000_000),
        ("1700000000.123456789", "s", 1_700_000_000_123_456_789),
        (1_700_000_000_123, "ms", 1_700_000_000_123_000_000),
        (5, "us", 5000),
        (7, "ns", 7),
    ],
)
def test_times_are_exact(value: object, form: TimeFormat, expected: int) -> None:
    assert parse_time(value, form) == expected


@pytest.mark.parametrize(
    ("value", "form"), [("x", "s"), (None, "s"), (True, "s"), ("NaN", "s"), ("soon", "rfc3339"), ("", "ms")]
)
def test_what_is_not_a_time_is_refused(value: object, form: TimeFormat) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time(value, form)
