"""Times without an offset: those of a zone, the two that a clock shows twice, and those that it never shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sender.sources.plant_times import NoOffsetError, PlantTimes, WhenAmbiguous
from wire.times import nanoseconds, parse_rfc3339

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe", "UTC")]


def at(text: str) -> int:
    time_ns = parse_rfc3339(text)
    assert time_ns is not None
    return time_ns


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-01T12:00:00", "2026-01-01T11:00:00Z"),
        ("2026-07-01 12:00:00.123456789", "2026-07-01T10:00:00.123456789Z"),
        ("2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z"),
        ("2026-07-01T12:00:00-05:00", "2026-07-01T17:00:00Z"),
        (" 1890-01-01T00:00:00 ", "1889-12-31T23:06:32Z"),
    ],
)
def test_a_time_without_an_offset_is_of_the_zone(text: str, expected: str) -> None:
    assert PlantTimes("rfc3339", BERLIN).parse(text) == at(expected)


def test_without_a_zone_it_says_what_is_missing() -> None:
    with pytest.raises(NoOffsetError, match="no offset from UTC"):
        PlantTimes("rfc3339").parse("2026-01-01T12:00:00")
    assert PlantTimes("rfc3339").parse("2026-01-01T12:00:00+01:00") == at("2026-01-01T11:00:00Z")
    assert PlantTimes("s", BERLIN).parse("1.5") == 1_500_000_000


@pytest.mark.parametrize("text", ["2026-03-29T02:00:00", "2026-03-29T02:59:59.999999999"])
@pytest.mark.parametrize("when", ["skip", "earlier", "later"])
def test_a_time_that_clocks_are_put_over_is_refused(text: str, when: WhenAmbiguous) -> None:
    with pytest.raises(ValueError, match="there is no such time in Europe/Berlin"):
        PlantTimes("rfc3339", BERLIN, when).parse(text)


def test_a_time_that_clocks_show_twice_is_refused_or_taken_as_set() -> None:
    text = "2026-10-25T02:30:00"
    with pytest.raises(ValueError, match="there are two such times in Europe/Berlin"):
        PlantTimes("rfc3339", BERLIN).parse(text)
    assert PlantTimes("rfc3339", BERLIN, "earlier").parse(text) == at("2026-10-25T00:30:00Z")
    assert PlantTimes("rfc3339", BERLIN, "later").parse(text) == at("2026-10-25T01:30:00Z")
    assert PlantTimes("rfc3339", BERLIN).parse("2026-10-25T03:00:00") == at("2026-10-25T02:00:00Z")


@given(st.sampled_from(ZONES), st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)))
def test_what_a_clock_shows_is_read_back_as_the_moment_at_which_it_shows_it(zone: ZoneInfo, moment: datetime) -> None:
    shown = moment.replace(tzinfo=UTC).astimezone(zone).replace(tzinfo=None)
    found = {PlantTimes("rfc3339", zone, when).parse(shown.isoformat()) for when in ("earlier", "later")}
    assert nanoseconds(moment) in found


@pytest.mark.parametrize(
    "text", ["", "x", "2026-02-30T00:00:00", "2026-06-30T23:59:60", "0001-01-01T00:00:00", "31.12.2026 12:00"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        PlantTimes("rfc3339", ZoneInfo("Asia/Kolkata")).parse(text)


def test_lord_howe_has_half_an_hour() -> None:
    gap = datetime(2026, 10, 4, 2, 15)
    with pytest.raises(ValueError, match="no such time"):
        PlantTimes("rfc3339", ZoneInfo("Australia/Lord_Howe")).parse(gap.isoformat())
    later = (gap + timedelta(minutes=15)).isoformat()
    assert PlantTimes("rfc3339", ZoneInfo("Australia/Lord_Howe")).parse(later) == at("2026-10-03T15:30:00Z")
