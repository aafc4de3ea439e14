"""Input hub → dedup service → clean hub, with the real SDKs, a real Valkey and real files."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.eventhub.amqp import AmqpMessageProperties
from redis.asyncio import Redis

from dedup_service.telemetry import Count
from sandbox.amqp.messages import BareMessage
from sandbox.hub.stand_in import StandIn
from tests.support import hub
from tests.support.hub import batch, element, event, single
from tests.support.service import RunningService, running_service

AVRO = b"Obj\x01\x04\x14avro.codec\x08null" + bytes(range(200))


@pytest.fixture
async def service(stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str) -> AsyncIterator[RunningService]:
    async with running_service(stand_in, redis_url, tmp_path, namespace) as running:
        yield running


async def clean(stand_in: StandIn) -> list[EventData]:
    return await hub.read_all(stand_in.connection_string("clean"))


async def dead(stand_in: StandIn) -> dict[str, list[EventData]]:
    letters: dict[str, list[EventData]] = {}
    for letter in await hub.read_all(stand_in.connection_string("dead-letter")):
        letters.setdefault(letter.properties[b"dedup_reason"].decode(), []).append(letter)
    return letters


def readings(events: list[EventData]) -> list[tuple[str, str]]:
    """(source, id) of every reading in the clean stream."""
    pairs: list[tuple[str, str]] = []
    for item in events:
        if item.content_type == hub.BATCH:
            pairs += [(part["source"], part["id"]) for part in hub.elements(item)]
        else:
            properties = hub.properties(item)
            pairs.append((properties["cloudEvents_source"].decode(), properties["cloudEvents_id"].decode()))
    return pairs


async def test_three_replicas_with_different_batch_boundaries_and_partly_different_sources(
    stand_in: StandIn, service: RunningService
) -> None:
    """Each reading is in the clean stream once, with its bytes unchanged."""
    rng = random.Random(7)
    sources = {0: ["urn:a", "urn:b"], 1: ["urn:b", "urn:c"], 2: ["urn:a", "urn:c", "urn:d"]}
    sent: dict[tuple[str, str], Any] = {}
    events = 0
    for replica, own in sources.items():
        elements = [element(str(n), {"v": n / 7, "s": source}, source) for n in range(40) for source in own]
        sent.update({(item["source"], item["id"]): item for item in elements})
        batches = []
        while elements:
            size = rng.randint(1, 17)
            batches.append(batch(elements[:size], cloudEvents_replica=f"r{replica}"))
            elements = elements[size:]
        events += len(batches)
        await hub.send(stand_in.connection_string("telemetry"), batches, str(replica))
    await service.until_events(events)
    received = await clean(stand_in)
    assert sorted(readings(received)) == sorted(sent)
    for item in received:
        for part in hub.elements(item):
            assert json.dumps(sent[part["source"], part["id"]]).encode() in hub.body(item)


async def test_a_batch_that_is_half_duplicates_keeps_its_other_half(stand_in: StandIn, service: RunningService) -> None:
    telemetry = stand_in.connection_string("telemetry")
    await hub.send(telemetry, [batch(element(str(n)) for n in range(10))], "0")
    await service.until_events(1)
    await hub.send(telemetry, [batch(element(str(n)) for n in range(5, 15))], "1")
    await service.until_events(2)
    assert [reading_id for _, reading_id in readings(await clean(stand_in))] == [str(n) for n in range(15)]
    second = (await clean(stand_in))[1]
    assert second.properties[b"dedup_indexes"] == b"5-9"
    assert second.properties[b"dedup_origin"].split(b"/")[1:] == [b"1", b"0"]


async def test_an_event_without_duplicates_passes_byte_for_byte(stand_in: StandIn, service: RunningService) -> None:
    body = b'[ {"specversion":"1.0","type":"t","source":"urn:a","id":"1","data":1.0e0},\n {"id":"2","source":"urn:a"} ]'
    sent = event(body, hub.BATCH, own="kept", dedup_origin="forged", Table="forged")
    sent.message_id, sent.correlation_id = "m", "c"
    await hub.send(stand_in.connection_string("telemetry"), [sent])
    await service.until_events(1)
    (got,) = await clean(stand_in)
    assert hub.body(got) == body
    assert (got.content_type, got.message_id, got.correlation_id) == (hub.BATCH, "m", "c")
    assert got.properties[b"own"] == b"kept"
    assert b"forged" not in got.properties.values()


@pytest.mark.parametrize(
    "body", [os.urandom(1000), AVRO, os.urandom(250_000), b""], ids=["random", "avro", "250KB", "empty"]
)
async def test_opaque_bodies_pass_untouched(stand_in: StandIn, service: RunningService, body: bytes) -> None:
    await hub.send(stand_in.connection_string("telemetry"), [single("1", body)], "0")
    await hub.send(stand_in.connection_string("telemetry"), [single("1", body)], "1")
    await service.until_events(2)
    assert [hub.body(item) for item in await clean(stand_in)] == [body]


async def test_bad_input_ends_in_the_dead_letters_with_its_reason_and_does_not_affect_its_neighbours(
    stand_in: StandIn, service: RunningService
) -> None:
    gzipped = event(gzip.compress(b"0" * 50_000_000), hub.BATCH)
    gzipped.raw_amqp_message.properties = AmqpMessageProperties(  # type: ignore[no-untyped-call]  # the SDK has no types
        content_type=hub.BATCH, content_encoding="gzip"
    )
    bad = {
        "no-key": event(b"just text"),
        "missing-id": single(""),
        "invalid-id": single("x" * 10_000),
        "missing-source": single("1", source=""),
        "unreadable-body": event(b"[{", hub.BATCH),
        "decompressed-too-large": gzipped,
        "unreadable-reading": event(
            b'[{"broken": nonsense},' + json.dumps(element("in-broken-batch")).encode() + b"]", hub.BATCH
        ),
    }
    sent = [item for pair in ((single(f"good-{reason}"), letter) for reason, letter in bad.items()) for item in pair]
    await hub.send(stand_in.connection_string("telemetry"), [*sent, single("last")])
    await service.until_events(len(sent) + 1)
    letters = await dead(stand_in)
    assert set(letters) == set(bad)
    for reason, (letter,) in letters.items():
        if reason != "unreadable-reading":
            assert hub.body(letter) == hub.body(bad[reason])
        assert letter.properties[b"dedup_origin"]
    assert hub.body(letters["unreadable-reading"][0]) == b'[{"broken": nonsense}]'
    good = {reading_id for _, reading_id in readings(await clean(stand_in))}
    assert good == {f"good-{reason}" for reason in bad} | {"last", "in-broken-batch"}


async def test_events_with_properties_of_every_type_pass(stand_in: StandIn, service: RunningService) -> None:
    """The events are written into the log as bytes, because no SDK sends all of these types."""
    extra = (
        b"\xa1\x01c\x73\x00\x00\x00A" + b"\xa1\x02d4\x74abcd" + b"\xa1\x02d8\x84abcdefgh" + b"\xa1\x01l\x80" + b"\xff" * 8
    ) + (b"\xa1\x01t\x83" + bytes(8) + b"\xa1\x01u\x00\xa3\x05x:uri\xa1\x03a:b" + b"\xa1\x01m\xc1\x05\x02\xa1\x01k\x40")
    attributes = b"".join(
        b"\xa1" + bytes([len(part)]) + part for part in (b"cloudEvents_id", b"1", b"cloudEvents_source", b"urn:a")
    )
    items = attributes + extra
    properties = b"\x00\x53\x74\xd1" + (len(items) + 4).to_bytes(4, "big") + (18).to_bytes(4, "big") + items
    stand_in.namespace.hubs["telemetry"].append(
        [
            BareMessage({}, properties + b"\x00\x53\x75\xa0\x01x"),
            BareMessage({}, b""),
            BareMessage({}, b"\x00\x53\x77\xa1\x02hi"),
        ],
        partition=stand_in.namespace.hubs["telemetry"].partitions[0],
    )
    await service.until_events(3)
    (got,) = await clean(stand_in)
    assert (hub.body(got), got.properties[b"c"], got.properties[b"l"]) == (b"x", b"A", 2**64 - 1)
    (stored,) = [entry.message for partition in stand_in.namespace.hubs["clean"].partitions for entry in partition.entries]
    assert extra in stored
    letters = await dead(stand_in)
    assert set(letters) == {"no-key", "body-not-binary"}
    assert b"hi" in hub.body(letters["body-not-binary"][0])


async def test_events_that_the_sdk_cannot_decode_end_in_the_dead_letters_and_block_nothing(
    stand_in: StandIn, service: RunningService
) -> None:
    array = b"\x00\x53\x74\xc1\x08\x02\xa1\x01a\xe0\x03\x01\xff"  # of an unknown type
    undecodable = [array + b"\x00\x53\x75\xa0\x01x", b"\x00\x53\x75\x45", b"\x00\x53\x75\x40", b"\x00\x53\x73\x40"]
    log = stand_in.namespace.hubs["telemetry"]
    log.append([BareMessage({}, data) for data in undecodable], partition=log.partitions[0])
    await hub.send(stand_in.connection_string("telemetry"), [single("good")])
    await service.until_events(len(undecodable) + 1)
    assert readings(await clean(stand_in)) == [("urn:plant:a", "good")]
    assert sum(len(letters) for letters in (await dead(stand_in)).values()) == len(undecodable)
    assert service.count(Count.WORKER_FAILURES) == 0


async def test_order_within_a_source_is_kept(stand_in: StandIn, service: RunningService) -> None:
    sent = [single(f"{n:03}", source=f"urn:{n % 5}") for n in range(100)]
    await hub.send(stand_in.connection_string("telemetry"), sent, "2")
    await service.until_events(100)
    received = await clean(stand_in)
    for source in range(5):
        ids = [reading_id for name, reading_id in readings(received) if name == f"urn:{source}"]
        assert ids == sorted(ids)
        assert len(ids) == 20


async def test_a_restarted_service_continues_and_publishes_nothing_twice(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    telemetry = stand_in.connection_string("telemetry")
    async with running_service(stand_in, redis_url, tmp_path, namespace) as first:
        await hub.send(telemetry, [single(str(n)) for n in range(10)])
        await first.until_events(10)
    await hub.send(telemetry, [single(str(n)) for n in range(5, 20)], "1")
    async with running_service(stand_in, redis_url, tmp_path, namespace) as second:
        await second.until_events(15)
        assert second.count(Count.DUPLICATES) == 5
    (tmp_path / "checkpoints.db").unlink()
    await forget_records(redis_url, namespace)
    async with running_service(stand_in, redis_url, tmp_path, namespace) as without_checkpoints:
        await without_checkpoints.until_events(25)
        assert without_checkpoints.count(Count.REPLAYS) == 20
    assert sorted(int(reading_id) for _, reading_id in readings(await clean(stand_in))) == list(range(20))


async def forget_records(redis_url: str, namespace: str) -> None:
    async with Redis.from_url(redis_url) as client:
        async for key in client.scan_iter(match=f"{namespace}{{0}}lease:*"):
            await client.delete(key)


async def test_two_services_share_the_work(stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str) -> None:
    telemetry = stand_in.connection_string("telemetry")
    async with (
        running_service(stand_in, redis_url, tmp_path, namespace) as one,
        running_service(stand_in, redis_url, tmp_path, namespace) as two,
    ):
        await one.until(lambda: len(one.telemetry.partitions) == len(two.telemetry.partitions) == 2)
        for partition in range(4):
            await hub.send(telemetry, [batch(element(str(n)) for n in range(50))], str(partition))
        await one.until(lambda: one.count(Count.INPUT_EVENTS) + two.count(Count.INPUT_EVENTS) >= 4)
    assert sorted(int(reading_id) for _, reading_id in readings(await clean(stand_in))) == list(range(50))


async def test_health_metrics_stats_and_their_token(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    async with running_service(stand_in, redis_url, tmp_path, namespace, api_token="sesame") as service:
        await service.until(lambda: len(service.telemetry.partitions) == 4)
        await hub.send(stand_in.connection_string("telemetry"), [single("1", cloudEvents_replica="r1")] * 3)
        await service.until_events(3)
        assert (await service.get("/healthz"))[0] == (await service.get("/readyz"))[0] == 200
        metrics = (await service.get("/metrics"))[1]
        assert 'dedup_duplicates_total{replica="r1"} 2.0' in metrics
        for token in (None, "wrong"):
            assert (await service.get("/v1/stats", token))[0] == 401
        stats = await service.until_totals(copies=3, clean_readings=1)
        assert "sesame" not in json.dumps(stats) + metrics
