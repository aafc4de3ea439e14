"""Which results make a chaos run fail, and what it says then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sandbox.audit.auditor import Verdict
from sandbox.chaos.chaos import SHOULD_FIND_FROM_KILLS, first_arrivals, problems

CLEAN = Verdict(
    plant_readings=10,
    clean_readings=10,
    lost=0,
    clean_duplicates=0,
    unknown=0,
    latency_p50_ms=1.0,
    latency_p99_ms=2.0,
    lost_examples=[],
)


def told(verdict: Verdict = CLEAN, *, found: int = 1, kills: int = 100) -> str:
    return " ".join(problems(verdict, found=found, kills=kills))


@pytest.mark.parametrize(
    ("fault", "words"),
    [({"lost": 1, "lost_examples": [("a", "b", 7)]}, "('a', 'b', 7)"), ({"unknown": 1}, "nobody sent")],
)
def test_a_loss_and_a_reading_from_nowhere_always_fail_a_run(fault: dict[str, Any], words: str) -> None:
    assert words in told(replace(CLEAN, **fault))


def test_duplicates_fail_a_run() -> None:
    assert "twice" in told(replace(CLEAN, clean_duplicates=3))


def test_many_kills_that_hit_nothing_they_are_for_fail_a_run() -> None:
    assert "does not show that takeovers prevent duplicates" in told(found=0, kills=SHOULD_FIND_FROM_KILLS)
    assert not told(found=0, kills=SHOULD_FIND_FROM_KILLS - 1)
    assert not told()


def test_a_duplicate_is_no_arrival_of_a_reading() -> None:
    a, b = ("source", "load", 1), ("source", "load", 2)
    assert first_arrivals([(a, 5), (b, 6), (a, 3), (b, 9)]) == [3, 6]
