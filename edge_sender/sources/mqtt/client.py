"""The MQTT library's client as a broker of either version needs it."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass, field
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_sender.sources.mqtt.retained import Retained

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 15
MAX_RECONNECT_SECONDS = 5
QOS = 1
REFUSED = 128
"""The first code of a SUBACK that says so."""
SESSION_TAKEN_OVER = 0x8E


@dataclass(frozen=True, slots=True)
class MqttBroker:
    host: str
    port: int
    tls: ssl.SSLContext | None
    username: str | None
    password: str | None = field(repr=False)
    version: Literal["3.1.1", "5"] = "3.1.1"
    websocket_path: str | None = None
    """None: plain TCP."""
    session_expiry_seconds: int = 86_400
    """How long the broker keeps the session while the client is away; in MQTT 5 only."""

    @property
    def is_5(self) -> bool:
        return self.version == "5"


def make_client(broker: MqttBroker, client_id: str, *, keep_session: bool) -> paho.Client:
    client = paho.Client(
        client_id,
        clean_session=None if broker.is_5 else not keep_session,
        protocol=paho.MQTTv5 if broker.is_5 else paho.MQTTv311,
        transport="tcp" if broker.websocket_path is None else "websockets",
    )
    client.enable_logger(logger)
    client.suppress_exceptions = True  # they are logged; otherwise the library's thread would end unnoticed
    client.reconnect_delay_set(1, MAX_RECONNECT_SECONDS)
    if broker.websocket_path is not None:
        client.ws_set_options(broker.websocket_path)
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password)
    if broker.tls is not None:
        client.tls_set_context(broker.tls)
    return client


def connect(client: paho.Client, broker: MqttBroker, *, keep_session: bool) -> None:
    """Start to connect; the library goes on in its own thread."""
    how: dict[str, Any] = {}
    if broker.is_5:
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = broker.session_expiry_seconds if keep_session else 0
        how = {"clean_start": not keep_session, "properties": properties}
    client.connect_async(broker.host, broker.port, KEEP_ALIVE_SECONDS, **how)


def subscribe(client: paho.Client, broker: MqttBroker, topics: tuple[str, ...], retained: Retained) -> None:
    """MQTT 5 can also be told not to deliver retained messages, or not again for a subscription that is there already."""
    if not broker.is_5:
        client.subscribe([(topic, QOS) for topic in topics])
        return
    handling = {
        "skip": SubscribeOptions.RETAIN_DO_NOT_SEND,
        "once": SubscribeOptions.RETAIN_SEND_IF_NEW_SUB,
        "take": SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE,
    }[retained]
    client.subscribe([(topic, SubscribeOptions(qos=QOS, retainHandling=handling)) for topic in topics])


def granted_qos(code: Any) -> int:
    """Of a SUBACK: the QoS, or `REFUSED` and above."""
    return int(code.value if hasattr(code, "value") else code)
