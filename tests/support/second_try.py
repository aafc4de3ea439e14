"""A pytest plugin: a test of servers, processes, images or browsers that fails is tried once more, and both tries are told.

Such a test shares two processors with three others, and with whatever else the machine does. What is pure, and what runs in
the simulation's time, does not depend on that: there, a failure that does not come again is a fault, and stays one. In the
acceptance tests, which count what is lost and what is doubled, only what comes too late is tried again. A crash never is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_timeout

from sandbox.peers.processes import ENDED

LATE = ("Timeout", r"^Failed:", f"^ProcessError: (?!.* {ENDED})")
"""Errors of a wait that took too long: `pytest.fail` says what it waited for, a ProcessError which process did not start.
One that ended is not late."""
ANY = (".",)
SECOND_TRY = {
    "acceptance": LATE,
    "compose": ANY,
    "contract": ANY,
    "documents": ANY,
    "images": ANY,
    "integration": ANY,
    "reach": ANY,
    "sdk": ANY,
    "unit/edge": ANY,
    "web": ANY,
}
"""By folder of tests/: the errors after which a test is tried again."""


def errors_tried_again(tests: Path, test: Path) -> Sequence[str]:
    """Patterns; none where the test has one try."""
    return next((errors for folder, errors in SECOND_TRY.items() if test.is_relative_to(tests / folder)), ())


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    for item in items:
        if errors := errors_tried_again(item.config.rootpath / "tests", item.path):
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=list(errors)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The time-out's plugin limits both tries together, and stops its clock when the first one fails."""
    if getattr(item, "execution_count", 1) > 1:
        settings = pytest_timeout._get_item_settings(item)
        item.ihook.pytest_timeout_set_timer(item=item, settings=settings)


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_handlecrashitem(crashitem: str, sched: Any) -> None:
    """A process that crashes is not tried again."""
    sched.config.failures_db.set_test_reruns(crashitem, 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    first_tries = terminalreporter.getreports("rerun")
    if first_tries:
        terminalreporter.section("First tries that failed: each is a fault of the test, or of what it tests", yellow=True)
    for report in first_tries:
        terminalreporter.write_line(f"{report.nodeid}\n{report.longreprtext}\n")
