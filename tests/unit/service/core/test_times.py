"""Source times are free text from the sender: parsed where possible, and otherwise none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dedup_service.core.times import is_late, late_places, rfc3339, source_time_ms

AT_MS = 1_767_225_600_000


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2026-01-01T00:00:00Z", AT_MS),
        ("2026-01-01T01:00:00.250+01:00", AT_MS + 250),
        ("2026-01-01T00:00:00.123456700Z", AT_MS + 123),
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
    "%Y%m%dT%H%M%SZ",
    "%Y-W01-1T%H:%M:%SZ",
    "%Y-%m-%dT%H:%M:%S+02:00",
    "%Y-%m-%dT%H:%M:%S",
    "yesterday, %YZ",
)


@given(st.integers(-100_000, 100_000), st.sampled_from(FORMS), st.sampled_from([0, 30_000, 3_600_000]))
@example(30, "%Y-%m-%dT%H:%MZ", 0)
def test_the_quick_check_for_late_readings_agrees_with_parsing_every_time(seconds: int, form: str, window_ms: int) -> None:
    time = (datetime.fromtimestamp(AT_MS // 1000, UTC) + timedelta(seconds=seconds)).strftime(form)
    assert late_places([None, time], AT_MS, window_ms) == ([1] if is_late(time, AT_MS, window_ms) else [])
