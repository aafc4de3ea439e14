"""MQTT source: every message on the chosen topics is a sample, and its topic names the source."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho

from edge_sender.ports import Intake
from wire.ids import Sample
from wire.times import TimeFormat, parse_time

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 15
MAX_RECONNECT_SECONDS = 5
QOS = 1
REFUSED = 128


@dataclass(frozen=True, slots=True)
class MqttBroker:
    host: str
    port: int
    tls: ssl.SSLContext | None
    username: str | None
    password: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class MqttFormat:
    topics: tuple[str, ...]
    uri_prefix: str
    """The source's URI is this prefix followed by the topic: the same on every replica, whichever broker it uses."""
    time: str | None
    """Member of the payload that holds the source time. The time of arrival is never used."""
    time_format: TimeFormat


class MqttSource:
    """With `keep_session` the broker keeps messages for this client while it is disconnected (QoS 1)."""

    def __init__(self, name: str, broker: MqttBroker, form: MqttFormat, client_id: str, *, keep_session: bool) -> None:
        self.name = name
        self.is_up = False
        self._broker = broker
        self._format = form
        self._client_id = client_id
        self._keep_session = keep_session
        self._told = ""

    async def run(self, intake: Intake) -> None:
        loop = asyncio.get_running_loop()
        client = self._make_client()

        def on_message(_: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
            """Called on the library's thread."""
            sample = self._sample(message.topic, message.payload)
            loop.call_soon_threadsafe(intake.take, sample)

        def on_connect(_: paho.Client, __: Any, ___: Any, code: int) -> None:
            if code:
                loop.call_soon_threadsafe(self._note, paho.connack_string(code))
            else:
                client.subscribe([(topic, QOS) for topic in self._format.topics])

        def on_disconnect(_: paho.Client, __: Any, code: int) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._note, paho.error_string(code))

        def on_subscribe(_: paho.Client, __: Any, ___: int, granted: tuple[int, ...]) -> None:
            refused = [topic for topic, qos in zip(self._format.topics, granted, strict=False) if qos == REFUSED]
            loop.call_soon_threadsafe(self._note, f"the topics {refused} were refused" if refused else None)

        client.on_message, client.on_connect, client.on_disconnect = on_message, on_connect, on_disconnect
        client.on_subscribe = on_subscribe
        client.connect_async(self._broker.host, self._broker.port, KEEP_ALIVE_SECONDS)
        client.loop_start()
        try:
            await asyncio.Event().wait()
        finally:
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)

    def _make_client(self) -> paho.Client:
        client = paho.Client(self._client_id, clean_session=not self._keep_session)
        client.enable_logger(logger)
        client.suppress_exceptions = True  # they are logged; otherwise the library's thread would end unnoticed
        client.reconnect_delay_set(1, MAX_RECONNECT_SECONDS)
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._broker.password)
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        return client

    def _note(self, problem: str | None) -> None:
        """Log changes of state, not every failure."""
        self.is_up = problem is None
        if problem is not None and problem != self._told:
            logger.warning("%s: not connected to %s:%d: %s", self.name, self._broker.host, self._broker.port, problem)
        elif problem is None:
            logger.info("%s: connected to %s:%d", self.name, self._broker.host, self._broker.port)
        self._told = problem or ""

    def _sample(self, topic: str, payload: bytes) -> Sample:
        data = _decoded(payload)
        time_ns = None
        if self._format.time is not None and isinstance(data, dict):
            try:
                time_ns = parse_time(data[self._format.time], self._format.time_format)
            except (KeyError, ValueError):
                logger.debug("%s: a payload has no time", self.name)
        return Sample(self._format.uri_prefix + topic, time_ns, data)


def _decoded(payload: bytes) -> Any:
    """JSON if it parses, otherwise text, otherwise hexadecimal digits."""
    try:
        return json.loads(payload)
    except (ValueError, RecursionError):
        try:
            return payload.decode()
        except UnicodeDecodeError:
            return payload.hex()
