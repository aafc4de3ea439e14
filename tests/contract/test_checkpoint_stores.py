"""The laws of checkpoints and ownership, in memory, in SQLite, and in Azure Blob Storage on a real Azurite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from dedup_service.adapters.memory import MemoryCheckpoints
from dedup_service.adapters.sdk_checkpoints import SdkCheckpoints
from dedup_service.adapters.sqlite_checkpoints import SqliteCheckpointStore
from dedup_service.bootstrap import checkpoint_store
from dedup_service.core.balancing import Ownership
from dedup_service.core.progress import Position
from dedup_service.errors import UnavailableError
from dedup_service.ports import Checkpoints
from dedup_service.settings import Settings
from tests.support.peers import new_container

SCOPE = ("ns.servicebus.windows.net", "telemetry", "dedup")


def settings(checkpoint_url: str) -> Settings:
    return Settings.model_construct(checkpoint_url=SecretStr(checkpoint_url))


@pytest.fixture(params=["memory", "sqlite", "blob"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Checkpoints]:
    if request.param == "memory":
        yield MemoryCheckpoints()
        return
    url = f"sqlite:///{tmp_path / 'c.db'}"
    if request.param == "blob":
        azurite = request.getfixturevalue("azurite")
        url = f"{azurite};ContainerName={await new_container(azurite)}"
    made = SdkCheckpoints(checkpoint_store(settings(url)), *SCOPE)
    yield made
    await made.close()


async def test_a_position_is_found_as_it_was_saved(store: Checkpoints) -> None:
    assert await store.load() == {}
    await store.save("0", Position(5, "500", 0))
    await store.save("1", Position(-1, "-1", 0))
    await store.save("0", Position(7, "700", 0))
    assert await store.load() == {"0": Position(7, "700", 0), "1": Position(-1, "-1", 0)}


async def test_a_free_partition_goes_to_one_owner(store: Checkpoints, request: pytest.FixtureRequest) -> None:
    (first,) = await store.claim_ownership([Ownership("0", "pod-0", None)])
    assert [(o.partition_id, o.owner_id) for o in await store.ownerships()] == [("0", "pod-0")]
    if "blob" not in request.node.name:  # Azurite ignores If-None-Match here; Azure answers 412
        assert await store.claim_ownership([Ownership("0", "pod-1", None)]) == []
    assert await store.claim_ownership([replace(first, owner_id="pod-2", etag="0x0")]) == []


async def test_an_ownership_is_renewed_and_stolen_only_with_its_newest_etag(store: Checkpoints) -> None:
    (first,) = await store.claim_ownership([Ownership("0", "a", None)])
    (renewed,) = await store.claim_ownership([first])
    assert renewed.etag != first.etag
    assert await store.claim_ownership([first]) == []
    (stolen,) = await store.claim_ownership([replace(renewed, owner_id="b")])
    assert await store.claim_ownership([renewed]) == []
    assert await store.ownerships() == [stolen]


async def test_an_ownership_is_released_by_an_empty_owner(store: Checkpoints) -> None:
    (mine,) = await store.claim_ownership([Ownership("0", "a", None)])
    (released,) = await store.claim_ownership([replace(mine, owner_id="")])
    assert released.owner_id == ""
    (taken,) = await store.claim_ownership([replace(released, owner_id="b")])
    assert taken.owner_id == "b"


async def test_those_that_can_be_taken_are_taken_and_the_others_left_out(store: Checkpoints) -> None:
    await store.claim_ownership([Ownership("0", "a", None)])
    taken = await store.claim_ownership([Ownership("0", "b", "0x0"), Ownership("1", "b", None)])
    assert [o.partition_id for o in taken] == ["1"]


# --- what only a file can show


async def test_two_processes_share_a_file(tmp_path: Path) -> None:
    stores = [SdkCheckpoints(SqliteCheckpointStore(tmp_path / "c.db"), *SCOPE) for _ in range(4)]
    for partition in map(str, range(10)):
        claims = [store.claim_ownership([Ownership(partition, f"pod-{n}", None)]) for n, store in enumerate(stores)]
        assert sum(len(taken) for taken in await asyncio.gather(*claims)) == 1
    await stores[0].save("0", Position(1, "1", 0))
    assert await stores[1].load() == {"0": Position(1, "1", 0)}
    for store in stores:
        await store.close()


async def test_hubs_and_consumer_groups_do_not_see_each_other(tmp_path: Path) -> None:
    file = SqliteCheckpointStore(tmp_path / "c.db")
    one, other = SdkCheckpoints(file, *SCOPE), SdkCheckpoints(file, SCOPE[0], SCOPE[1], "other")
    await one.save("0", Position(1, "1", 0))
    assert await other.load() == {}
    await one.close()


async def test_a_store_that_is_away_is_unavailable(tmp_path: Path) -> None:
    away = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=eA==;BlobEndpoint=http://127.0.0.1:1/a;ContainerName=c"
    store = SdkCheckpoints(checkpoint_store(settings(away)), *SCOPE)
    with pytest.raises(UnavailableError, match="the checkpoint store"):
        await store.load()
    with pytest.raises(UnavailableError, match="could not be written"):
        await store.claim_ownership([Ownership("0", "a", "0x0")])
    await store.close()
