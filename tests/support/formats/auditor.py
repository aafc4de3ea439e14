"""What is in the clean stream, compared with what a plant said and its gateways sent: nothing lost, doubled or altered."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.support.formats import protobuf
from tests.support.formats.bodies import Sent
from tests.support.formats.plants import GATEWAYS, Plant, Reading
from tests.support.formats.shapes import Place, Shape, ns_of, plain

Origin = tuple[int, int]
"""Input partition and sequence number."""


@dataclass(frozen=True)
class Group:
    """The gateways of one plant, all of which send one shape."""

    shape: Shape
    partition_by: str
    content_mode: str
    plant: Plant
    sent: dict[str, list[Sent]] = field(default_factory=dict)
    """By gateway, in order."""

    @classmethod
    def of(cls, shape: Shape, partition_by: str, content_mode: str, seed: int, start_ns: int) -> Group:
        plant = shape.plant(Random(f"{shape.name} {seed}"), start_ns)
        group = cls(shape, partition_by, content_mode, plant)
        for gateway in GATEWAYS:
            sender = shape.make(gateway, Random(f"{gateway} {seed}"))
            steps = plant.steps(gateway, Random(f"{shape.name} {gateway} {seed}"))
            group.sent[gateway] = [sent for step in steps for sent in sender.sent(step)]
        return group

    @property
    def name(self) -> str:
        return f"{self.shape.name}.{self.partition_by}.{self.content_mode}"

    @property
    def is_structured(self) -> bool:
        return self.content_mode == "structured"


@dataclass(frozen=True)
class Clean:
    """An event of the clean stream."""

    body: bytes
    properties: Mapping[str, Any]

    def text(self, name: str) -> str:
        value = self.properties[name]
        return value.decode() if isinstance(value, bytes) else str(value)

    @property
    def origin(self) -> Origin:
        _, partition, number = self.text("dedup_origin").split("/")
        return int(partition), int(number)

    @property
    def indexes(self) -> list[int]:
        spans = [span.split("-") for span in self.text("dedup_indexes").split(",")]
        return [index for span in spans for index in range(int(span[0]), int(span[-1]) + 1)]


def interleaved(groups: Sequence[Group], rng: Random) -> Iterator[tuple[Group, str, Sent]]:
    """The messages of all gateways, each gateway's in its order."""
    queues = [(group, gateway, list(reversed(sent))) for group in groups for gateway, sent in group.sent.items()]
    while queues:
        group, gateway, waiting = queues[at := rng.randrange(len(queues))]
        yield group, gateway, waiting.pop()
        if not waiting:
            del queues[at]


def audit(inputs: Mapping[Origin, tuple[Group, Sent]], stream: Sequence[Clean]) -> list[str]:
    """What is wrong; nothing if all is well. `inputs`: every message of the input hub by its origin."""
    faults: list[str] = []
    published: dict[str, Counter[Reading]] = {group.name: Counter() for group, _ in inputs.values()}
    notices: Counter[Origin] = Counter()
    for clean in stream:
        group, sent = inputs[clean.origin]
        if not sent.readings:
            notices[clean.origin] += 1
            if clean.body != sent.body:
                faults.append(f"{group.name}: what is no reading was altered, {clean.origin}")
            continue
        try:
            readings = _structured(group, sent, clean) if group.is_structured else _as_received(group, sent, clean)
            published[group.name].update(readings)
        except (AssertionError, ValueError, LookupError) as error:
            faults.append(f"{group.name}: {clean.origin} {clean.body[:1000]!r} is not what was sent: {error!r}")
    for group in {group.name: group for group, _ in inputs.values()}.values():
        faults += _balance(group, published[group.name])
    for origin, (group, sent) in inputs.items():
        if not sent.readings and not notices[origin] and not group.is_structured:
            faults.append(f"{group.name}: what is no reading was lost, {origin}")
    return faults


