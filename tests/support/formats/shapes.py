"""Every shape of the formats with its plant: how the service is configured for it, who sends it, and how it is read.

What reads it here are a few lines after the sender's documentation, so that they share no mistake with the service.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from operator import itemgetter
from random import Random
from typing import Any, Protocol
from urllib.parse import quote

from tests.support.formats import gateways, opc_publisher, protobuf
from tests.support.formats.bodies import Sent
from tests.support.formats.opc_publisher import SERVER, event_id
from tests.support.formats.plants import ALARMS, BAD, NS, SIGNALS, Plant, Reading, Step

Place = tuple[str | int, ...]
Spots = Iterator[tuple[Place, str, Any]]
"""Of each reading in a body: its place, its signal, and the part that is there."""
Said = tuple[int, Any, int]
"""Source time, value and status."""
MS = 1_000_000


class Sender(Protocol):
    def sent(self, step: Step) -> Iterator[Sent]: ...


@dataclass(frozen=True)
class Shape:
    name: str
    format: str
    make: Callable[[str, Random], Sender]
    """The sender of one gateway."""
    spots: Callable[[Any, Mapping[str, Any]], Spots]
    said: Callable[[Any], Said]
    """What a part says."""
    source: Callable[[str], str]
    """What docs/formats.md calls a signal."""
    options: Any = None
    identity: str | None = None
    signals: tuple[str, ...] = SIGNALS
    grain_ns: int = MS
    one_stamp: bool = True
    jitter_ns: int = 0
    """By how much the gateways' own stamps differ from the plant's time."""
    alone: Callable[[Any], Any] = itemgetter("data")
    """The part that a CloudEvent holds, as `said` takes it."""
    in_json: Callable[[str], str] = str
    """The text of a part as it stands in a CloudEvent."""

    def plant(self, rng: Random, start_ns: int) -> Plant:
        return Plant.running(rng, self.signals, start_ns, self.grain_ns, self.one_stamp)


def ns_of(text: str) -> int:
    whole, _, digits = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * NS + int(digits.ljust(9, "0"))


def plain(value: Any) -> Any:
    """5, 5.0, "5" and {"Type": "Int64", "Body": "5"} are one value."""
    if isinstance(value, dict) and set(value) == {"Type", "Body"}:
        value = value["Body"]
    if isinstance(value, str):
        try:
            value = int(value) if value.isdecimal() else float(value)
        except ValueError:
            return value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def split(signal: str) -> tuple[str, str]:
    machine, _, point = signal.partition("/")
    return machine, point


def opc_name(text: str) -> str:
    return quote(text, safe="-._~!$&'()*+,;=:@")


# --- OPC Publisher


def data_value(part: Any) -> Said:
    status = part.get("StatusCode", 0)
    code = status["Code"] if isinstance(status, dict) else status
    return ns_of(part["SourceTimestamp"]), plain(part.get("Value")), code & 0xFFFF0000


def network_of_one(place: Place, message: Any) -> Spots:
    return data_set((*place, "Messages"), message["Messages"])


def data_set(place: Place, message: Any) -> Spots:
    writer = message.get("DataSetWriterName", message.get("DataSetWriterId"))
    for name, field in message["Payload"].items():
        if "SourceTimestamp" in field:
            yield (*place, "Payload", name), f"{writer}/{name}", field


def network(place: Place, message: Any) -> Spots:
    for index, one in enumerate(message["Messages"]):
        yield from data_set((*place, "Messages", index), one)


def each(spots: Callable[[Place, Any], Spots], root: Any, _: Any) -> Spots:
    for index, element in enumerate(root):
        yield from spots((index,), element)


def alone(spots: Callable[[Place, Any], Spots], root: Any, _: Any) -> Spots:
    return spots((), root)


def fields(place: Place, members: Any) -> Spots:
    return (((*place, name), name, field) for name, field in members.items())


def events(root: Any, _: Any) -> Spots:
    for index, message in enumerate(root["Messages"]):
        if message["Payload"]:
            yield ("Messages", index), message["DataSetWriterName"].partition("|")[0] + "/Alarm", message


def event(part: Any) -> Said:
    said = {name: field["Value"] if isinstance(field, dict) else field for name, field in part["Payload"].items()}
    machine = part["DataSetWriterName"].partition("|")[0]
    ns, message = ns_of(said["Time"]), said["Message"]
    is_its_own = said["EventId"] == event_id(Reading(f"{machine}/Alarm", ns, message))
    return ns, message if is_its_own else said, 0


def sample(place: Place, part: Any) -> Spots:
    machine, point = part["NodeId"].removeprefix("nsu=urn:example:").split(";s=")
    yield place, f"{machine}/{point}", part


def sampled(part: Any) -> Said:
    return data_value(part["Value"])


def opc(name: str, make: Any, spots: Any, source: Callable[[str], str], said: Any = data_value, **more: Any) -> Shape:
    return Shape(f"opc-{name}", "opc-publisher", make, spots, said, source, **({"grain_ns": 100} | more))


def pubsub(name: str, spots: Any, source: Callable[[str], str]) -> Shape:
    return opc(name, partial(opc_publisher.PubSub, name), spots, source)


def field_source(server: str, group: str, signal: str) -> str:
    writer, name = split(signal)
    return f"{server}#{group}/{opc_name(writer)}/{opc_name(name)}"


def node_source(server: str, signal: str) -> str:
    machine, point = split(signal)
    return f"{server}#{opc_name(f'nsu=urn:example:{machine};s={point}')}"


# --- the others


def aio(root: Any, properties: Mapping[str, Any]) -> Spots:
    texts = {name: value.decode() if isinstance(value, bytes) else value for name, value in properties.items()}
    (subject,) = [value for name, value in texts.items() if name in ("subject", "ce_subject", "ce-subject")]
    asset = next((asset for asset, guid in gateways.ASSETS.items() if guid == subject), subject)
    return (((name,), f"{asset}/{name}", field) for name, field in root.items())


def ignition(root: Any, _: Any) -> Spots:
    for index, metric in enumerate(root["payload"]["metrics"]):
        yield ("payload", "metrics", index), f"{root['topic']['deviceId']}/{metric['name']}", metric


def tag(part: Any) -> Said:
    time = part["timestamp"]
    is_good = part.get("properties", {"Quality": {"value": 192}})["Quality"]["value"] == 192
    return ns_of(time) if isinstance(time, str) else time * MS, plain(part["value"]), 0 if is_good else BAD


def telegraf(root: Any, _: Any) -> Spots:
    for index, metric in enumerate(root.get("metrics", [root])):
        yield ("metrics", index) if "metrics" in root else (), metric["tags"]["id"].removeprefix("ns=2;s="), metric


def metric(part: Any) -> Said:
    (units,) = [n for n in gateways.TELEGRAF_UNITS.values() if 10**18 < part["timestamp"] * n < 10**19]
    values = [value for name, value in part["fields"].items() if name != "Quality"]
    return (
        part["timestamp"] * units,
        plain(values[0] if values else None),
        0 if part["fields"]["Quality"] == "OK (0x0)" else BAD,
    )


def kepware(root: Any, _: Any) -> Spots:
    return ((("values", index), item["id"].replace(".", "/", 1), item) for index, item in enumerate(root["values"]))


def wide(root: Any, _: Any) -> Spots:
    return (((index,), item["tagname"].replace(".", "/", 1), item) for index, item in enumerate(root))


def polled(part: Any) -> Said:
    """At the whole second that was meant. The wide template has no quality."""
    if "tagname" in part:
        return round(part["timestamp"] / 1000) * NS, plain(part["value"]), BAD if part["value"] is None else 0
    return round(part["t"] / 1000) * NS, plain(part["v"]), 0 if part["q"] else BAD


def siemens(root: Any, properties: Mapping[str, Any]) -> Spots:
    machine = properties["topic"].split("/")[-2]
    names = {key: name for name, key in gateways.SIEMENS_IDS.items()}
    lists: list[tuple[Place, Any]] = [((), root)]
    if "records" in root:
        lists = [(("records", index), record) for index, record in enumerate(root["records"])]
    for place, holder in lists:
        for index, item in enumerate(holder["vals"]):
            yield (*place, "vals", index), f"{machine}/{names[item['id']]}", {"ts": holder.get("ts"), **item}


def siemens_source(signal: str) -> str:
    machine, point = split(signal)
    return f"ie/d/j/simatic/v1/s7c1/dp/r/{machine}/default#id={gateways.SIEMENS_IDS[point]}"


def databus(part: Any) -> Said:
    return ns_of(part["ts"]), plain(part["val"]), 0 if part["qc"] > 1 else BAD


def sparkplug(root: Any, properties: Mapping[str, Any]) -> Spots:
    device = properties["topic"].split("/")[-1]
    for index, (number, value) in enumerate(root):
        if number == 2:
            reading = protobuf.read_metric(value, device)
            yield (index,), reading.signal, reading


def timed(item: Any) -> Any:
    """A value of a message with one time, or of a record, has that time in its CloudEvent only."""
    return {"ts": item["time"], **item["data"]}


def metric_alone(item: Any) -> Any:
    return protobuf.read_metric(b64decode(item["data_base64"]), item["source"].split("/")[2])


def in_base64(part: str) -> str:
    return b64encode(part.encode("latin-1")).decode()


def own_json(root: Any, _: Any) -> Spots:
    return (((index,), item["tag"], item) for index, item in enumerate(root))


def own_text(root: Any, _: Any) -> Spots:
    return ((("values", index), item["tag"], item) for index, item in enumerate(root["values"]))


def own_value(part: Any) -> Said:
    return part["at"] * MS, plain(part["v"]), BAD if part["bad"] else 0


OWN = {"source": ["text:plant", "/tag"], "time": "/at", "time_format": "ms", "value": ["/v", "/bad"]}
PRESS = {"rename": {"Press*": "Press"}}
ASSETS = {"rename": {guid: asset for asset, guid in gateways.ASSETS.items()}}

SHAPES = (
    pubsub("network", partial(alone, network), partial(field_source, "server", "press")),
    pubsub("array", partial(each, network), partial(field_source, SERVER, "press")),
    pubsub("messages", partial(each, data_set), partial(field_source, "server", "")),
    pubsub("single", partial(alone, data_set), partial(field_source, "server", "")),
    pubsub("object", partial(alone, network_of_one), partial(field_source, "server", "press")),
    pubsub("data-sets", partial(each, fields), lambda signal: f"server#//{opc_name(signal)}"),
    opc(
        "events",
        partial(opc_publisher.Events, "network"),
        events,
        lambda signal: f"server#press/{split(signal)[0]}",
        event,
        signals=ALARMS,
    ),
    opc("samples", partial(opc_publisher.Samples, "full"), partial(each, sample), partial(node_source, SERVER), sampled),
    opc("sample", partial(opc_publisher.Samples, "plain"), partial(alone, sample), partial(node_source, "server"), sampled),
    Shape(
        "azure-iot-operations",
        "azure-iot-operations",
        gateways.AzureIotOperations,
        aio,
        data_value,
        lambda signal: f"{SERVER}/{signal}",
        ASSETS,
        grain_ns=100,
    ),
    Shape("ignition", "ignition", gateways.Ignition, ignition, tag, lambda signal: f"Plant7/Press/{signal}", PRESS),
    *(
        Shape(
            f"telegraf-{shape}",
            "telegraf",
            partial(gateways.Telegraf, shape),
            telegraf,
            metric,
            lambda signal: rf"opcua,id=ns\=2;s\={signal}",
        )
        for shape in ("single", "batch")
    ),
    *(
        Shape(
            f"kepware-{shape}",
            "kepware",
            partial(gateways.Kepware, shape),
            spots,
            polled,
            lambda signal: signal.replace("/", "."),
            grain_ns=NS,
            one_stamp=False,
            jitter_ns=gateways.JITTER_MS * MS,
        )
        for shape, spots in (("standard", kepware), ("wide", wide))
    ),
    *(
        Shape(
            f"siemens-{shape}",
            "siemens",
            partial(gateways.Siemens, shape),
            siemens,
            databus,
            siemens_source,
            {"bare_ids": True},
            "source-time",
            one_stamp=False,
            alone=timed,
        )
        for shape in ("bulk", "series")
    ),
    Shape("sparkplug", "sparkplug", gateways.Sparkplug, sparkplug, lambda part: (part.ns, plain(part.value), part.status),
          lambda signal: f"Plant7/Press/{signal}", PRESS, alone=metric_alone, in_json=in_base64),
    Shape("json-array", "json", partial(gateways.OwnJson, "array"), own_json, own_value, lambda signal: f"plant/{signal}",
          {"readings": "/*"} | OWN),
    Shape("json-text", "json", partial(gateways.OwnJson, "text"), own_text, own_value, lambda signal: f"plant/{signal}",
          {"readings": "/values/*", "inside": ""} | OWN),
)  # fmt: skip
