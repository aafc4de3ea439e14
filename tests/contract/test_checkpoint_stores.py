"""The laws of checkpoints: in memory, in SQLite, and in Azure Blob Storage (a real Azurite)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from dedup_service.adapters.azure_clients import AzureClients, Network
from dedup_service.adapters.checkpoints.sqlite import SqliteCheckpoints
from dedup_service.bootstrap import make_checkpoints
from dedup_service.config.settings import Settings
from dedup_service.core.progress import Position
from dedup_service.errors import UnavailableError
from dedup_service.ports.ownership import Checkpoints
from tests.doubles.memory import MemoryCheckpoints
from tests.support.peers import new_container

SCOPE = ("ns.servicebus.windows.net", "telemetry", "dedup")


def settings(checkpoint_url: str) -> Settings:
    return Settings.model_construct(checkpoint_url=SecretStr(checkpoint_url), input_consumer_group=SCOPE[2])


@pytest.fixture(params=["memory", "sqlite", "blob"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Checkpoints]:
    if request.param == "memory":
        yield MemoryCheckpoints()
        return
    url = f"sqlite:///{tmp_path / 'c.db'}"
    if request.param == "blob":
        azurite = request.getfixturevalue("azurite")
        url = f"{azurite};ContainerName={await new_container(azurite)}"
    made = make_checkpoints(settings(url), AzureClients(Network()), *SCOPE)
    yield made
    await made.close()


async def test_a_position_is_loaded_as_it_was_saved(store: Checkpoints) -> None:
    assert await store.load() == {}
    await store.save("0", Position(5, "500", 0))
    await store.save("1", Position(-1, "-1", 0))
    await store.save("0", Position(7, "700", 0))
    assert await store.load() == {"0": Position(7, "700", 0), "1": Position(-1, "-1", 0)}


# --- what only a file or a network can show


async def test_two_processes_share_a_file(tmp_path: Path) -> None:
    one, other = (SqliteCheckpoints(tmp_path / "c.db", *SCOPE) for _ in range(2))
    await asyncio.gather(*(store.save(str(n), Position(n, "1", 0)) for n in range(20) for store in (one, other)))
    assert len(await one.load()) == 20
    await one.close()
    await other.close()


async def test_hubs_and_consumer_groups_do_not_see_each_other(tmp_path: Path) -> None:
    one, other = (SqliteCheckpoints(tmp_path / "c.db", SCOPE[0], SCOPE[1], group) for group in ("a", "b"))
    await one.save("0", Position(1, "1", 0))
    assert await other.load() == {}
    await one.close()
    await other.close()


async def test_a_store_that_cannot_be_reached_is_unavailable() -> None:
    away = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=eA==;BlobEndpoint=http://127.0.0.1:1/a;ContainerName=c"
    store = make_checkpoints(settings(away), AzureClients(Network()), *SCOPE)
    with pytest.raises(UnavailableError, match="the checkpoint store"):
        await store.load()
    with pytest.raises(UnavailableError, match="the checkpoint store"):
        await store.save("0", Position(1, "1", 0))
    await store.close()


async def test_closing_waits_for_what_sqlite_is_doing(tmp_path: Path) -> None:
    """SQLite crashes the process when a connection is closed while another thread works with it."""
    store = SqliteCheckpoints(tmp_path / "c.db", *SCOPE)
    is_under_way, may_end = threading.Event(), threading.Event()

    def slow() -> int:
        is_under_way.set()
        assert may_end.wait(10)
        return 1

    store._connection.create_function("slow", 0, slow)
    working = asyncio.create_task(store._run(lambda: store._connection.execute("SELECT slow()").fetchall()))
    assert await asyncio.to_thread(is_under_way.wait, 10)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    assert not closing.done()
    may_end.set()
    assert await working == [(1,)]
    await closing
