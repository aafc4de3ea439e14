"""A copy has a key, or a reason why it has none."""

from __future__ import annotations

from typing import Any

import pytest

from wire.formats.messages import Found
from wire.formats.minting import Minted, Unminted, chosen_strategy, mint
from wire.ids import SourceTime, SourceTimeValue


def key(value: Any, time_ns: int | None = 1, **members: Any) -> Minted | Unminted:
    return mint(Found((), "s", value, time_ns, **members), SourceTimeValue())


def test_numbers_count_by_number_and_beyond_doubles_by_digit() -> None:
    assert key({"v": 5, "s": 0}) == key({"s": 0.0, "v": 5.0})
    assert key(2**53 + 1) == key(str(2**53 + 1)) != key(2**53)
    assert key(1) != key(True) != key("1")


def test_the_value_tells_readings_of_one_time_apart_and_source_time_does_not() -> None:
    one, other = Found((), "s", 1, 7), Found((), "s", 2, 7)
    assert mint(one, SourceTimeValue()) != mint(other, SourceTimeValue())
    assert mint(one, SourceTime()) == mint(other, SourceTime())


def test_an_event_is_told_by_its_content_whatever_the_strategy() -> None:
    event = key(None, None, data={"EventId": "a"}, is_event=True)
    assert event == key(5, 9, data={"EventId": "a"}, is_event=True)
    assert isinstance(event, Minted)
    assert event.strategy == "content"


@pytest.mark.parametrize(
    ("strategy", "reason"),
    [
        ("source-time", "without-time"),
        ("time-bucket:1", "without-time"),
        ("sequence", "no-identity"),
        ("content", "no-identity"),
    ],
)
def test_what_a_strategy_lacks_is_said(strategy: str, reason: str) -> None:
    answer = mint(Found((), "s", 1), chosen_strategy(strategy))
    assert isinstance(answer, Unminted)
    assert answer.reason == reason


@pytest.mark.parametrize("value", [float("inf"), "\ud800", {1: 2}])
def test_a_value_without_a_canonical_form_has_no_key(value: Any) -> None:
    assert isinstance(key(value), Unminted)
