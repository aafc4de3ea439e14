"""Valkeys that forget: restarted empty, failed over without the last acknowledged writes, one node of a cluster emptied."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.cluster import RedisCluster

from sandbox.peers import valkeys
from sandbox.peers.processes import ProcessError
from sandbox.peers.valkeys import Loss, ReplicatedValkey, lone_valkey, replicated_valkey
from tests.support.valkeys import Cluster, valkey_cluster

TIMEOUT_SECONDS = 60.0
NOTHING = Loss(frozenset(), frozenset())


def connected(url: str) -> Redis:
    """Tries again while nobody answers."""
    made: Redis = Redis.from_url(url, retry=Retry(ConstantBackoff(0.05), 100))
    return made


async def no_writes() -> None:
    pass


async def test_ctrl_c_is_for_whoever_started_it() -> None:
    """A terminal sends it to all processes of a command, and the demo's audit still needs its Valkey then."""
    async with lone_valkey() as valkey, Redis.from_url(valkey.url, retry=None) as client:
        os.kill((await client.info("server"))["process_id"], signal.SIGINT)
        for _ in range(100):
            assert await client.ping()


async def test_a_lone_valkey_comes_back_empty_at_its_address() -> None:
    async with lone_valkey() as valkey, connected(valkey.url) as client:
        await client.mset({"a": 1, "b": 2})
        before = (await client.info("server"))["run_id"]
        assert await valkey.restart_empty() == Loss(frozenset({b"a", b"b"}), frozenset())
        assert await client.dbsize() == 0
        assert (await client.info("server"))["run_id"] != before


@pytest.fixture
async def pair() -> AsyncIterator[ReplicatedValkey]:
    async with replicated_valkey() as running:
        yield running


@pytest.fixture
async def client(pair: ReplicatedValkey) -> AsyncIterator[Redis]:
    async with connected(pair.url) as made:
        yield made


async def test_each_fail_over_keeps_what_was_acknowledged_before_and_loses_what_was_since_the_link_was_cut(
    pair: ReplicatedValkey, client: Redis
) -> None:
    servers = {(await client.info("server"))["run_id"]}
    for number in range(1, 4):
        kept, lost = f"kept-{number}", f"lost-{number}"
        await client.mset({kept: 1, "overwritten": f"before-{number}"})
        await client.hset("no-string", "field", "value")

        async def write(lost: str = lost, number: int = number) -> None:
            await client.set(lost, 1)
            await client.set("overwritten", f"after-{number}")
            await client.hset("no-string", "field", "another")

        loss = await pair.fail_over(write)
        assert await client.mget(kept, lost, "overwritten") == [b"1", None, f"before-{number}".encode()]
        assert loss == Loss(frozenset({lost.encode()}), frozenset({b"overwritten"}))
        servers.add((await client.info("server"))["run_id"])
    assert len(servers) == 4


async def test_a_client_that_goes_on_writing_sees_an_acknowledged_counter_go_back(
    pair: ReplicatedValkey, client: Redis
) -> None:
    acknowledged, stop = [0], asyncio.Event()

    async def count() -> None:
        while not stop.is_set():
            acknowledged.append(await client.incr("counter"))

    async def until_counted(more: int) -> None:
        wanted = len(acknowledged) + more
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while len(acknowledged) < wanted:
                await asyncio.sleep(0.005)

    counting = asyncio.create_task(count())
    await until_counted(50)
    loss = await pair.fail_over(lambda: until_counted(50))
    await until_counted(1)
    stop.set()
    await counting
    assert loss == Loss(frozenset(), frozenset({b"counter"}))
    went_back = [before - after for before, after in pairwise(acknowledged) if after <= before]
    assert len(went_back) == 1
    assert went_back[0] >= 40


async def test_a_primary_that_is_restarted_empty_empties_its_replica_too(pair: ReplicatedValkey, client: Redis) -> None:
    await client.set("before", 1)
    assert await pair.restart_empty() == Loss(frozenset({b"before"}), frozenset())
    await client.set("after", 1)
    assert await pair.fail_over(no_writes) == NOTHING
    assert await client.mget("before", "after") == [None, b"1"]


async def test_a_replica_that_does_not_follow_is_reported(
    pair: ReplicatedValkey, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.set("a", 1)
    await pair.replica.kill()
    monkeypatch.setattr(valkeys, "IN_STEP_SECONDS", 0.3)
    with pytest.raises(ProcessError, match="replica"):
        await pair.fail_over(no_writes)
    assert await client.get("a") == b"1"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with valkey_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.mark.parametrize("forget", [Cluster.flush, Cluster.restart_empty])
def test_one_node_of_a_cluster_forgets_and_the_others_keep_what_they_have(cluster: Cluster, forget: object) -> None:
    assert callable(forget)
    with RedisCluster.from_url(cluster.url) as client:
        keys = [f"{{{number}}}key" for number in range(60)]
        for key in keys:
            client.set(key, 1)
        node = cluster.primary_of("7")
        forgotten = {key for key in keys if cluster.primary_of(key[1 : key.index("}")]) == node}
        assert 0 < len(forgotten) < len(keys)
        forget(cluster, node)
        assert {key for key in keys if client.get(key) is None} == forgotten
        assert cluster.primary_of("7") == node
        for key in keys:
            client.set(key, 2)
        assert {client.get(key) for key in keys} == {b"2"}
