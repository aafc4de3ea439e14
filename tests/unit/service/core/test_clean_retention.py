"""A clean hub that keeps less than the window is noticed by the age of its oldest events, and no other hub is."""

from __future__ import annotations

import pytest

from dedup_service.core.clean_retention import LOOKED_AT, partitions_to_look_at, short_retentions
from dedup_service.core.groups import Group
from dedup_service.core.outgoing import OutputPolicy
from tests.support.groups import group_of

HOUR_MS = 3_600_000


def group(window_hours: int, *partitions: str, mode: str = "drop") -> Group:
    return group_of(window_ms=window_hours * HOUR_MS, mode=mode, output=OutputPolicy(list(partitions), "source", "g"))


def test_those_partitions_of_each_hub_are_looked_at_that_have_most_events() -> None:
    kept = {str(n): n for n in range(10)} | {"ovens:0": 5, "ovens:1": 0}
    assert sorted(partitions_to_look_at(kept)) == sorted([*(str(n) for n in range(10 - LOOKED_AT, 10)), "ovens:0"])
    assert partitions_to_look_at({}) == []


def test_both_figures_are_told() -> None:
    (short,) = short_retentions({"0": HOUR_MS}, [group(4, "0", "1")])
    assert (short.output, short.kept_ms, short.window_ms) == ("", HOUR_MS, 4 * HOUR_MS)
    assert str(short).startswith("the clean hub keeps events for about 3600 s, and the window is 14400 s: ")


@pytest.mark.parametrize(
    ("ages_hours", "groups", "outputs"),
    [
        ({}, [group(4, "0")], []),
        ({"0": 5}, [group(4, "0")], []),
        ({"0": 3.9}, [group(4, "0")], []),
        ({"0": 1, "1": 5}, [group(4, "0", "1")], []),  # few events come to the first one
        ({"0": 5}, [group(4, "0"), group(24, "0")], [""]),
        ({"0": 1, "ovens:0": 1}, [group(4, "0"), group(4, "ovens:0")], ["", "ovens"]),
        ({"0": 5, "ovens:0": 1}, [group(4, "0"), group(4, "ovens:0")], ["ovens"]),
        ({"0": 1}, [group(4, "0", mode="observe")], []),
        ({"0": 5}, [group(4, "0"), group(24, "0", mode="observe")], []),
        ({"0": 1}, [group(4, "0", mode="mark")], [""]),
    ],
)
def test_a_hub_is_short_whose_events_are_all_clearly_younger_than_a_window_that_is_published_there(
    ages_hours: dict[str, float], groups: list[Group], outputs: list[str]
) -> None:
    ages_ms = {partition: round(hours * HOUR_MS) for partition, hours in ages_hours.items()}
    assert [short.output for short in short_retentions(ages_ms, groups)] == outputs
