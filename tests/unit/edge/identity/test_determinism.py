"""What the identity check finds, and what it leaves alone."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from edge_sender.identity.determinism import Comparison, Problem
from edge_sender.identity.rules import parse_rules
from wire.ids import NS_PER_SECOND, Sample

START, END = 100.0, 140.0
INTERVAL = 0.5
URI = "urn:a"

Stamp = Callable[[int, int], float]
"""Seconds by which a subscription's stamp of a reading is off."""


def problems(
    rules: str, stamp: Stamp, *, value: Callable[[int], object] = lambda n: n, lost: frozenset[int] = frozenset()
) -> list[Problem]:
    """Problems found when both subscriptions see a reading every half second and the second one misses those in `lost`."""
    comparison = Comparison(parse_rules(rules))
    for number in range(int((END - START) / INTERVAL)):
        at = START + number * INTERVAL
        for side in (0, 1):
            if side == 0 or number not in lost:
                time_ns = round((at + stamp(side, number)) * NS_PER_SECOND)
                comparison.observe(side, Sample(URI, time_ns, {"sequence": number, "value": value(number)}), at)
    return [finding.problem for finding in comparison.findings(START, END)]


def exact(side: int, number: int) -> float:
    return 0.0


def jittering(width: float, seed: int = 1) -> Stamp:
    rng = random.Random(seed)
    return lambda side, number: rng.uniform(-width, width) * INTERVAL


@pytest.mark.parametrize("rules", ["source-time", "sequence", "content", "time-bucket:0.5"])
def test_one_stamp_for_all_subscribers_is_fine_for_every_strategy(rules: str) -> None:
    assert problems(rules, exact) == []


def test_source_time_with_a_stamp_for_each_subscription_is_found() -> None:
    assert problems("source-time", jittering(0.1)) == [Problem.NOT_DETERMINISTIC]


@pytest.mark.parametrize(("width", "expected"), [(0.3, []), (0.45, [Problem.AT_RISK]), (0.7, [Problem.NOT_DETERMINISTIC])])
def test_a_bucket_tolerates_jitter_up_to_half_its_interval_and_warns_before(width: float, expected: list[Problem]) -> None:
    found = problems("time-bucket:0.5", jittering(width))
    assert [problem for problem in found if problem is not Problem.MERGES] == expected


def test_a_bucket_that_holds_several_readings_is_found() -> None:
    assert Problem.MERGES in problems("time-bucket:5", exact)


def test_content_that_repeats_itself_is_found() -> None:
    comparison = Comparison(parse_rules("content"))
    for number in range(80):
        for side in (0, 1):
            comparison.observe(side, Sample(URI, number, {"value": 20.0}), START + number / 2)
    assert [finding.problem for finding in comparison.findings(START, END)] == [Problem.MERGES]


def test_a_lost_notification_is_not_an_identity_problem() -> None:
    assert problems("source-time", exact, lost=frozenset({40})) == []


def test_readings_near_the_start_and_the_end_are_not_judged() -> None:
    """The second subscription started later and ended earlier."""
    assert problems("source-time", exact, lost=frozenset({0, 1, 2, 77, 78, 79})) == []


def test_the_advice_says_how_far_apart_readings_are() -> None:
    comparison = Comparison(parse_rules("source-time"))
    for number in range(80):
        for side in (0, 1):
            comparison.observe(side, Sample(URI, number * NS_PER_SECOND // 2 + side, None), START + number / 2)
    (finding,) = comparison.findings(START, END)
    assert "about 0.5 s apart" in finding.text
    assert "time-bucket" in finding.text
