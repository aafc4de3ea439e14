"""Sources of different replicas that become equal without one segment are found, in linear time, and nothing else is."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup_service.core.segments import MAX_RULES, differing_in_one_segment
from tests.support.cpu_time import seconds_of

TAGS = ("Temperature", "Pressure", "Flow")


def sent(pattern: str, by_replica: dict[str, str]) -> dict[str, str]:
    return {pattern.format(value, tag): replica for replica, value in by_replica.items() for tag in TAGS}


@pytest.mark.parametrize(
    "pattern",
    ["Plant7/{}/PLC1/{}", "opc.tcp://{}/press#{}", "name,id={};tag={}", "a:{}:{}", "{}.press.{}", "{}/{}", "x/{1}/{0}"],
)
def test_the_segment_and_its_values_are_named_wherever_it_stands(pattern: str) -> None:
    senders = sent(pattern, {"edge-0": "Press-A", "edge-1": "Press-B"})
    (rule,) = differing_in_one_segment(senders)
    assert rule.values == (("edge-0", "Press-A"), ("edge-1", "Press-B"))
    assert sorted(rule.sources) == sorted(senders)
    assert "'Press-A' from edge-0, 'Press-B' from edge-1" in rule.text
    assert rule.rename == '{"Press-*": "Press"}'
    assert rule.rename in rule.text


@pytest.mark.parametrize(
    ("one", "other", "rename"),
    [
        ("Press-A", "Press-B", {"Press-*": "Press"}),
        ("a-press", "b-press", {"*-press": "press"}),
        ("gw[1]", "gw[2]", {"gw[[]*": "gw["}),
        ("left", "other", {"left": "NAME", "other": "NAME"}),
    ],
)
def test_the_rule_catches_all_values(one: str, other: str, rename: dict[str, str]) -> None:
    (rule,) = differing_in_one_segment(sent("p/{}/{}", {"edge-0": one, "edge-1": other}))
    assert json.loads(rule.rename) == rename
    assert all(any(fnmatchcase(value, pattern) for pattern in rename) for value in (one, other))


def test_three_gateways_of_which_one_lacks_a_source_are_one_rule() -> None:
    senders = sent("p/{}/{}", {"edge-0": "A1", "edge-1": "A2", "edge-2": "A3"})
    del senders["p/A3/Flow"]
    (rule,) = differing_in_one_segment(senders)
    assert [value for _, value in rule.values] == ["A1", "A2", "A3"]
    assert sorted(rule.sources) == sorted(senders)


@pytest.mark.parametrize(
    "senders",
    [
        {},
        {"a/b": "edge-0"},
        sent("p/{}/{}", {"edge-0": "A"}),
        {"p/A/T": "edge-0", "p/B/T": "edge-0"},
        {"p/A/T": "edge-0", "q/B/T": "edge-1"},  # two segments
        {"p/A/T": "edge-0", "p/B/T/x": "edge-1"},
        {"p/A/T": "edge-0", "p/B/T": "edge-0", "p/C/T": "edge-1", "p/D/T": "edge-1"},  # machines, not gateways
        {"p//T": "edge-0", "p/B/T": "edge-1"},
        {"/".join("abcd" * 40 + "A"): "edge-0", "/".join("abcd" * 40 + "B"): "edge-1"},
    ],
)
def test_other_sources_are_in_no_rule(senders: dict[str, str]) -> None:
    assert differing_in_one_segment(senders) == []


def test_few_rules_are_named_those_of_most_sources_first() -> None:
    senders = {f"p{n}/{side}{n}/{tag}": side for n in range(50) for side in "ab" for tag in range(n + 1)}
    rules = differing_in_one_segment(senders)
    assert len(rules) == MAX_RULES
    assert [len(rule.sources) for rule in rules] == sorted((len(rule.sources) for rule in rules), reverse=True)
    assert len(rules[0].sources) == 100


@given(st.dictionaries(st.text("ab/#=.", max_size=8), st.sampled_from(["e0", "e1", "e2"]), max_size=12))
def test_a_rule_is_true_of_its_sources(senders: dict[str, str]) -> None:
    explained: list[str] = []
    for rule in differing_in_one_segment(senders):
        by_replica = dict(rule.values)
        assert len(by_replica) == len(set(by_replica.values())) >= 2
        for source in rule.sources:
            assert by_replica[senders[source]] in source
        explained += rule.sources
    assert len(explained) == len(set(explained))


def seconds(count: int) -> float:
    senders = {f"opc.tcp://plant/gw-{n % 2}/line-{n // 200}/press;s=tag{n // 2}": f"edge-{n % 2}" for n in range(count)}

    def judge() -> None:
        (rule,) = differing_in_one_segment(senders)
        assert len(rule.sources) == count

    return seconds_of(judge)


def test_the_time_is_linear_in_the_number_of_sources() -> None:
    assert seconds(40_000) < 100 * seconds(2_000)


def test_hostile_sources_take_no_longer() -> None:
    """As long as a source may be, and separators only."""
    senders = {"/" * 2000 + str(n): f"edge-{n % 2}" for n in range(500)}
    senders |= {"a." * 31 + "x" * 1900 + str(n): f"edge-{n % 2}" for n in range(500)}
    assert seconds_of(lambda: differing_in_one_segment(senders)) < 30 * seconds(1000)
