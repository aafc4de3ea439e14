"""`ignition`: Cirrus Link's Azure Injector, Sparkplug B as JSON. A reading is a metric of DDATA or NDATA.

Births repeat every tag with the time of the birth, an invented one: they are states, never readings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from wire.formats.bodies import BadTimeError, json_of, time_of
from wire.formats.messages import Found, Message, NotReading, Part, Path, Refused
from wire.formats.names import renamed, source_of, text_of

DATA = ("NDATA", "DDATA")
STATES = {
    "NBIRTH": "birth",
    "DBIRTH": "birth",
    "NDEATH": "death",
    "DDEATH": "death",
    "NCMD": "command",
    "DCMD": "command",
    "STATE": "state",
}
GOOD = 192


class IgnitionOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rename: dict[str, str] = {}
    """Edge nodes that are named by gateway: `{"Press-*": "Press"}`."""


class Ignition:
    name = "ignition"

    def __init__(self, options: IgnitionOptions) -> None:
        self._rename = options.rename

    def read(self, message: Message) -> Iterator[Part]:
        root = json_of(message.body)
        if isinstance(root, Refused):
            yield root
            return
        topic, payload = _object(root, "topic"), _object(root, "payload")
        kind = topic.get("type")
        if isinstance(kind, str) and kind in STATES:
            yield NotReading((), STATES[kind])
        elif kind not in DATA or not isinstance(metrics := payload.get("metrics"), list):
            yield NotReading((), "other-shape")
        elif not metrics:
            yield NotReading((), "empty")
        else:
            yield from (self._metric(("payload", "metrics", index), topic, item) for index, item in enumerate(metrics))

    def _metric(self, place: Path, topic: dict[str, Any], metric: Any) -> Part:
        members = metric if isinstance(metric, dict) else {}
        group, node, name = text_of(topic.get("groupId")), text_of(topic.get("edgeNodeId")), text_of(members.get("name"))
        if group is None or node is None or name is None:
            return Refused(
                place, "no-source", "groupId, edgeNodeId and the metric's name are needed; an alias names nothing"
            )
        try:
            time_ns = _time(members.get("timestamp"))
        except BadTimeError as error:
            return Refused(place, "unreadable-time", str(error))
        source = source_of(group, renamed(node, self._rename), text_of(topic.get("deviceId")) or "", name)
        return Found(place, source, {"value": members.get("value"), "quality": _quality(members)}, time_ns, metric)


def _object(value: Any, name: str) -> dict[str, Any]:
    member = value.get(name) if isinstance(value, dict) else None
    return member if isinstance(member, dict) else {}


def _time(stamp: Any) -> int | None:
    """Milliseconds, or text where the gateway is set to that."""
    return time_of(stamp, "rfc3339" if isinstance(stamp, str) and not stamp.isdecimal() else "ms")


def _quality(metric: dict[str, Any]) -> Any:
    """A quality that is absent is good."""
    return _object(_object(metric, "properties"), "Quality").get("value", GOOD)
