"""One parser decides what is a time: RFC 3339 exactly. What it refuses is no time, never another one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.times import FIRST_NS, LAST_NS, TimeFormat, parse_rfc3339, parse_time, rfc3339

ROOT = Path(__file__).parents[3]
SECOND, HOUR, DAY = 10**9, 3600 * 10**9, 86_400 * 10**9
Y2026 = 1_767_225_600 * SECOND
LEAP = 1_483_228_800 * SECOND  # 2017-01-01T00:00:00Z, the second behind the leap second

TIMES = {
    "2026-01-01T00:00:00Z": Y2026,
    "1970-01-01T00:00:00Z": 0,
    "1969-12-31T23:59:59.5Z": -SECOND // 2,
    # Both letters may be lower-case (§5.6), and the T may be a space where an application says so (this one does).
    "2026-01-01t00:00:00z": Y2026,
    "2026-01-01 00:00:00+00:00": Y2026,
    # Fractions of any length; what a nanosecond does not hold is cut off.
    "2026-01-01T00:00:00.1Z": Y2026 + SECOND // 10,
    "2026-01-01T00:00:00.000000001Z": Y2026 + 1,
    "2026-01-01T00:00:00.1234567899999Z": Y2026 + 123_456_789,
    f"2026-01-01T00:00:00.{'9' * 5000}Z": Y2026 + 999_999_999,
    # Offsets; -00:00 says that only UTC is known (§4.3).
    "2026-01-01T00:00:00+00:00": Y2026,
    "2026-01-01T00:00:00-00:00": Y2026,
    "2026-01-01T01:30:00+01:30": Y2026,
    "2025-12-31T18:15:00-05:45": Y2026,
    "2026-01-01T23:59:00+23:59": Y2026,
    "2025-12-31T00:01:00-23:59": Y2026,
    # Days that exist.
    "2024-02-29T00:00:00Z": 1_709_164_800 * SECOND,
    "2000-02-29T00:00:00Z": 951_782_400 * SECOND,
    # The ends of what can be written. 0000 is a year (§1), and an offset may lead beyond them.
    "0001-01-01T00:00:00Z": FIRST_NS,
    "0000-12-31T00:00:00Z": FIRST_NS - DAY,
    "0000-02-29T00:00:00Z": FIRST_NS - 307 * DAY,
    "0000-01-01T00:00:00+23:59": FIRST_NS - 366 * DAY - 24 * HOUR + 60 * SECOND,
    "9999-12-31T23:59:59.999999999Z": LAST_NS,
    "9999-12-31T23:59:59-23:59": LAST_NS + 1 - SECOND + 24 * HOUR - 60 * SECOND,
    # Leap seconds, where there can be one (§5.7, appendix D).
    "2016-12-31T23:59:60Z": LEAP,
    "2016-12-31T23:59:60.5Z": LEAP + SECOND // 2,
    "2017-01-01T05:29:60+05:30": LEAP,
    "1990-12-31T15:59:60-08:00": 662_688_000 * SECOND,
    "2015-06-30T23:59:60Z": 1_435_708_800 * SECOND,
}

NO_TIMES = {
    "empty": "",
    "words": "yesterday",
    "no offset": "2026-01-01T00:00:00",
    "offset without colon": "2026-01-01T00:00:00+0100",
    "offset without minutes": "2026-01-01T00:00:00+01",
    "offset with seconds": "2026-01-01T00:00:00+01:00:00",
    "offset of 24 hours": "2026-01-01T00:00:00+24:00",
    "offset of 60 minutes": "2026-01-01T00:00:00-01:60",
    "offset with a minus that is not ASCII": "2026-01-01T00:00:00\u221201:00",
    "two offsets": "2026-01-01T00:00:00Z+00:00",
    "name of a zone": "2026-01-01T00:00:00 UTC",
    "zone in brackets (RFC 9557)": "2026-01-01T00:00:00Z[UTC]",
    "24:00": "2026-01-01T24:00:00Z",
    "hour 25": "2026-01-01T25:00:00Z",
    "minute 60": "2026-01-01T00:60:00Z",
    "second 61": "2016-12-31T23:59:61Z",
    "leap second at noon": "2026-01-01T12:00:60Z",
    "leap second in another month": "2026-01-31T23:59:60Z",
    "leap second of local midnight": "2016-12-31T23:59:60+01:00",
    "leap second before the calendar": "0000-06-30T23:59:60Z",
    "February 30": "2026-02-30T00:00:00Z",
    "February 29 of another year": "2026-02-29T00:00:00Z",
    "February 29 of 1900": "1900-02-29T00:00:00Z",
    "month 0": "2026-00-01T00:00:00Z",
    "month 13": "2026-13-01T00:00:00Z",
    "day 0": "2026-01-00T00:00:00Z",
    "date only": "2026-01-01",
    "no seconds": "2026-01-01T00:00Z",
    "no minutes": "2026-01-01T00Z",
    "week date": "2026-W01-4T00:00:00Z",
    "ordinal date": "2026-001T00:00:00Z",
    "basic format": "20260101T000000Z",
    "basic time": "2026-01-01T000000Z",
    "comma": "2026-01-01T00:00:00,5Z",
    "dot without digits": "2026-01-01T00:00:00.Z",
    "fraction of a minute": "2026-01-01T00:00.5Z",
    "year of five digits": "12026-01-01T00:00:00Z",
    "year with a sign": "+2026-01-01T00:00:00Z",
    "year of three digits": "226-01-01T00:00:00Z",
    "another separator": "2026-01-01_00:00:00Z",
    "two spaces": "2026-01-01  00:00:00Z",
    "T with spaces": "2026-01-01 T 00:00:00Z",
    "space in front": " 2026-01-01T00:00:00Z",
    "space behind": "2026-01-01T00:00:00Z ",
    "new line behind": "2026-01-01T00:00:00Z\n",
    "space before the offset": "2026-01-01T00:00:00 Z",
    "Arabic digits": "\u0662\u0660\u0662\u0666-01-01T00:00:00Z",
    "full-width digits": "2026-01-01T00:00:00.\uff11Z",
    "NUL": "2026-01-01T00:00:00Z\0",
    "underscore between digits": "2026-01-01T00:00:00.1_0Z",
    "seconds since 1970": "1767225600",
}


@pytest.mark.parametrize(("text", "time_ns"), TIMES.items(), ids=lambda value: str(value)[:40])
def test_a_time_is_exact(text: str, time_ns: int) -> None:
    assert parse_rfc3339(text) == time_ns


@pytest.mark.parametrize("text", NO_TIMES.values(), ids=NO_TIMES)
def test_anything_else_is_no_time(text: str) -> None:
    assert parse_rfc3339(text) is None


TIMES_NS = st.integers(FIRST_NS, LAST_NS)


@given(TIMES_NS)
def test_what_is_written_is_read_back(time_ns: int) -> None:
    assert parse_rfc3339(rfc3339(time_ns)) == time_ns


@given(TIMES_NS, st.integers(-1439, 1439), st.sampled_from("Tt "))
def test_an_offset_names_the_same_moment_by_another_clock(time_ns: int, minutes: int, between: str) -> None:
    local_ns = time_ns + minutes * 60 * SECOND
    if FIRST_NS <= local_ns <= LAST_NS:
        offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
        assert parse_rfc3339(rfc3339(local_ns).replace("T", between).replace("Z", offset)) == time_ns


NEARLY = st.text(alphabet="0123456789-:.+TtZz ", max_size=40) | st.sampled_from(sorted(TIMES)).flatmap(
    lambda text: st.tuples(st.integers(0, len(text)), st.characters()).map(
        lambda at: text[: at[0]] + at[1] + text[at[0] + 1 :]
    )
)


@given(
    st.sampled_from(["2026-01-31T06:00:30", "2016-12-31T23:59:60", "2026-02-30T00:00:00"]),
    st.text("0123456789.Z\u0663_ ", max_size=14),
)
def test_the_usual_spelling_of_utc_is_read_as_any_other(second: str, fraction: str) -> None:
    """`Z` behind a fraction is read without a search, the other spellings with one."""
    usual = parse_rfc3339(f"{second}.{fraction}Z")
    assert usual == parse_rfc3339(f"{second}.{fraction}z") == parse_rfc3339(f"{second}.{fraction}+00:00")


@given(st.text(max_size=100) | NEARLY)
def test_no_text_makes_the_parser_fail(text: str) -> None:
    time_ns = parse_rfc3339(text)
    assert time_ns is None or isinstance(time_ns, int)


@pytest.mark.parametrize("time_ns", [FIRST_NS - 1, LAST_NS + 1, 10**40])
def test_a_time_that_no_text_can_say_is_not_written(time_ns: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        rfc3339(time_ns)


# --- the edge's own reading of what plants write


@pytest.mark.parametrize(
    "text", ["2026-01-01T00:00:00", "2026-01-01 00:00:00", " 2026-01-01T00:00:00.000 ", "2026-01-01t01:00:00+01:00"]
)
def test_a_plants_time_without_an_offset_is_utc(text: str) -> None:
    assert parse_time(text, "rfc3339") == Y2026


def test_a_plants_leap_second_gets_no_number_that_another_second_has() -> None:
    with pytest.raises(ValueError, match="not RFC 3339"):
        parse_time("2016-12-31T23:59:60Z", "rfc3339")


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("2026-01-01", "rfc3339"),
        ("20260101T000000", "rfc3339"),
        ("2026-W01-4", "rfc3339"),
        ("2026-01-01T00:00", "rfc3339"),
        (True, "rfc3339"),
        (None, "rfc3339"),
        ("0000-01-01T00:00:00Z", "rfc3339"),
        ("9999-12-31T23:59:59-23:59", "rfc3339"),
        ("1e999999", "s"),
        ("-1e30", "ns"),
        ("Infinity", "s"),
    ],
)
def test_a_plants_reading_that_could_not_be_sent_is_refused_here(value: object, form: TimeFormat) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_time(value, form)


def outcome(value: object, form: TimeFormat) -> int | str:
    try:
        return parse_time(value, form)
    except ValueError as error:
        return str(error)


UNITS: list[TimeFormat] = ["s", "ms", "us", "ns"]


@given(st.integers() | st.integers(FIRST_NS, LAST_NS), st.sampled_from(UNITS))
def test_a_number_of_units_is_the_same_time_as_its_text(number: int, form: TimeFormat) -> None:
    assert outcome(number, form) == outcome(str(number), form)


# --- nothing else reads times


def names_called(file: Path) -> set[str]:
    calls = (node.func for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
    return {call.attr for call in calls if isinstance(call, ast.Attribute)}


OTHER_PARSERS = {"fromisoformat", "fromisocalendar", "strptime", "parsedate", "parsedate_to_datetime"}


@pytest.mark.parametrize("package", ["dedup_service", "edge_sender", "wire"])
def test_no_other_code_reads_times(package: str) -> None:
    files = (ROOT / package).rglob("*.py")
    assert {file.name: names for file in files if (names := names_called(file) & OTHER_PARSERS)} == {}
