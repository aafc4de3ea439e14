"""The MQTT source against a real broker: what it delivers, and that it reconnects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from amqtt.broker import Broker
from amqtt.client import MQTTClient
from amqtt.mqtt.constants import QOS_1

from edge_sender.config.sources import SourceConfig, check_sources
from edge_sender.counters import SourceTally
from edge_sender.ports import SourceConfigError
from edge_sender.sources.make import make_source
from edge_sender.sources.mqtt.source import MqttSource
from sandbox.peers.processes import free_port
from tests.doubles.intake import ListIntake
from tests.support import sparkplug
from tests.support.senders import until, until_running


async def start_broker(port: int) -> Broker:
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    return broker


async def publish(port: int, messages: list[tuple[str, bytes]]) -> None:
    client = MQTTClient(config={"auto_reconnect": False})
    await client.connect(f"mqtt://127.0.0.1:{port}/")
    for topic, payload in messages:
        await client.publish(topic, payload, QOS_1)
    await client.disconnect()


@pytest.fixture
async def broker() -> AsyncIterator[tuple[int, list[Broker]]]:
    port = free_port()
    running = [await start_broker(port)]
    yield port, running
    for one in running:
        await one.shutdown()


def source_config(port: int, **given: Any) -> SourceConfig:
    source = {"name": "m", "kind": "mqtt", "host": "127.0.0.1", "port": port, "topics": ["plant/+/meter"]}
    document = {**source, "uri_prefix": "mqtt://plant/", "identity": "content", **given}
    return check_sources({"sources": [document]}).sources[0]


async def test_messages_become_samples_and_the_topic_names_the_source(broker: tuple[int, list[Broker]]) -> None:
    port, _ = broker
    config = source_config(port, time="at", time_format="ms")
    source, intake = make_source(config, "client-1", SourceTally()), ListIntake()
    running = asyncio.create_task(source.run(intake))
    await until(lambda: source.is_up, "it does not connect")
    given = [
        ("plant/a/meter", json.dumps({"at": 1500, "value": 1.5}).encode()),
        ("plant/a/meter", b'{"at": "1e999999"}'),
        ("plant/b/meter", b"plain text"),
        ("plant/b/meter", b"\xff\xfe"),
        ("plant/b/other", b"1"),
        ("plant/c/meter", b'{"value": 2}'),
    ]
    await publish(port, given)
    await until(lambda: len(intake.samples) == 5, "messages are missing")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert [(s.source, s.time_ns, s.data) for s in intake.samples] == [
        ("mqtt://plant/plant/a/meter", 1_500_000_000, {"at": 1500, "value": 1.5}),
        ("mqtt://plant/plant/a/meter", None, {"at": "1e999999"}),
        ("mqtt://plant/plant/b/meter", None, "plain text"),
        ("mqtt://plant/plant/b/meter", None, "fffe"),
        ("mqtt://plant/plant/c/meter", None, {"value": 2}),
    ]


async def test_it_reconnects_when_the_broker_is_back(broker: tuple[int, list[Broker]]) -> None:
    port, running_brokers = broker
    source, intake = make_source(source_config(port), "client-2", SourceTally()), ListIntake()
    running = asyncio.create_task(source.run(intake))
    await until(lambda: source.is_up, "it does not connect")
    await running_brokers.pop().shutdown()
    await until(lambda: not source.is_up, "it does not notice")
    running_brokers.append(await start_broker(port))
    await until(lambda: source.is_up, "it does not reconnect")
    await publish(port, [("plant/a/meter", b"7")])
    await until(lambda: len(intake.samples) == 1, "the message is missing")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert intake.samples[0].data == 7


@pytest.mark.parametrize("topic", ["", "a/#/b", "a/b#", "a+/b", "$share/edges/plant/#", "$queue/a"])
def test_a_wrong_topic_filter_is_refused(topic: str) -> None:
    with pytest.raises(SourceConfigError, match="topic"):
        source_config(1883, topics=[topic])


def test_a_password_comes_from_the_environment_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_SECRET_METER", "hunter2")
    source = make_source(source_config(1883, username="edge", password_env="EDGE_SECRET_METER"), "c", SourceTally())
    assert isinstance(source, MqttSource)
    assert source._broker.password == "hunter2"
    assert "hunter2" not in repr(source._broker)


async def test_sparkplug_is_read_and_an_edge_node_that_was_missed_is_asked_for_its_births(
    broker: tuple[int, list[Broker]],
) -> None:
    port, _ = broker
    config = source_config(port, topics=["spBv1.0/#"], identity="source-time+value", payload="sparkplug", rebirth=True)
    source, intake = make_source(config, "client-9", SourceTally()), ListIntake()
    assert isinstance(source, MqttSource)
    async with until_running(source.run(intake)):
        await until(lambda: source.is_up, "it does not connect")
        node = MQTTClient(config={"auto_reconnect": False})
        await node.connect(f"mqtt://127.0.0.1:{port}/")
        await node.subscribe([("spBv1.0/g/NCMD/press", QOS_1)])
        await node.publish("spBv1.0/g/NDATA/press", sparkplug.payload(3, sparkplug.metric(1.0, alias=7)), QOS_1)
        asked = await asyncio.wait_for(node.deliver_message(), 30)
        assert asked is not None
        assert b"Node Control/Rebirth" in bytes(asked.data or b"")
        await node.publish("spBv1.0/g/NBIRTH/press", sparkplug.payload(0, sparkplug.metric(1.0, name="T", alias=7)), QOS_1)
        await node.publish("spBv1.0/g/NDATA/press", sparkplug.payload(1, sparkplug.metric(21.5, alias=7)), QOS_1)
        await until(lambda: len(intake.samples) == 1, "the metric is missing")
        await node.disconnect()
    assert [(sample.source, sample.value) for sample in intake.samples] == [("mqtt://plant/g/press//T", 21.5)]
    assert (source.skipped["unknown-alias"], source.skipped["gap"], source.skipped["unusable"]) == (1, 0, 0)
