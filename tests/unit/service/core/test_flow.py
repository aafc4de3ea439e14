"""What was processed by the second: right from the first seconds on, and bounded for an hour."""

from __future__ import annotations

from itertools import pairwise

import pytest

from dedup_service.core.flow import (
    KEEP_FLOW_MINUTES,
    MAX_STEPS,
    SLOT_MS,
    Slots,
    Step,
    Sums,
    rate_over,
    slots_of,
    steps_of,
)

START_MS = 1_800_000_000_000
PER_SLOT = Sums(390, 130, 260)


def steady(seconds: int, start_ms: int = START_MS) -> Slots:
    return dict.fromkeys(range(start_ms, start_ms + seconds * 1000, SLOT_MS), PER_SLOT)


def per_second(step: Step | None) -> float:
    assert step is not None
    return step.sums.readings * 1000 / (step.end_ms - step.start_ms)


def test_a_rate_is_that_of_the_last_ten_seconds_and_says_which() -> None:
    step = rate_over([steady(60)], START_MS + 60_700)
    assert step is not None
    assert (step.start_ms, step.end_ms) == (START_MS + 50_000, START_MS + 60_000)
    assert per_second(step) == 65


@pytest.mark.parametrize("first", [1, 65, 130])
@pytest.mark.parametrize("seconds", range(4, 30))
def test_the_first_seconds_have_the_rate_of_the_later_ones(seconds: int, first: int) -> None:
    """However much of the first slot had passed when the first copy came."""
    slots = {**steady(seconds // 2 * 2), START_MS: Sums(3 * first, first, 2 * first)}
    assert per_second(rate_over([slots], START_MS + seconds * 1000)) == 65


def test_the_slot_that_lasts_counts_only_when_it_is_over() -> None:
    slots = {**steady(20), START_MS + 20_000: Sums(3, 1, 2)}
    assert per_second(rate_over([slots], START_MS + 21_900)) == 65
    assert steps_of(slots, START_MS + 21_900)[-1].end_ms == START_MS + 20_000


def test_seconds_without_readings_count_once_there_were_some() -> None:
    assert per_second(rate_over([steady(20)], START_MS + 25_000)) == 65 * 6 / 10
    assert per_second(rate_over([steady(20)], START_MS + 60_000)) == 0


def test_there_is_no_rate_before_anything_came() -> None:
    assert rate_over([{}], START_MS) is None
    assert rate_over([steady(2)], START_MS + 1_900) is None
    assert rate_over([steady(2)], START_MS + 2_500) is None
    assert steps_of({}, START_MS) == []


@pytest.mark.parametrize("seconds", [2, 4, 6, 58, 360, 362, 1000, 1802, 3598, 3600, 3602, 7200])
def test_steps_cover_everything_once_and_are_bounded(seconds: int) -> None:
    now_ms = START_MS + seconds * 1000
    steps = steps_of(steady(seconds), now_ms)
    assert len(steps) <= MAX_STEPS + 1
    assert (steps[0].start_ms, steps[-1].end_ms) == (max(START_MS, now_ms - KEEP_FLOW_MINUTES * 60_000), now_ms)
    assert all(before.end_ms == after.start_ms for before, after in pairwise(steps))
    assert {per_second(step) for step in steps} == {65}
    assert len({step.end_ms - step.start_ms for step in steps[1:-1]}) <= 1


def test_a_curve_has_points_from_the_first_seconds() -> None:
    assert len(steps_of(steady(6), START_MS + 6_500)) == 3


def test_groups_add_up() -> None:
    """From the first copy of any of them on."""
    late = steady(4, START_MS + 20_000)
    step = rate_over([steady(24), {}, late], START_MS + 24_000)
    assert step == Step(START_MS + 14_000, START_MS + 24_000, Sums(7 * 390, 7 * 130, 7 * 260))
    assert rate_over([late, steady(24)], START_MS + 24_000) == step


def test_what_others_have_written_is_left_out() -> None:
    counts = {"0c": 3, "0r": 1, "29d": 2, "30c": 9, "c": 9, "-1c": 9, "0x": 9, "1c": -5, "٣c": 9, "0c ": 9}
    assert slots_of(2, counts) == {120_000: Sums(3, 1, 0), 178_000: Sums(0, 0, 2)}
