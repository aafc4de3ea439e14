"""OPC Publisher's messages: PubSub JSON in four of its containers, events, and Samples.

Gateway `a` runs 2.9 without special settings, `b` with `--strict`, the reversible encoding and gzip, `c` an older version.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Any
from uuid import UUID

from tests.support.formats.bodies import JSON, Parts, Sent
from tests.support.formats.plants import NS, Reading, Step

SERVER = "urn:plant:server"
OVERFLOW = 0x480
"""What a subscription's full queue adds to a status."""
LAST_USABLE_VALUE = 0x408F0000
PUBSUB_SCHEMA, SAMPLES_SCHEMA = "application/x-network-message-json-v1", "application/x-monitored-item-json-v1"
RUNTIME_STATE = "application/x-runtimestate-message-v2-json"


TYPES = {bool: "Boolean", int: "Int64", float: "Double", str: "String"}


def rfc3339(ns: int) -> str:
    """As .NET writes it: up to seven digits, without zeros at the end."""
    digits = f"{ns % NS // 100:07}".rstrip("0")
    return f"{datetime.fromtimestamp(ns // NS, UTC):%Y-%m-%dT%H:%M:%S}{'.' if digits else ''}{digits}Z"


class Publisher:
    """What all of its modes have in common."""

    schema = PUBSUB_SCHEMA

    def __init__(self, gateway: str, rng: Random) -> None:
        self.gateway, self.rng = gateway, rng
        self.is_strict = gateway == "b"
        self._start()

    def _start(self) -> None:
        self.sequence = count(self.rng.randrange(1000))
        self.minor_version = self.rng.randrange(2**32)

    def sent(self, step: Step) -> Iterator[Sent]:
        if step.kind == "start":
            self._start()
            yield self.message(Parts(self.gateway), self.runtime_state(), RUNTIME_STATE)
        if step.readings:
            yield from self.data(step)
        if step.kind == "notice":
            yield from self.notices()

    def data(self, step: Step) -> Iterator[Sent]:
        raise NotImplementedError

    def notices(self) -> Iterator[Sent]:
        """Samples have neither metadata nor keep-alives."""
        yield from ()

    def guid(self) -> str:
        return str(UUID(int=self.rng.getrandbits(128)))

    def now(self) -> str:
        return rfc3339(1_772_439_000 * NS + self.rng.randrange(NS * 600))

    def message(self, parts: Parts, body: Any, schema: str | None = None) -> Sent:
        schema = schema or self.schema
        if self.gateway == "c":
            return parts.sent(body, {"$$ContentType": schema, "iothub-message-schema": JSON, "$$ContentEncoding": "utf-8"})
        properties = {"$$MessageSchema": schema} | ({} if self.is_strict else {"$$ContentType": JSON})
        return parts.sent(body, properties, f"{JSON}+gzip" if self.is_strict else JSON)

    def runtime_state(self) -> dict[str, Any]:
        return {
            "MessageType": "RestartAnnouncement",
            "MessageVersion": 1,
            "TimestampUtc": self.now(),
            "DeviceId": self.gateway,
        }

    def data_value(self, parts: Parts, reading: Reading, step: Step) -> dict[str, Any]:
        value, status = parts.number(reading.value), reading.status
        if self.is_strict and isinstance(value, int) and value > 2**53:
            value = str(value)
        if self.is_strict and value is not None:
            value = {"Type": TYPES[type(reading.value)], "Body": value}
        if step.kind == "heartbeat" and not status and self.rng.random() < 0.5:
            status = LAST_USABLE_VALUE  # while this gateway has lost the server
        if self.gateway == "c" and self.rng.random() < 0.3:
            status += OVERFLOW
        field: dict[str, Any] = {} if value is None and self.gateway != "a" else {"Value": value}
        if status:
            field["StatusCode"] = status if self.is_strict else {"Symbol": hex(status), "Code": status}
        return field | {"SourceTimestamp": rfc3339(reading.ns), "ServerTimestamp": self.now()}


