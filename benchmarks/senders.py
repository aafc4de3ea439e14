"""One event's readings as other senders write them: the encoded message without the hub's annotations."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sandbox.amqp.codec import Symbol
from sandbox.amqp.messages import APPLICATION_PROPERTIES, data_section, properties_section, section

Readings = list[dict[str, Any]]
Write = Callable[[Readings], bytes]
SERVER = "urn:plant:server"


def _message(body: Any, **properties: str) -> bytes:
    head = section(APPLICATION_PROPERTIES, properties) if properties else b""
    system = properties_section(content_type=Symbol("application/json"))
    return system + head + data_section(json.dumps(body, separators=(",", ":")).encode())


def _name(reading: dict[str, Any]) -> str:
    return str(reading["source"]).removeprefix("opc.tcp://plant/")


def _value(reading: dict[str, Any]) -> float:
    return float(reading["data"]["value"])


def _ms(reading: dict[str, Any]) -> int:
    return round(datetime.fromisoformat(reading["time"]).timestamp() * 1000)


def pubsub(readings: Readings) -> bytes:
    fields = {
        _name(one): {"Value": _value(one), "SourceTimestamp": one["time"], "ServerTimestamp": one["time"]}
        for one in readings
    }
    message = {"MessageType": "ua-deltaframe", "DataSetWriterName": "w", "SequenceNumber": 1, "Payload": fields}
    head = {"MessageId": readings[0]["id"], "MessageType": "ua-data", "PublisherId": "gw", "DataSetWriterGroup": "line"}
    return _message({**head, "Messages": [message]})


def samples(readings: Readings) -> bytes:
    return _message(
        [
            {
                "NodeId": f"nsu=urn:plant;s={_name(one)}",
                "ApplicationUri": SERVER,
                "Value": {"Value": _value(one), "SourceTimestamp": one["time"], "ServerTimestamp": one["time"]},
            }
            for one in readings
        ]
    )


def data_set(readings: Readings) -> bytes:
    members = {_name(one): {"SourceTimestamp": one["time"], "Value": _value(one)} for one in readings}
    return _message(members, type="ua-deltaframe", source=SERVER, subject="line", id=readings[0]["id"])


def injector(readings: Readings) -> bytes:
    metrics = [{"name": _name(one), "timestamp": _ms(one), "dataType": "Double", "value": _value(one)} for one in readings]
    topic = {"namespace": "spBv1.0", "groupId": "G", "edgeNodeId": "E", "deviceId": "D", "type": "DDATA"}
    return _message({"topic": topic, "payload": {"timestamp": _ms(readings[0]), "metrics": metrics, "seq": 1}})


def telegraf(readings: Readings) -> bytes:
    metrics = [
        {"fields": {"value": _value(one)}, "name": "opcua", "tags": {"host": "gw", "id": _name(one)}, "timestamp": _ms(one)}
        for one in readings
    ]
    return _message({"metrics": metrics})


def kepware(readings: Readings) -> bytes:
    values = [{"id": _name(one), "v": _value(one), "q": True, "t": _ms(one)} for one in readings]
    return _message({"timestamp": _ms(readings[0]), "values": values})


def plain(readings: Readings) -> bytes:
    return _message([{"tag": _name(one), "ts": one["time"], "value": _value(one)} for one in readings])


SENDERS: dict[str, tuple[Write, dict[str, Any]]] = {
    "opc-publisher, PubSub": (pubsub, {"format": "opc-publisher"}),
    "opc-publisher, Samples": (samples, {"format": "opc-publisher"}),
    "azure-iot-operations": (data_set, {"format": "azure-iot-operations"}),
    "ignition": (injector, {"format": "ignition"}),
    "telegraf": (telegraf, {"format": "telegraf"}),
    "kepware": (kepware, {"format": "kepware", "identity": "source-time+value"}),
    "json": (plain, {"format": "json", "format_options": {"readings": "/*", "source": ["/tag"], "time": "/ts"}}),
}
"""By name: what writes an event, and the settings of its group."""
