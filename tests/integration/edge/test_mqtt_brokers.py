"""The MQTT source against a broker of both versions: retained messages, sessions, stolen client ids, QoS 0, certificates."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from edge_sender.buffering.inbox import Inbox, IntakeOptions, SourceIntake
from edge_sender.config.sources import check_sources
from edge_sender.counters import Counters, SourceTally
from edge_sender.identity.rules import parse_rules
from edge_sender.ports import SourceConfigError
from edge_sender.sources.make import make_source
from edge_sender.sources.mqtt.source import MqttSource
from tests.doubles.intake import ListIntake
from tests.support.mosquitto import Mosquitto
from tests.support.senders import until

BOTH = pytest.mark.parametrize("version", ["3.1.1", "5"])


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    running = Mosquitto(tmp_path)
    await running.start()
    yield running
    running.stop()


def make(broker: Mosquitto, client_id: str = "edge", **given: Any) -> MqttSource:
    source = {
        "name": "m",
        "kind": "mqtt",
        "host": "127.0.0.1",
        "port": broker.port,
        "topics": ["plant/#"],
        "identity": "content",
    }
    document = {**source, "uri_prefix": "mqtt://plant/", **given}
    made = make_source(check_sources({"sources": [document]}).sources[0], client_id, SourceTally())
    assert isinstance(made, MqttSource)
    return made


@asynccontextmanager
async def running(source: MqttSource) -> AsyncIterator[ListIntake]:
    intake = ListIntake()
    task = asyncio.create_task(source.run(intake))
    try:
        await until(lambda: source.is_up, f"it does not connect: {source.problem}")
        yield intake
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def delivered(intake: ListIntake, broker: Mosquitto, topic: str = "plant/end") -> list[Any]:
    """The numbers that have arrived up to a message that is published now, each once: what a broker that stops has not seen
    acknowledged, it delivers again."""
    end = uuid.uuid4().hex
    await broker.publish((topic, f'"{end}"'.encode()))
    await until(lambda: any(sample.data == end for sample in intake.samples), "the last message is missing")
    return list(dict.fromkeys(sample.data for sample in intake.samples if isinstance(sample.data, int)))


@BOTH
@pytest.mark.parametrize(("mode", "first", "again"), [("skip", [], []), ("once", [7, 8], []), ("take", [7, 8], [7, 8])])
async def test_retained_messages_are_skipped_or_taken_once_or_always(
    broker: Mosquitto, version: str, mode: str, first: list[int], again: list[int]
) -> None:
    await broker.publish(("plant/a", b"7"), ("plant/b", b"8"), retain=True)
    source = make(broker, version=version, retained=mode)
    async with running(source) as intake:
        assert sorted(await delivered(intake, broker)) == first
        intake.samples.clear()
        broker.stop()
        await until(lambda: not source.is_up, "it does not notice")
        await broker.start()
        await until(lambda: source.is_up, "it does not reconnect")
        assert sorted(await delivered(intake, broker)) == again


@BOTH
async def test_a_retained_message_that_changed_meanwhile_is_taken(broker: Mosquitto, version: str) -> None:
    await broker.publish(("plant/a", b"7"), retain=True)
    source = make(broker, version=version)
    async with running(source) as intake:
        assert await delivered(intake, broker) == [7]
        await broker.publish(("plant/a", b"9"), retain=True)
        await until(lambda: intake.samples[-1].data == 9, "the live message is missing")


@BOTH
async def test_what_is_published_while_it_is_away_arrives(broker: Mosquitto, version: str) -> None:
    async with running(make(broker, version=version)) as intake:
        assert await delivered(intake, broker) == []
    await broker.publish(("plant/a", b"1"), ("plant/a", b"2"))
    async with running(make(broker, version=version)) as intake:
        assert await delivered(intake, broker) == [1, 2]


@BOTH
async def test_a_broker_that_has_lost_the_session_is_named(tmp_path: Path, version: str) -> None:
    broker = Mosquitto(tmp_path, persistent=False)
    await broker.start()
    source = make(broker, version=version)
    async with running(source):
        assert source.notice is None
        broker.stop()
        await until(lambda: not source.is_up, "it does not notice")
        await broker.start()
        await until(lambda: source.notice is not None, "it says nothing")
        assert source.notice is not None
        assert "no session any more" in source.notice
    broker.stop()


@BOTH
async def test_another_client_with_the_same_id_is_named(broker: Mosquitto, version: str) -> None:
    source = make(broker, "edge-twin", version=version)
    other = paho.Client("edge-twin", protocol=paho.MQTTv311, clean_session=False)
    async with running(source):
        other.connect_async("127.0.0.1", broker.port)
        other.loop_start()
        await until(lambda: source.notice is not None, "it says nothing")
        other.disconnect()
        await asyncio.to_thread(other.loop_stop)
        assert source.notice is not None
        assert "the client id 'edge-twin', and takes the session away" in source.notice
        await until(lambda: source.is_up, "it does not come back")


async def test_messages_with_qos_0_are_counted(broker: Mosquitto) -> None:
    source = make(broker)
    async with running(source) as intake:
        await broker.publish(("plant/a", b"1"), ("plant/a", b"2"), qos=0)
        await until(lambda: len(intake.samples) == 2, "messages are missing")
        await broker.publish(("plant/a", b"3"))
        await until(lambda: len(intake.samples) == 3, "a message is missing")
    assert source.unacknowledged == 2


@BOTH
async def test_it_connects_by_websocket(broker: Mosquitto, version: str) -> None:
    async with running(make(broker, version=version, port=broker.websocket_port, websocket_path="/mqtt")) as intake:
        await broker.publish(("plant/a", b"1"))
        await until(lambda: len(intake.samples) == 1, "a message is missing")


async def test_it_shows_its_certificate(broker: Mosquitto) -> None:
    tls: dict[str, Any] = {"port": broker.tls_port, "tls": True, "ca_file": str(broker.ca_file)}
    own = {"certificate": str(broker.certificate), "private_key": str(broker.private_key)}
    async with running(make(broker, **tls, **own)) as intake:
        await broker.publish(("plant/a", b"1"))
        await until(lambda: len(intake.samples) == 1, "a message is missing")
    without = make(broker, **tls)
    task = asyncio.create_task(without.run(ListIntake()))
    await until(lambda: "another certificate of this client" in str(without.problem), "it does not say what is missing")
    assert not without.is_up
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with pytest.raises(SourceConfigError, match=r"can't be used as certificate"):
        make(broker, **tls, certificate=str(broker.ca_file), private_key=str(broker.private_key))


HOSTILE = [
    b'{"a": NaN, "b": [Infinity, -Infinity, 1e999]}',
    b'{"serial": 18446744073709551615, "at": 1700000000123456789}',
    b"[[1, [2, [3]]], []]",
    b"[" * 100_000,
    b"[" * 500 + b"]" * 500,
    b'{"a": "\\ud800"}',
    b'{"a": 1, "a": 2}',
    b"9" * 5000,
    b"\xff\x00",
    b"",
    b"\xef\xbb\xbf5",
    b'{"at": {"x": 1}}',
    b'{"at": "1e999999"}',
]


async def test_no_content_of_a_message_ends_the_sender(broker: Mosquitto) -> None:
    """With the intake that a sender has. What gets no id is counted."""
    counters = Counters()
    inbox = Inbox(IntakeOptions(1000, "drop-oldest", 0.0), counters, lambda: 0.0)
    source = make(broker, time="at", time_format="ns", topics=["#"])
    task = asyncio.create_task(source.run(SourceIntake(inbox, "m", parse_rules("content"), "t")))
    await until(lambda: source.is_up, "it does not connect")
    messages = [(f"plant/{number}", payload) for number, payload in enumerate(HOSTILE)]
    await broker.publish(*messages, ("plant/Ofen 3/\u00e4?#".rstrip("#"), b"1"), ("//[x", b"1"), ("plant/end", b"1"))
    wanted = len(HOSTILE) + 3
    await until(
        lambda: len(inbox.pending) + counters.dropped.total() + sum(source.skipped.values()) == wanted, "not all arrived"
    )
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    found = {json.loads(item.head)["source"].removeprefix("mqtt://plant/"): json.loads(item.data) for item in inbox.pending}
    assert found["plant/0"] == {"a": "NaN", "b": ["Infinity", "-Infinity", "1e999"]}
    assert found["plant/1"] == {"serial": 18446744073709551615, "at": 1700000000123456789}
    assert found["plant/2"] == [[1, [2, [3]]], []]
    assert found["plant/3"] == "[" * 100_000
    assert found["plant/4"] == "[" * 500 + "]" * 500
    assert found["plant/7"] == "9" * 5000
    assert found["plant/8"] == "ff00"
    assert found["plant/10"] == 5
    assert found["plant/Ofen%203/%C3%A4%3F"] == 1
    assert counters.dropped == {"no-identity": 1}  # a lone surrogate is no text
    times = [json.loads(item.head).get("time") for item in inbox.pending]
    assert times.count("2023-11-14T22:13:20.123456789Z") == 1
