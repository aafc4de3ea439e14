"""The other senders: Azure IoT Operations, Ignition, Telegraf, Kepware, Siemens, Sparkplug, and a plant's own JSON.

Each gateway has its own batches, counters, names and times of sending; what it says of a reading is what the others say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count, groupby
from random import Random
from typing import Any
from uuid import UUID

from tests.support.formats import protobuf
from tests.support.formats.bodies import Parts, Sent
from tests.support.formats.opc_publisher import OVERFLOW, SERVER, rfc3339
from tests.support.formats.plants import Reading, Step

MS = 1_000_000
ASSETS = {"press-1": "aaaaaaaa-0000-4000-8000-000000000001", "press-2": "aaaaaaaa-0000-4000-8000-000000000002"}
"""Made in the web UI of one cluster, where they have GUIDs."""
TELEGRAF_UNITS = {"a": 1, "b": 1_000, "c": MS}
"""Nanoseconds, by gateway."""
JITTER_MS = 400
SIEMENS_IDS = {"Temperature": "101", "Running": "102", "Serial": "103", "Durchfluß 1": "104", "Shift": "105"}


def machine(reading: Reading) -> str:
    return reading.signal.partition("/")[0]


def point(reading: Reading) -> str:
    return reading.signal.partition("/")[2]


class Gateway:
    """What all have in common."""

    def __init__(self, gateway: str, rng: Random) -> None:
        self.gateway, self.rng = gateway, rng
        self.sequence = count(rng.randrange(1000))

    def sent(self, step: Step) -> Iterator[Sent]:
        if step.kind == "start":
            self.sequence = count()
            yield from self.birth(step.readings)
        if step.readings:
            yield from self.data(step.readings)
        if step.kind == "notice":
            yield from self.notices()

    def data(self, readings: list[Reading]) -> Iterator[Sent]:
        raise NotImplementedError

    def birth(self, readings: list[Reading]) -> Iterator[Sent]:
        yield from ()

    def notices(self) -> Iterator[Sent]:
        yield from ()

    def now_ms(self) -> int:
        return 1_772_439_000_000 + self.rng.randrange(600_000)


def by_machine(readings: list[Reading]) -> Iterator[tuple[str, list[Reading]]]:
    return ((name, list(own)) for name, own in groupby(readings, machine))


class AzureIotOperations(Gateway):
    """`a` copies its user properties as they are, `b` and `c` with a prefix; in `b` they are bytes, as from Kafka."""

    def data(self, readings: list[Reading]) -> Iterator[Sent]:
        for asset, own in by_machine(readings):
            while own:
                names = [point(reading) for reading in own]
                size = next((n for n, name in enumerate(names) if name in names[:n]), len(own))
                yield self._data_set(asset, own[:size])
                own = own[size:]

    def _data_set(self, asset: str, readings: list[Reading]) -> Sent:
        parts = Parts(self.gateway)
        body = {point(r): parts.reading(r, self._value(parts, r)) for r in readings}
        kind = "ua-keyframe" if len(body) > 2 else "ua-deltaframe"
        attributes: dict[str, Any] = {
            "specversion": "1.0",
            "id": str(UUID(int=self.rng.getrandbits(128))),
            "type": kind,
            "source": SERVER,
            "subject": ASSETS[asset] if self.gateway == "c" else asset,
            "time": rfc3339(self.now_ms() * MS),
            "sequence": str(next(self.sequence)),
        }
        prefix = {"a": "", "b": "ce_", "c": "ce-"}[self.gateway]
        properties = {prefix + name: value.encode() if self.gateway == "b" else value for name, value in attributes.items()}
        return parts.sent(body, properties, None)

    def _value(self, parts: Parts, reading: Reading) -> dict[str, Any]:
        status = reading.status + (OVERFLOW if self.gateway == "b" and self.rng.random() < 0.3 else 0)
        value = {} if reading.value is None and self.gateway == "b" else {"Value": parts.number(reading.value)}
        state = {"StatusCode": {"Code": status, "Symbol": hex(status)}} if status else {}
        return {"SourceTimestamp": rfc3339(reading.ns), **value, **state}


class Ignition(Gateway):
    """`b` writes UTF-16, `c` writes times as text and has a name of its own."""

    def data(self, readings: list[Reading]) -> Iterator[Sent]:
        for device, own in by_machine(readings):
            parts = Parts(self.gateway)
            metrics = [parts.reading(reading, self._metric(parts, reading)) for reading in own]
            yield self._message(parts, device, "DDATA", metrics)

    def birth(self, readings: list[Reading]) -> Iterator[Sent]:
        """Every tag, at the time of the birth."""
        for device in ("press-1", "press-2"):
            now = self.now_ms()
            metrics = [{"name": point(r), "timestamp": now, "value": r.value} for r in readings if machine(r) == device]
            yield self._message(Parts(self.gateway), device, "DBIRTH", metrics)

    def _message(self, parts: Parts, device: str, kind: str, metrics: list[Any]) -> Sent:
        node = "Press-C" if self.gateway == "c" else "Press"
        topic = {"namespace": "spBv1.0", "groupId": "Plant7", "edgeNodeId": node, "deviceId": device, "type": kind}
        payload = {"timestamp": self.now_ms(), "metrics": metrics, "seq": next(self.sequence) % 256}
        text = parts.text({"topic": topic, "payload": payload})
        if self.gateway == "b":
            return parts.sent_text("\ufeff" + text, None, None, "utf-16-be")
        return parts.sent_text(text, None, None)

    def _metric(self, parts: Parts, reading: Reading) -> dict[str, Any]:
        time = rfc3339(reading.ns) if self.gateway == "c" else reading.ns // MS
        quality = {"properties": {"Quality": {"type": "Int32", "value": 24 if reading.status else 192}}}
        is_default = not reading.status and self.gateway != "a"
        value = parts.number(reading.value)
        return {"name": point(reading), "timestamp": time, **({} if is_default else quality), "value": value}


class Telegraf(Gateway):
    """One metric a message, or several in one."""

    def __init__(self, shape: str, gateway: str, rng: Random) -> None:
        super().__init__(gateway, rng)
        self.is_batch = shape == "batch"

    def data(self, readings: list[Reading]) -> Iterator[Sent]:
        for batch in [readings] if self.is_batch else [[reading] for reading in readings]:
            parts = Parts(self.gateway)
            metrics = [parts.reading(reading, self._metric(parts, reading)) for reading in batch]
            yield parts.sent({"metrics": metrics} if self.is_batch else metrics[0], None, None, end="\n")

    def _metric(self, parts: Parts, reading: Reading) -> dict[str, Any]:
        quality = "BadNoCommunication (0x80310000)" if reading.status else "OK (0x0)"
        value = {} if reading.value is None else {point(reading): parts.number(reading.value)}
        tags = {"host": f"gw-{self.gateway}", "id": f"ns=2;s={reading.signal}"}
        timestamp = reading.ns // TELEGRAF_UNITS[self.gateway]
        return {"fields": {**value, "Quality": quality}, "name": "opcua", "tags": tags, "timestamp": timestamp}


class Kepware(Gateway):
    """Each server stamps what it polled, a while before or after the moment at which all of them should. `b` writes numbers
    as text. `standard` and `wide` are its templates."""

    def __init__(self, shape: str, gateway: str, rng: Random) -> None:
        super().__init__(gateway, rng)
        self.is_wide = shape == "wide"

    def data(self, readings: list[Reading]) -> Iterator[Sent]:
        parts = Parts(self.gateway)
        values = [parts.reading(reading, self._value(parts, reading)) for reading in readings]
        yield parts.sent(values if self.is_wide else {"timestamp": self.now_ms(), "values": values}, None, None)

    def _value(self, parts: Parts, reading: Reading) -> dict[str, Any]:
        value = parts.number(reading.value)
        if self.gateway == "b" and type(value) in (int, float):
            value = str(value)
        stamp = reading.ns // MS + self.rng.randint(-JITTER_MS, JITTER_MS)
        if self.is_wide:
            return {"tagname": reading.signal.replace("/", "."), "timestamp": stamp, "value": value}
        return {"id": reading.signal.replace("/", "."), "v": value, "q": not reading.status, "t": stamp}


class Siemens(Gateway):
    """`bulk`: messages without metadata; in `c` all values of one have one time. `series`: time series. `b` writes numbers
    as text."""

    def __init__(self, shape: str, gateway: str, rng: Random) -> None:
        super().__init__(gateway, rng)
        self.is_series = shape == "series"

    def data(self, readings: list[Reading]) -> Iterator[Sent]:
        for name, own in by_machine(readings):
            if self.is_series:
                yield self._series(name, own)
                continue
            if self.gateway != "c":
                yield self._bulk(name, own, {})
                continue
            for ns, same in groupby(own, lambda reading: reading.ns):
                yield self._bulk(name, list(same), {"ts": rfc3339(ns)})

    def notices(self) -> Iterator[Sent]:
        parts = Parts(self.gateway)
        yield parts.sent({"seq": next(self.sequence), "connector": {"status": "available"}}, self._topic("status"))

    def _bulk(self, name: str, readings: list[Reading], common: dict[str, Any]) -> Sent:
        parts = Parts(self.gateway)
        values = [parts.reading(reading, self._value(parts, reading, common)) for reading in readings]
        body = {"seq": next(self.sequence), **common, "vals": values}
        return parts.sent(body, self._topic(f"d/j/simatic/v1/s7c1/dp/r/{name}/default"))

    def _series(self, name: str, readings: list[Reading]) -> Sent:
        parts = Parts(self.gateway)
        records = []
        for number, (ns, same) in enumerate(groupby(readings, lambda reading: reading.ns)):
            common = {"ts": rfc3339(ns), "rseq": number}
            records.append({**common, "vals": [parts.reading(one, self._value(parts, one, common)) for one in same]})
        body = {"seq": next(self.sequence), "records": records}
        return parts.sent(body, self._topic(f"d/j/simatic/v1/s7c1/dp/r/{name}/default"))

    def _topic(self, path: str) -> dict[str, Any]:
        return {"topic": f"ie/{path}"}

    def _value(self, parts: Parts, reading: Reading, common: dict[str, Any]) -> dict[str, Any]:
        value = parts.number(reading.value)
        if self.gateway == "b" and type(value) in (int, float):
            value = str(value)
        time = {} if common else {"ts": rfc3339(reading.ns)}
        quality = 0 if reading.status else self.rng.choice((2, 3))
        return {"id": SIEMENS_IDS[point(reading)], "val": value, **time, "qc": quality, "qx": 8192}


class Sparkplug(Gateway):
    """Protobuf, with names in every message. Each gateway is an edge node of its own."""

    def data(self, readings: list[Reading]) -> Iterator[Sent]:
        for device, own in by_machine(readings):
            metrics = [protobuf.metric(point(reading), reading) for reading in own]
            body = protobuf.payload(self.now_ms(), metrics, next(self.sequence) % 256)
            yield Sent(body, own, [metric.decode("latin-1") for metric in metrics], self._topic("DDATA", device))

    def birth(self, readings: list[Reading]) -> Iterator[Sent]:
        born = [protobuf.metric(point(r), r._replace(ns=self.now_ms() * MS)) for r in readings]
        yield Sent(protobuf.payload(self.now_ms(), born, 0), properties=self._topic("DBIRTH", "press-1"))

    def _topic(self, kind: str, device: str) -> dict[str, Any]:
        return {"topic": f"spBv1.0/Plant7/{kind}/Press-{self.gateway}/{device}"}


class OwnJson(Gateway):
    """`array`: an array, in whose elements each gateway writes more; `text`: JSON in a JSON string, as from Node-RED."""

    def __init__(self, shape: str, gateway: str, rng: Random) -> None:
        super().__init__(gateway, rng)
        self.is_text = shape == "text"

    def data(self, readings: list[Reading]) -> Iterator[Sent]:
        parts = Parts(self.gateway)
        values = [parts.reading(reading, self._value(parts, reading)) for reading in readings]
        if self.is_text:
            inner = parts.text({"sent": self.now_ms(), "values": values})
            yield parts.sent_text(json.dumps(inner, ensure_ascii=self.gateway == "b"))
        else:
            yield parts.sent(values)

    def notices(self) -> Iterator[Sent]:
        yield from ()

    def _value(self, parts: Parts, reading: Reading) -> dict[str, Any]:
        own = {} if self.gateway == "c" else {"gateway": self.gateway, "n": next(self.sequence)}
        return {
            "tag": reading.signal,
            "at": reading.ns // MS,
            "v": parts.number(reading.value),
            "bad": bool(reading.status),
            **own,
        }