class PubSub(Publisher):
    """`network`: FullNetworkMessages; `array`: batches of them without `--strict`; `messages`: DataSetMessages; `single`:
    SingleDataSetMessage; `object`: the same in a network message; `data-sets`: DataSets."""

    def __init__(self, shape: str, gateway: str, rng: Random) -> None:
        super().__init__(gateway, rng)
        self.shape = shape

    def data(self, step: Step) -> Iterator[Sent]:
        sets = list(self._data_sets(step.readings))
        for batch in [[one] for one in sets] if self.shape in ("single", "object") else [sets]:
            yield self._batch(batch, step)

    def _batch(self, batch: list[list[Reading]], step: Step) -> Sent:
        parts = Parts(self.gateway)
        sets = [self._data_set(parts, readings, step) for readings in batch]
        if self.shape in ("single", "object"):
            return self.message(parts, sets[0] if self.shape == "single" else self._network(sets[0]))
        if step.kind == "data" and self.shape in ("network", "messages") and self.rng.random() < 0.3:
            sets.insert(self.rng.randrange(len(sets) + 1), self._keep_alive())
        if step.kind == "data" and self.shape == "network" and self.rng.random() < 0.3:
            again = step.readings[-1]  # a key frame on time, behind the changes in one batch
            sets.append(self._data_set(parts, [again], Step("repeat", [again])))
        if self.shape == "array":
            return self.message(parts, [self._network([one]) for one in sets])
        return self.message(parts, self._network(sets) if self.shape == "network" else sets)

    def _data_sets(self, readings: list[Reading]) -> Iterator[list[Reading]]:
        """Readings of one writer each, in which no field is twice."""
        waiting: list[Reading] = []
        for reading in readings:
            writer = reading.signal.partition("/")[0]
            if any(writer != r.signal.partition("/")[0] or reading.signal == r.signal for r in waiting):
                yield waiting
                waiting = []
            waiting.append(reading)
        yield waiting

    def _data_set(self, parts: Parts, readings: list[Reading], step: Step) -> dict[str, Any]:
        writer = readings[0].signal.partition("/")[0]
        payload: dict[str, Any] = {}
        for reading in readings:
            name = reading.signal if self.shape == "data-sets" else reading.signal.partition("/")[2]
            payload[name] = parts.reading(reading, self.data_value(parts, reading, step))
        if self.shape == "data-sets":
            return payload
        kind = "ua-keyframe" if step.kind in ("repeat", "start") else "ua-deltaframe"
        if kind == "ua-keyframe" and self.shape == "network":
            payload["Broken"] = {"Value": None, "StatusCode": {"Symbol": "BadNoData", "Code": 2157641728}}
        if self.shape == "array":
            payload |= {"EndpointUrl": {"Value": f"opc.tcp://gw-{self.gateway}"}, "ApplicationUri": {"Value": SERVER}}
        return self._header(kind, writer) | {"Payload": payload}

    def _header(self, kind: str, writer: str) -> dict[str, Any]:
        named = {"DataSetWriterId": writer} if self.shape == "array" else {"DataSetWriterName": writer}
        return {
            "SequenceNumber": next(self.sequence),
            "MetaDataVersion": {"MajorVersion": 1, "MinorVersion": self.minor_version},
            "Timestamp": self.now(),
            "MessageType": kind,
        } | named

    def _keep_alive(self) -> dict[str, Any]:
        return self._header("ua-keepalive", "press-1") | {"Payload": {}}

    def _network(self, messages: Any) -> dict[str, Any]:
        return {
            "MessageId": self.guid(),
            "MessageType": "ua-data",
            "PublisherId": f"plant7_device_gw-{self.gateway}_module_publisher",
            "DataSetWriterGroup": "press",
            "Messages": messages,
        }

    def notices(self) -> Iterator[Sent]:
        fields = {"Fields": [{"Name": "Temperature", "DataSetFieldId": self.guid()}]}
        metadata = {
            "MessageId": self.guid(),
            "MessageType": "ua-metadata",
            "MetaData": fields,
            "DataSetWriterName": "press-1",
        }
        yield self.message(Parts(self.gateway), metadata)
        yield self.message(Parts(self.gateway), self._keep_alive())


class Events(PubSub):
    """Events of two machines, and snapshots of conditions, which repeat them."""

    def _data_set(self, parts: Parts, readings: list[Reading], step: Step) -> Any:
        (reading,) = readings
        kind = "ua-event" if step.kind == "data" else "ua-condition"
        fields = {
            "EventId": event_id(reading),
            "Message": reading.value,
            "Time": rfc3339(reading.ns),
            "ReceiveTime": self.now(),
        }
        payload = fields if self.gateway == "c" else {name: {"Value": field} for name, field in fields.items()}
        writer = reading.signal.partition("/")[0] + ("" if self.gateway == "c" else "|AlarmType")
        return parts.reading(reading, self._header(kind, writer) | {"Payload": payload})

    def _data_sets(self, readings: list[Reading]) -> Iterator[list[Reading]]:
        return ([reading] for reading in readings)


def event_id(reading: Reading) -> str:
    """Made by the server, of any bytes."""
    return base64.b64encode(f"{reading.signal}#{reading.ns}#{reading.value}".encode()).decode()


class Samples(Publisher):
    """`full`: arrays with the server's URI; `plain`: single objects without it."""

    schema = SAMPLES_SCHEMA

    def __init__(self, shape: str, gateway: str, rng: Random) -> None:
        super().__init__(gateway, rng)
        self.is_full = shape == "full"

    def data(self, step: Step) -> Iterator[Sent]:
        for batch in [step.readings] if self.is_full else [[reading] for reading in step.readings]:
            parts = Parts(self.gateway)
            samples = [parts.reading(reading, self._sample(parts, reading, step)) for reading in batch]
            yield self.message(parts, samples if self.is_full else samples[0])

    def _sample(self, parts: Parts, reading: Reading, step: Step) -> dict[str, Any]:
        machine, _, point = reading.signal.partition("/")
        sample: dict[str, Any] = {
            "NodeId": f"nsu=urn:example:{machine};s={point}",
            "EndpointUrl": f"opc.tcp://gw-{self.gateway}:4840",
            "DisplayName": point,
            "Value": self.data_value(parts, reading, step),
        }
        if self.is_full:
            own = {"PublisherId": f"gw-{self.gateway}", "WriterGroupId": "press"}
            sample |= {"ApplicationUri": SERVER, "SequenceNumber": next(self.sequence), "ExtensionFields": own}
        if step.kind == "heartbeat" and self.is_full and self.gateway == "a":
            sample["Heartbeat"] = True  # written since 2.9.16, in full mode only
        return sample