def _balance(group: Group, published: Counter[Reading]) -> Iterator[str]:
    true = {comparable(reading) for reading in group.plant.readings}
    assert len(true) == len(group.plant.readings) > 0
    for reading in true - published.keys():
        yield f"{group.name}: lost {reading}"
    for reading, times in published.items():
        if reading not in true:
            yield f"{group.name}: never said {reading}"
        elif times > 1:
            yield f"{group.name}: doubled {reading}"


def comparable(reading: Reading) -> Reading:
    return reading._replace(value=plain(reading.value))


def readings_in(group: Group, root: Any, properties: Mapping[str, Any]) -> Iterator[tuple[Place, Reading]]:
    for place, signal, part in group.shape.spots(root, properties):
        ns, value, status = group.shape.said(part)
        yield place, Reading(signal, ns, value, status)


def _as_received(group: Group, sent: Sent, clean: Clean) -> list[Reading]:
    """In the sender's own format: the kept readings, and around them what was around them."""
    before, after = parsed(group, sent.body), parsed(group, clean.body)
    original = list(readings_in(group, before, sent.properties))
    kept = [original[index] for index in clean.indexes]
    found = [reading for _, reading in readings_in(group, after, _senders(clean))]
    assert found == [reading for _, reading in kept]
    assert after == left(before, [place for place, _ in kept], [place for place, _ in original]), "its surroundings differ"
    at, text = 0, text_of(group, clean.body)
    for index in clean.indexes:
        at = text.index(sent.parts[index], at) + len(sent.parts[index])
    assert _coding(clean.body) == _coding(sent.body)
    return found


def _structured(group: Group, sent: Sent, clean: Clean) -> list[Reading]:
    """As CloudEvents in JSON: each has the part of the body that was a reading, and the documented source."""
    signals = {group.shape.source(signal): signal for signal in group.shape.signals}
    at, text, found = 0, clean.body.decode(), []
    items = json.loads(text)
    assert len(items) == len(clean.indexes)
    for index, item in zip(clean.indexes, items, strict=True):
        ns, value, status = group.shape.said(group.shape.alone(item))
        assert abs(ns_of(item["time"]) - ns) <= group.shape.jitter_ns
        found.append(Reading(signals[item["source"]], ns, value, status))
        part = group.shape.in_json(sent.parts[index])
        at = text.index(part, at) + len(part)
    assert len({(item["source"], item["id"]) for item in items}) == len(items)
    return found


def left(value: Any, kept: Collection[Place], readings: Collection[Place], place: Place = ()) -> Any:
    """`value` without the readings that are not kept, and without what held nothing but these."""
    if place in readings or not isinstance(value, dict | list):
        return value
    items = []
    for key, child in value.items() if isinstance(value, dict) else enumerate(value):
        inside = [one for one in readings if one[: len(place) + 1] == (*place, key)]
        if not inside or any(one in kept for one in inside):
            items.append((key, left(child, kept, readings, (*place, key))))
    return dict(items) if isinstance(value, dict) else [child for _, child in items]


def parsed(group: Group, body: bytes) -> Any:
    if group.shape.format == "sparkplug":
        return protobuf.read(body)
    return json.loads(text_of(group, body).removeprefix("\ufeff"))


def text_of(group: Group, body: bytes) -> str:
    if group.shape.format == "sparkplug":
        return body.decode("latin-1")
    plain_body = gzip.decompress(body) if _coding(body) == "gzip" else body
    text = plain_body.decode("utf-16-be" if _coding(body) == "utf-16" else "utf-8")
    return str(json.loads(text)) if text.startswith('"') else text


def _coding(body: bytes) -> str:
    return {b"\x1f\x8b": "gzip", b"\xfe\xff": "utf-16"}.get(body[:2], "utf-8")


def _senders(clean: Clean) -> dict[str, Any]:
    """The sender's properties; text where the SDK gives bytes."""
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in clean.properties.items()}
