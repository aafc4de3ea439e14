"""Source times are the sender's words: understood where they can be, and otherwise none."""

from __future__ import annotations

import pytest

from dedup_service.core.times import is_late, rfc3339, source_time_ms

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


def test_late_is_what_was_on_its_way_for_longer_than_the_window() -> None:
    time = rfc3339(AT_MS)
    assert not is_late(time, AT_MS + 1000, 1000)
    assert is_late(time, AT_MS + 1001, 1000)
    assert not is_late(None, AT_MS, 0)
