"""What the identity check finds, and what it leaves alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from edge_sender.identity import comparison as comparison_module
from edge_sender.identity.comparison import Comparison
from edge_sender.identity.judging import Problem, Verdict
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
    return found(comparison)


def found(comparison: Comparison) -> list[Problem]:
    return [finding.problem for finding in verdict_of(comparison).findings]


def verdict_of(comparison: Comparison) -> Verdict:
    (verdict,) = comparison.verdicts(START, END)
    return verdict


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
    seen = problems("time-bucket:0.5", jittering(width))
    assert [problem for problem in seen if problem not in (Problem.MERGES, Problem.CONFLICTS)] == expected


def test_a_bucket_that_holds_several_readings_is_found() -> None:
    assert Problem.MERGES in problems("time-bucket:5", exact)


def test_content_that_repeats_itself_is_found() -> None:
    comparison = Comparison(parse_rules("content"))
    for number in range(80):
        for side in (0, 1):
            comparison.observe(side, Sample(URI, number, {"value": 20.0}), START + number / 2)
    assert found(comparison) == [Problem.MERGES]


def test_a_lost_notification_is_not_an_identity_problem() -> None:
    assert problems("source-time", exact, lost=frozenset({40})) == []


def test_readings_near_the_start_and_the_end_are_not_judged() -> None:
    """The second subscription started later and ended earlier."""
    assert problems("source-time", exact, lost=frozenset({0, 1, 2, 77, 78, 79})) == []


def test_what_came_before_the_second_subscription_was_there_does_not_make_values_differ() -> None:
    """A busy gateway may need longer to subscribe once more than the comparison takes."""
    comparison, slow = Comparison(parse_rules("source-time")), 100
    for number in range(-slow, 80):
        at = START + number * INTERVAL
        for side in (0, 1) if number >= 0 else (0,):
            comparison.observe(side, Sample(URI, round((at + side * 0.01) * NS_PER_SECOND), number), at)
    assert found(comparison) == [Problem.NOT_DETERMINISTIC]


def test_the_advice_says_how_far_apart_readings_are() -> None:
    comparison = Comparison(parse_rules("source-time"))
    for number in range(80):
        for side in (0, 1):
            comparison.observe(side, Sample(URI, number * NS_PER_SECOND // 2 + side, None), START + number / 2)
    (finding,) = verdict_of(comparison).findings
    assert "about 0.5 s" in finding.text
    assert "time-bucket" in finding.text


def compared(rules: str, *sides: Sequence[tuple[float | None, object]]) -> Verdict:
    """Of readings (stamp in seconds, data), which arrive when they are stamped, or one by one."""
    comparison = Comparison(parse_rules(rules))
    for side, readings in enumerate(sides):
        for number, (stamp, data) in enumerate(readings):
            time_ns = None if stamp is None else round(stamp * NS_PER_SECOND)
            comparison.observe(side, Sample(URI, time_ns, data), START + number * INTERVAL if stamp is None else stamp)
    return verdict_of(comparison)


def sampled(offset: float, seed: int = 1) -> list[tuple[float | None, object]]:
    """A server that samples a changing value for each subscription by itself."""
    rng = random.Random(seed)
    return [(START + n * INTERVAL + offset, {"value": rng.random()}) for n in range(80)]


def test_values_that_differ_as_well_are_not_answered_with_a_bucket() -> None:
    (finding,) = compared("source-time", sampled(0.01), sampled(0.02, seed=2)).findings
    assert finding.problem is Problem.SAMPLED_SEPARATELY
    assert "time-bucket:" not in finding.text
    assert "aligned" in finding.text
    assert "active-passive" in finding.text


def test_a_bucket_whose_readings_differ_is_found_although_all_ids_match() -> None:
    verdict = compared("time-bucket:0.5", sampled(0.01), sampled(0.02, seed=2))
    assert [finding.problem for finding in verdict.findings] == [Problem.CONFLICTS]
    assert "80 of 80 ids" in verdict.findings[0].text


@pytest.mark.parametrize(
    ("stamp", "how"), [(lambda side, _: side * 0.1, "by the same time"), (jittering(0.1), "by varying")]
)
def test_stamps_that_differ_are_told_from_values_that_differ(stamp: Stamp, how: str) -> None:
    comparison = Comparison(parse_rules("source-time"))
    for number in range(80):
        for side in (0, 1):
            at = START + number * INTERVAL
            comparison.observe(side, Sample(URI, round((at + stamp(side, number)) * NS_PER_SECOND), number), at)
    (finding,) = verdict_of(comparison).findings
    assert finding.problem is Problem.NOT_DETERMINISTIC
    assert how in finding.text
    assert "time-bucket:SECONDS" in finding.text


def test_stamps_that_differ_by_more_than_half_the_distance_are_not_answered_with_a_bucket() -> None:
    later = [(START + n * INTERVAL + 0.24, n) for n in range(80)]
    (finding,) = compared("source-time", [(START + n * INTERVAL, n) for n in range(80)], later).findings
    assert finding.problem is Problem.NOT_DETERMINISTIC
    assert "too much for time-bucket" in finding.text


def test_a_source_of_which_no_reading_gets_an_id_is_not_healthy() -> None:
    readings: list[tuple[float | None, object]] = [(None, {"value": n}) for n in range(80)]
    (finding,) = compared("source-time", readings, readings).findings
    assert finding.problem is Problem.NO_IDENTITY
    assert "has no source time" in finding.text


def test_without_a_rule_for_the_source_its_readings_have_no_identity() -> None:
    readings: list[tuple[float | None, object]] = [(START + n * INTERVAL, n) for n in range(80)]
    assert [finding.problem for finding in compared("urn:b=content", readings, readings).findings] == [Problem.NO_IDENTITY]


@pytest.mark.parametrize(("here", "there"), [(80, 0), (0, 80), (4, 4)])
def test_nothing_is_judged_without_evidence_of_both_subscriptions(here: int, there: int) -> None:
    readings: list[tuple[float | None, object]] = [(START + 10 + n / 10, n) for n in range(80)]
    verdict = compared("source-time", readings[:here], readings[:there])
    assert verdict.findings == ()
    assert verdict.unjudged == f"{here} and {there} readings so far"


def test_two_values_with_one_stamp_ask_for_the_value_in_the_id() -> None:
    twice: list[tuple[float | None, object]] = [(START + 5 + n // 2, n) for n in range(60)]
    (finding,) = compared("source-time", twice, twice).findings
    assert finding.problem is Problem.MERGES
    assert "source-time+value" in finding.text
    assert compared("source-time+value", twice, twice).findings == ()


def test_what_comes_when_the_memory_is_full_is_not_taken_for_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison_module, "MOST_READINGS", 101)
    comparison = Comparison(parse_rules("source-time"))
    for number in range(80):
        for side in (0, 1):
            at = START + number * INTERVAL
            comparison.observe(side, Sample(URI, round(at * NS_PER_SECOND), number), at)
    assert verdict_of(comparison).findings == ()
