"""`sparkplug`: Sparkplug B, protobuf with a topic. A reading is a metric of NDATA or DDATA.

Data may carry aliases in place of names. What they stand for says the last birth of the same edge node or device from the
same gateway, so it is kept; without it a metric can't be named. Births themselves repeat everything: states, never readings.
Source: eclipse-sparkplug/sparkplug 3.0.0, chapter 6.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec

from wire.formats.bodies import BadTimeError, time_of
from wire.formats.ignition import DATA, STATES
from wire.formats.messages import Found, Message, NotReading, Part, Path, Refused
from wire.formats.names import named, renamed, source_of
from wire.formats.protobuf import fields

NAMESPACE = "spBv1.0"
METRICS, UUID = 2, 4
COMPRESSED = b"SPBV1.0_COMPRESSED"
"""The uuid of a payload whose metrics are compressed in its body. It may have one metric, which names the algorithm."""
NAME, ALIAS, TIMESTAMP, IS_NULL, FIRST_VALUE, LAST_VALUE = 1, 2, 3, 7, 10, 19
FLOAT, DOUBLE, STRING = 12, 13, 15
MAX_ALIASES = 100_000
"""Kept in all. Further births are not learned, so that a sender can't fill the memory."""
GATEWAY = ("iothub-connection-device-id", "iothub-connection-module-id")
Aliases = dict[tuple[str, ...], dict[str, dict[int, str]]]
"""By edge node (as one gateway sends it), device and alias."""


class SparkplugOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rename: dict[str, str] = {}
    """Edge nodes, which are named by gateway where gateways share a broker: `{"Press-*": "Press"}`."""
    topic_property: str = "topic"
    """The application property that holds the MQTT topic."""


class Sparkplug:
    name = "sparkplug"

    def __init__(self, options: SparkplugOptions) -> None:
        self._options = options
        self._aliases: Aliases = {}
        self._known = 0

    def read(self, message: Message) -> Iterator[Part]:
        topic = (named(message.properties, self._options.topic_property) or "").split("/")
        if topic[0] != NAMESPACE or not 4 <= len(topic) <= 5:
            yield NotReading((), "other-shape")
            return
        _, group, kind, node, *device = topic
        try:
            payload = list(fields(message.body))
            metrics = [_members(f.value) for f in payload if f.number == METRICS and isinstance(f.value, bytes)]
        except ValueError as error:
            yield Refused((), "unreadable-body", str(error))
            return
        sender = (*(named(message.annotations, name) or "" for name in GATEWAY), group, node)
        if kind.endswith(("BIRTH", "DEATH")):
            self._forget(sender, device)
        if kind.endswith("BIRTH"):
            self._learn(sender, "".join(device), metrics)
        if kind in STATES:
            yield NotReading((), STATES[kind])
        elif any(field.number == UUID and field.value == COMPRESSED for field in payload):
            yield NotReading((), "compressed")
        elif kind not in DATA or not metrics:
            yield NotReading((), "other-shape")
        else:
            origin = (group, renamed(node, self._options.rename), device[0] if device else "")
            names = self._aliases.get(sender, {}).get("".join(device), {})
            yield from (_metric(("metrics", index), origin, names, metric) for index, metric in enumerate(metrics))

    def _forget(self, sender: tuple[str, ...], device: list[str]) -> None:
        """A node that begins or ends a session ends those of its devices, too: their aliases may change."""
        devices = self._aliases.get(sender, {})
        for name in device or list(devices):
            self._known -= len(devices.pop(name, {}))
        if not devices:
            self._aliases.pop(sender, None)

    def _learn(self, sender: tuple[str, ...], device: str, metrics: list[dict[int, int | bytes]]) -> None:
        named_metrics = [(metric.get(ALIAS), _text(metric.get(NAME))) for metric in metrics]
        names = {alias: name for alias, name in named_metrics if isinstance(alias, int) and name}
        if names and self._known + len(names) <= MAX_ALIASES:
            self._aliases.setdefault(sender, {})[device] = names
            self._known += len(names)


def _members(metric: bytes) -> dict[int, int | bytes]:
    return {field.number: field.value for field in fields(metric)}


def _metric(place: Path, origin: tuple[str, str, str], names: dict[int, str], metric: dict[int, Any]) -> Part:
    name = _text(metric.get(NAME)) or names.get(metric.get(ALIAS, -1))
    if name is None:
        return Refused(place, "no-source", "the metric has no name, and no birth so far says what its alias stands for")
    values = [(number, value) for number, value in metric.items() if FIRST_VALUE <= number <= LAST_VALUE]
    if not values and not metric.get(IS_NULL):
        return Refused(place, "no-value", f"{name} has no value")
    stamp = metric.get(TIMESTAMP)
    try:
        time_ns = time_of(stamp, "ms")
    except BadTimeError as error:
        return Refused(place, "unreadable-time", str(error))
    compared = None if metric.get(IS_NULL) else _value(*values[0])
    return Found(place, source_of(*origin, name), compared, time_ns, [stamp, compared])


def _value(number: int, value: Any) -> Any:
    """Equal for equal values, if their type is one: whole numbers are compared as they are encoded (two's complement)."""
    if not isinstance(value, bytes):
        return value
    if number in (FLOAT, DOUBLE) and len(value) == {FLOAT: 4, DOUBLE: 8}[number]:
        (decoded,) = struct.unpack("<f" if number == FLOAT else "<d", value)
        return decoded if abs(decoded) < float("inf") else str(decoded)
    text = _text(value) if number == STRING else None
    return {"hex": value.hex()} if text is None else text


def _text(value: Any) -> str | None:
    try:
        return value.decode() if isinstance(value, bytes) else None
    except UnicodeDecodeError:
        return None
