"""A pytest plugin: where Node's packages can't be installed, that is tried once for all workers and told once, at the end.

The tests that need the packages fail, each with one line; `make test` is red, and says why in one place.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator

import pytest

from sandbox.peers.node import RUN_VARIABLE, NodePackagesError, failure_of_this_run, forget_this_run

REFERENCE = "Node's packages could not be installed: see the end of the report."


def pytest_configure(config: pytest.Config) -> None:
    if RUN_VARIABLE not in os.environ:  # workers inherit it
        os.environ[RUN_VARIABLE] = uuid.uuid4().hex
        config.add_cleanup(forget_this_run)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.excinfo is not None and isinstance(call.excinfo.value, NodePackagesError):
        report.longrepr = REFERENCE
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if (failure := failure_of_this_run()) is not None:
        reports = terminalreporter.getreports("failed") + terminalreporter.getreports("error")
        count = sum(report.longrepr == REFERENCE for report in reports)
        terminalreporter.section("Node's packages", red=True)
        terminalreporter.write_line(f"{failure}\nTests that failed because of this: {count}.")
