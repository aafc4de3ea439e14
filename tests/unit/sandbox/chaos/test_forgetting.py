"""When a chaos run makes Redis forget, and how long live data then stood still."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest

from sandbox.chaos.forgetting import Forgetting, schedule
from sandbox.chaos.pauses import Pause, longest_seconds, pauses

S = 1_000_000_000


@pytest.mark.parametrize(
    ("kills", "restarts", "failovers"), [(100, 6, 0), (100, 0, 6), (5, 2, 0), (5, 2, 2), (1, 3, 1), (0, 1, 1), (4, 0, 0)]
)
def test_redis_forgets_as_often_as_was_asked_for_and_never_after_the_last_kill(
    kills: int, restarts: int, failovers: int
) -> None:
    planned = schedule(kills, restarts, failovers)
    assert Counter(chain.from_iterable(planned.values())) == +Counter({"restart": restarts, "fail-over": failovers})
    assert all(0 <= after < max(kills, 1) for after in planned)


def test_restarts_and_fail_overs_are_spread_evenly_and_take_turns() -> None:
    assert schedule(100, 6, 0) == {n: ["restart"] for n in (14, 28, 42, 57, 71, 85)}
    assert schedule(10, 2, 2) == {2: ["restart"], 4: ["fail-over"], 6: ["restart"], 8: ["fail-over"]}
    assert schedule(10, 1, 3) == {2: ["restart"], 4: ["fail-over"], 6: ["fail-over"], 8: ["fail-over"]}


def test_a_pause_lasts_from_the_first_reading_that_waits_until_anything_arrives() -> None:
    emitted = [1 * S, 2 * S, 3 * S, 9 * S]
    assert pauses(emitted, [1.5 * S, 8 * S, 8.1 * S, 9.5 * S]) == [Pause(2 * S, 8 * S), Pause(9 * S, 9.5 * S)]


def test_a_plant_that_emits_nothing_makes_no_pause_and_neither_does_the_start() -> None:
    assert pauses([5 * S, 20 * S], [9 * S, 9.5 * S, 20.1 * S]) == [Pause(20 * S, 20.1 * S)]
    assert pauses([], []) == pauses([1 * S], []) == pauses([1 * S], [2 * S]) == []


def test_a_pause_belongs_to_what_happened_before_it_or_during_it_and_not_long_ago() -> None:
    found = [Pause(0, 2 * S), Pause(10 * S, 14 * S), Pause(20 * S, 21 * S), Pause(100 * S, 190 * S)]
    assert longest_seconds(found) == 90.0
    assert longest_seconds(found, after=11 * S) == 4.0
    assert longest_seconds(found, after=14 * S) == 1.0
    assert longest_seconds(found, after=30 * S) == 0.0
    assert longest_seconds([]) == 0.0


def test_what_was_forgotten_is_told_with_its_pause() -> None:
    forgotten = Forgetting("fail-over", at=11 * S, keys_lost=7, values_lost=2)
    figures = {"how": "fail-over", "keys_lost": 7, "values_lost": 2, "pause_seconds": 4.0}
    assert forgotten.figures([Pause(10 * S, 14 * S)]) == figures
