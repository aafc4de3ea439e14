"""Below the SDK: what an input brings is acknowledged when it is kept, once, and only on the connection on which it came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import pytest

from edge_sender.uplinks.acknowledging import MARK, Acknowledger, acknowledger_of

INPUT = "devices/gw-a/modules/edge-sender/inputs/plant/"


class MqttMessage:
    """As paho 1.6 has it: its topic is written as bytes, and read as text."""

    def __init__(self, topic: str, number: int, qos: int = 1) -> None:
        self._topic, self.mid, self.qos = topic.encode(), number, qos

    @property
    def topic(self) -> str:
        return self._topic.decode()

    @topic.setter
    def topic(self, topic: bytes) -> None:
        self._topic = topic


@dataclass
class Mqtt:
    """The client below the SDK."""

    acknowledged: list[int] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)
    _sock: object = field(default_factory=object)

    def on_message(self, _: Any, __: Any, message: MqttMessage) -> None:
        self.topics.append(message.topic)

    def _send_puback(self, number: int) -> int:
        self.acknowledged.append(number)
        return 0

    def receive(self, topic: str, number: int, qos: int = 1) -> str | None:
        """As its thread does; returns the mark that the message has then."""
        self.on_message(self, None, MqttMessage(topic, number, qos))
        if qos:
            self._send_puback(number)
        return dict(parse_qsl(self.topics[-1].rpartition("/")[2])).get(MARK)

    def connect_again(self) -> None:
        self._sock = object()


@pytest.mark.parametrize("properties", ["", "line=3&%24.cmid=opcpublisher", f"%24{MARK[1:]}=1"])
def test_a_message_of_an_input_waits_until_it_is_kept(properties: str) -> None:
    mqtt = Mqtt()
    acknowledger = Acknowledger(mqtt)
    marks = [mqtt.receive(INPUT + properties, number) for number in (7, 8)]
    assert mqtt.acknowledged == []
    assert mqtt.topics[0].startswith(INPUT + properties)
    for mark in (marks[1], marks[0], marks[0], "another"):
        acknowledger.acknowledge(mark or "")
    assert mqtt.acknowledged == [8, 7]


@pytest.mark.parametrize("topic", ["$iothub/twin/res/200/?$rid=1", "devices/gw-a/messages/devicebound/a=b", INPUT + "a/b"])
def test_all_else_is_acknowledged_at_once(topic: str) -> None:
    mqtt = Mqtt()
    Acknowledger(mqtt)
    assert mqtt.receive(topic, 3) is None
    assert (mqtt.topics, mqtt.acknowledged) == ([topic], [3])


def test_what_came_on_a_former_connection_comes_again_and_its_number_may_be_anothers() -> None:
    mqtt = Mqtt()
    acknowledger = Acknowledger(mqtt)
    old = mqtt.receive(INPUT, 1)
    mqtt.connect_again()
    new = mqtt.receive(INPUT, 1)
    acknowledger.acknowledge(old or "")
    assert mqtt.acknowledged == []
    acknowledger.acknowledge(new or "")
    assert mqtt.acknowledged == [1]


def test_a_client_with_other_internals_is_left_as_it_is() -> None:
    assert acknowledger_of(object()) is None
