"""Source times are free text from the sender: parsed where possible, and otherwise none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dedup_service.core.times import is_late, late_and_unreadable, rfc3339, source_time_ms
from wire.times import parse_rfc3339

AT_MS = 1_767_225_600_000


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2026-01-01T00:00:00Z", AT_MS),
        ("2026-01-01T01:00:00.250+01:00", AT_MS + 250),
        ("2026-01-01T00:00:00.123456700Z", AT_MS + 123),
        ("1969-12-31T23:59:59.9999Z", -1),
        ("0001-01-01T00:00:00+23:59", -62_135_596_800_000 - 86_340_000),
        ("2026-01-01T00:00:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_source_time(text: str | None, at_ms: int | None) -> None:
    assert source_time_ms(text) == at_ms


def test_a_reading_is_late_if_it_was_under_way_for_longer_than_the_window() -> None:
    time = rfc3339(AT_MS)
    assert not is_late(time, AT_MS + 1000, 1000)
    assert is_late(time, AT_MS + 1001, 1000)
    assert not is_late(None, AT_MS, 0)


FORMS = (
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%MZ",
    "%Y-%m-%dT%HZ",
    "%Y-%m-%d %H:%M:%SZ",
    "%Y-%m-%dt%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S,%fZ",
    "%Y-%m-%dT24:00:00Z",
    "%Y-%m-%dT%H:%M:60Z",
    "%Y-02-30T%H:%M:%SZ",
    "%Y%m%dT%H%M%SZ",
    "%Y-W01-1T%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S+02:00",
    "%Y-%m-%dT%H:%M:%S+0200",
    "%Y-%m-%dT%H:%M:%S",
    "yesterday, %YZ",
    "",
)
TIMES = st.tuples(st.integers(-100_000, 100_000), st.sampled_from(FORMS)).map(
    lambda at: (datetime.fromtimestamp(AT_MS // 1000, UTC) + timedelta(seconds=at[0])).strftime(at[1])
)


@given(st.lists(st.none() | TIMES, max_size=4), st.sampled_from([0, 30_000, 3_600_000]))
@example(["2026-01-01T00:00Z", None], 0)
@example(["2025-12-31t10:00:00Z"], 3_600_000)
@example(["2025-12-31 23:30:00Z"], 3_600_000)
@example(["2026-01-01T00:00:00+0200", "2025-12-31T20:00:00Z"], 0)
def test_the_quick_check_of_an_events_times_agrees_with_parsing_every_time(times: list[str | None], window_ms: int) -> None:
    late = [place for place, time in enumerate(times) if is_late(time, AT_MS, window_ms)]
    unreadable = [time for time in times if time is not None and parse_rfc3339(time) is None]
    assert late_and_unreadable(times, AT_MS, window_ms) == (late, len(unreadable))


@given(st.text(alphabet="0123456789-:.+TtZz ", max_size=30) | TIMES)
def test_the_quick_check_takes_nothing_for_a_time_that_is_none(text: str) -> None:
    assert late_and_unreadable([text], AT_MS, 0)[1] == (parse_rfc3339(text) is None)
