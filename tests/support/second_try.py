"""A pytest plugin: a test of servers, processes or browsers that fails is tried once more, and both tries are told.

Such a test shares two processors with three others, and with whatever else the machine does. What is pure, and what runs in
the simulation's time, does not depend on that: there, a failure that does not come again is a fault, and stays one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

ONE_TRY = ("simulation", "property", "unit/wire", "unit/service/core", "unit/service/rebuild")
"""Folders of tests whose machine does not matter."""
_TESTS = Path(__file__).parents[1]


def has_second_try(path: Path) -> bool:
    return not any(path.is_relative_to(_TESTS / folder) for folder in ONE_TRY)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if has_second_try(item.path):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    first_tries = terminalreporter.getreports("rerun")
    if first_tries:
        terminalreporter.section("First tries that failed: each is a fault of the test, or of what it tests", yellow=True)
    for report in first_tries:
        terminalreporter.write_line(f"{report.nodeid}\n{report.longreprtext}\n")
