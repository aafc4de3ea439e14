"""A misspelt setting is named, where it would be ignored without a word."""

from __future__ import annotations

from edge_sender.config.variables import misspelt


def test_a_slip_of_the_pen_is_told_with_the_setting_that_is_meant() -> None:
    given = ["EDGE_SPOOL_MAX_AGE_SECOND", "edge_replica", "EDGE_HTTP_PORT", "EDGE_BROWSER", "EDGE_PLC_PASSWORD", "PATH"]
    said = "EDGE_SPOOL_MAX_AGE_SECOND: is no setting, and is ignored; did you mean EDGE_SPOOL_MAX_AGE_SECONDS?"
    assert list(misspelt(given)) == [said]
