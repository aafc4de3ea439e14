"""A hub that is away for a moment is found at once, and one that stays away is not overrun."""

from __future__ import annotations

import random

import pytest

from edge_sender.buffering.backoff import FIRST_SECONDS, FORGOTTEN_SECONDS, MOST_SECONDS, Backoff

HOUR = 3600.0
FLEET = 1000


class Gateway:
    """Its attempts against a hub that is away, at times of a clock of its own; each fails at once."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.backoff = Backoff(lambda: self.now, random.Random(seed).random)

    def attempts(self, seconds: float) -> list[float]:
        times, end = [], self.now + seconds
        while (pause := self.backoff.pause()) + self.now < end:
            self.now += pause
            times.append(self.now)
        self.now = end
        return times


@pytest.mark.parametrize("outage", [0.5, 2.0, 4.0])
def test_a_short_outage_is_over_within_a_second_of_its_end(outage: float) -> None:
    for seed in range(FLEET):
        times = Gateway(seed).attempts(outage + 1)
        assert times[0] <= FIRST_SECONDS
        assert any(outage <= time for time in times)


def test_a_long_outage_costs_a_bounded_number_of_attempts() -> None:
    for seed in range(20):
        times = Gateway(seed).attempts(HOUR)
        assert len(times) <= 2 * HOUR / MOST_SECONDS
        assert HOUR - times[-1] <= MOST_SECONDS


def test_gateways_that_lose_a_hub_together_do_not_come_back_together() -> None:
    fleet = [Gateway(seed).attempts(600) for seed in range(FLEET)]
    in_one_tenth = [sum(300.0 <= time < 300.1 for time in times) for times in fleet]
    assert sum(in_one_tenth) <= FLEET / 10, "more than three times an even share"


def test_only_what_the_hub_acknowledges_ends_an_outage_or_a_long_peace() -> None:
    gateway = Gateway(1)
    gateway.attempts(60)
    assert gateway.backoff.pause() > FIRST_SECONDS, "it may let somebody connect and do no more"
    gateway.backoff.over()
    assert gateway.backoff.pause() <= FIRST_SECONDS
    gateway.attempts(60)
    gateway.now += FORGOTTEN_SECONDS + MOST_SECONDS
    assert gateway.backoff.pause() <= FIRST_SECONDS
