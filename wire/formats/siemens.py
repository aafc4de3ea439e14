"""`siemens`: the Common Databus Payload (bulk, time series, single values), and CloudConnect CC7's template.

An `id` is valid in one connection only, and changes with the configuration: names come from the metadata, which are kept by
gateway and topic. Source: industrial-edge/common-databus-payload-format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from wire.formats.bodies import BadTimeError, json_of, number_of, time_of
from wire.formats.messages import Found, Message, NotReading, Part, Path, Refused
from wire.formats.names import named, source_of, text_of

MAX_NAMES = 100_000
"""Kept in all. Further metadata are not learned, so that a sender can't fill the memory."""
GATEWAY = ("iothub-connection-device-id", "iothub-connection-module-id")
QUALITY = {0: "bad", 1: "uncertain", 2: "good", 3: "good"}


class SiemensOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bare_ids: bool = False
    """Whether an id stands for its name where no metadata name it. Only right where all gateways have one configuration, and
    change it at the same time."""


class Siemens:
    name = "siemens"

    def __init__(self, options: SiemensOptions) -> None:
        self._bare_ids = options.bare_ids
        self._names: dict[tuple[str, str, str], str] = {}

    def read(self, message: Message) -> Iterator[Part]:
        root = json_of(message.body)
        if isinstance(root, Refused):
            yield root
            return
        gateway = source_of(*(named(message.annotations, name) or "" for name in GATEWAY))
        topic = named(message.properties, "topic")
        if isinstance(root, dict) and "connections" in root:
            self._learn(gateway, root)
            yield NotReading((), "metadata")
        elif not isinstance(root, dict) or (not (items := list(_items(root))) and "connector" not in root):
            yield NotReading((), "other-shape")
        elif not items:
            yield NotReading((), "state")
        else:
            yield from (self._value(gateway, topic, *item) for item in items)

    def _learn(self, gateway: str, root: dict[str, Any]) -> None:
        for connection in _objects(root.get("connections")):
            for points in _objects(connection.get("dataPoints")):
                for point in _objects(points.get("dataPointDefinitions")):
                    topic, key, name = (text_of(part) for part in (points.get("topic"), point.get("id"), point.get("name")))
                    if topic and key and name and len(self._names) < MAX_NAMES:
                        self._names[gateway, topic, key] = name

    def _value(self, gateway: str, topic: str | None, place: Path, item: Any, stamp: Any) -> Part:
        if not isinstance(item, dict) or not ("val" in item or "Value" in item):
            return Refused(place, "no-value", "there is no val")
        source = self._source(gateway, topic, item)
        if source is None:
            return Refused(place, "no-source", "no topic, or no metadata so far that name this id (option bare_ids)")
        try:
            time_ns = time_of(stamp, "rfc3339")
        except BadTimeError as error:
            return Refused(place, "unreadable-time", str(error))
        return Found(place, source, _compared(item), time_ns, item)

    def _source(self, gateway: str, topic: str | None, item: dict[str, Any]) -> str | None:
        if "Variable" in item:
            name = text_of(item["Variable"])
            return source_of("cc7", name) if name else None
        if topic is None:
            return None
        origin = topic.replace("%", "%25").replace("#", "%23")
        if "id" not in item:
            return origin
        key = text_of(item["id"]) or ""
        name = self._names.get((gateway, topic, key)) or (f"id={key}" if self._bare_ids and key else None)
        return f"{origin}#{name}" if name else None


def _items(root: dict[str, Any]) -> Iterator[tuple[Path, Any, Any]]:
    """(place, value, time) of each value."""
    for index, item in enumerate(_list(root.get("vals"))):
        yield ("vals", index), item, _own_time(item, root.get("ts"))
    for number, record in enumerate(_list(root.get("records"))):
        values = record if isinstance(record, dict) else {}
        for index, item in enumerate(_list(values.get("vals"))):
            yield ("records", number, "vals", index), item, _own_time(item, values.get("ts"))
    for index, item in enumerate(_list(root.get("DataItems"))):
        yield ("DataItems", index), item, None  # the only time is that of publishing
    if "val" in root:
        yield (), root, root.get("ts")


def _compared(item: dict[str, Any]) -> Any:
    if "Variable" in item:
        return [number_of(item.get("Value")), item.get("QualityCode")]
    quality = number_of(item.get("qc"))
    return [number_of(item["val"]), QUALITY.get(quality, "unknown") if isinstance(quality, int) else quality]


def _own_time(item: Any, common: Any) -> Any:
    own = item.get("ts") if isinstance(item, dict) else None
    return common if own is None else own


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    return (item for item in _list(value) if isinstance(item, dict))
