"""What is published is restored, exactly: the keys, origins and contents that the pipeline claimed."""

from __future__ import annotations

import dataclasses
import gzip
import json
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dedup_service.core.claims import NO_CONTENT
from dedup_service.core.events import DEVICE_ID, MODULE_ID, REPLICA_PROPERTIES, InputEvent
from dedup_service.core.extract import MAX_READINGS
from dedup_service.core.groups import Group as RedundancyGroup
from dedup_service.core.outgoing import DUPLICATE_PROPERTY, INDEXES_PROPERTY, ORIGIN_PROPERTY, OutgoingEvent, OutputPolicy
from dedup_service.core.resolve import indexes_of
from dedup_service.telemetry import Count
from tests.doubles.memory import MemoryPublisher
from tests.support.formats.auditor import Group, interleaved
from tests.support.formats.plants import GATEWAYS
from tests.support.formats.shapes import SHAPES, Shape
from tests.support.groups import group_of
from tests.support.pipelines import WINDOW_MS, World
from tests.support.readings import batch_of, element, event, single, structured
from tests.support.rebuilds import DEPLOYMENT, decoded, read_back, reader_of
from tests.unit.service.processing.test_senders_formats import extractor
from wire.cloudevents import BATCH_CONTENT_TYPE

START_NS = 1_772_439_330 * 10**9
OUTPUTS = [str(number) for number in range(3)]
SMALL = 1500
"""Bytes of a clean event, so that larger ones are split."""


def world_of(group: dict[str, Any], max_bytes: int = 1_000_000, mode: str = "drop") -> World:
    clean = MemoryPublisher({name: [] for name in OUTPUTS}, max_bytes=max_bytes)
    world = World(group=group, clean=clean, mode=mode)
    clean.clock = world.clock
    return world


def group_in(world: World) -> RedundancyGroup:
    return group_of(**{"mode": world.mode, "window_ms": WINDOW_MS, **world.group})


async def assert_restored(world: World, *, shows_content: bool = True) -> None:
    """`shows_content`: whether clean events have the data as it came."""
    claimed = decoded(world.claims)
    assert claimed
    restored = decoded(
        await read_back(reader_of(group_in(world)), world.clean, world.clock, world.telemetry, world.claims.numbers)
    )
    assert world.telemetry.total(Count.NOT_RESTORED) == 0
    assert {key: claim.origin for key, claim in restored.items()} == {key: claim.origin for key, claim in claimed.items()}
    for key, claim in restored.items():
        assert claim.confirmed
        assert claim.content == (claimed[key].content if shows_content else NO_CONTENT)
        assert claim.replicas.bit_count() == 1
        assert claim.replicas & claimed[key].replicas


async def run_plant(group: Group, seed: int, max_bytes: int) -> World:
    shape = group.shape
    reader = extractor(shape.format, shape.options or {}, shape.identity)
    output = OutputPolicy(OUTPUTS, group.partition_by, group.name, content_mode=group.content_mode)
    world = world_of({"name": group.name, "extractor": reader, "output": output}, max_bytes)
    pipelines = {gateway: world.pipeline(partition=str(number)) for number, gateway in enumerate(GATEWAYS)}
    for number, (_, gateway, sent) in enumerate(interleaved([group], Random(seed))):
        device = {DEVICE_ID: f"edge-{gateway}", MODULE_ID: "publisher"}
        item = event(sent.body, content_type=sent.content_type, application_properties=sent.properties, annotations=device)
        await pipelines[gateway].process([world.at(item, number, str(GATEWAYS.index(gateway)))])
    return world


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.name))
@pytest.mark.parametrize("partition_by", ["source", "group"])
@pytest.mark.parametrize("max_bytes", [1_000_000, SMALL], ids=["whole", "split"])
async def test_what_other_senders_sent_as_they_sent_it(shape: Shape, partition_by: str, max_bytes: int) -> None:
    group = Group.of(shape, partition_by, "as-received", 3, START_NS)
    await assert_restored(await run_plant(group, 3, max_bytes))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.name))
async def test_what_other_senders_sent_as_cloudevents(shape: Shape) -> None:
    group = Group.of(shape, "source", "structured", 4, START_NS)
    await assert_restored(await run_plant(group, 4, 1_000_000), shows_content=False)


# --- CloudEvents

IDS = st.sampled_from([str(number) for number in range(12)] + ["ö", " ", '"', "\U0001f600"])
SOURCES = st.sampled_from([f"urn:{number}" for number in range(5)] + ["urn:ß"])
DATA = st.sampled_from([1, "x", None, {"value": 1.5, "at": "ö"}, ["a"], "y" * 300])
GOOD = st.builds(element, IDS, SOURCES, DATA)
BAD = st.sampled_from([b'{"id": "1"}', b"{}", b'{"id": 5, "source": "urn:1"}', b"3"])
DEVICES = st.sampled_from(["edge-1", "edge-2"])


@st.composite
def events(draw: st.DrawFn) -> InputEvent:
    """Of a device that IoT Hub knows, or of a sender that says itself who it is."""
    made = draw(iot_hub_events())
    if draw(st.booleans()):
        return made
    properties = {**made.application_properties, draw(st.sampled_from(REPLICA_PROPERTIES)): made.annotations[DEVICE_ID]}
    return msgspec.structs.replace(made, application_properties=properties, annotations={})


@st.composite
def iot_hub_events(draw: st.DrawFn) -> InputEvent:
    device, kind = draw(DEVICES), draw(st.sampled_from(["batch", "batch", "single", "structured"]))
    if kind == "single":
        return single(draw(IDS), json.dumps(draw(DATA)).encode(), draw(SOURCES), device)
    if kind == "structured":
        return structured(draw(GOOD), annotations={DEVICE_ID: device})
    items = draw(st.lists(st.one_of(GOOD, GOOD, GOOD, BAD), min_size=1, max_size=12))
    if draw(st.booleans()):
        body = gzip.compress(b"[" + b",".join(items) + b"]")
        annotations = {DEVICE_ID: device}
        return event(body, content_type=BATCH_CONTENT_TYPE, content_encoding="gzip", annotations=annotations)
    return batch_of(items, device)


@settings(deadline=None)
@given(
    items=st.lists(events(), min_size=1, max_size=8),
    mode=st.sampled_from(["drop", "mark"]),
    content=st.sampled_from([(), ("/value",)]),
    content_mode=st.sampled_from(["as-received", "structured"]),
    partition_by=st.sampled_from(["source", "group"]),
    max_bytes=st.sampled_from([700, 1_000_000]),
)
async def test_cloudevents_of_any_shape(
    items: list[InputEvent], mode: str, content: tuple[str, ...], content_mode: str, partition_by: str, max_bytes: int
) -> None:
    output = OutputPolicy(OUTPUTS, partition_by, "g", content_mode=content_mode)
    world = world_of({"output": output, "content": content, "devices": ("edge-*",)}, max_bytes, mode)
    pipeline = world.pipeline()
    for number, item in enumerate([single("always"), *items]):
        await pipeline.process([world.at(item, number)])
    await assert_restored(world, shows_content=content_mode == "as-received")


async def test_events_of_a_group_in_another_format_that_were_published_as_cloudevents() -> None:
    """Its content mode has changed since."""
    shape = next(shape for shape in SHAPES if shape.format == "telegraf")
    world = await run_plant(Group.of(shape, "source", "structured", 5, START_NS), 5, 1_000_000)
    world.group["output"] = OutputPolicy(OUTPUTS, "source", world.group["name"])
    await assert_restored(world, shows_content=False)


# --- hostile clean events: anybody may write to the clean hub

ORIGIN = "00000001/0/7"
HOSTILE_INDEXES = st.one_of(
    st.sampled_from(["0-99999999999", "0," * 50_000, "5-", "-5", "\u0663", "9" * 5000, "1-0", "65534-65535", "", "0-0-0"]),
    st.text(max_size=8),
)
HOSTILE_ORIGINS = st.one_of(
    st.sampled_from([ORIGIN, "zz/0/7", "00000001/0/" + "9" * 5000, "00000001/99999/1", "-0000001/0/1", "1/2"]),
    st.text(max_size=8),
)
HOSTILE_BODIES = st.one_of(
    st.sampled_from(
        [
            b"[" * 100_000,
            b'[{"id": "1", "source": "urn:1"}]',
            b'[{"id": "\\ud800", "source": "urn:1"}]',
            gzip.compress(b"0" * 10**7),
        ]
    ),
    st.binary(max_size=20),
)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        ORIGIN_PROPERTY: st.one_of(HOSTILE_ORIGINS, st.integers()),
        INDEXES_PROPERTY: st.one_of(HOSTILE_INDEXES, st.integers()),
        DUPLICATE_PROPERTY: st.sampled_from([True, "", 0]),
        DEVICE_ID: st.one_of(st.text(max_size=5), st.integers(), st.sampled_from(["\ud800", "edge-1"])),
        MODULE_ID: st.one_of(st.text(max_size=5), st.binary(max_size=5)),
        "cloudEvents_id": st.one_of(st.text(max_size=5), st.integers(), st.none()),
        "cloudEvents_source": st.one_of(st.text(max_size=5), st.floats()),
        REPLICA_PROPERTIES[0]: st.one_of(st.text(max_size=5), st.integers()),
    },
)
CONTENT_TYPES = st.sampled_from([BATCH_CONTENT_TYPE, "application/cloudevents+json", "application/json", None, "\x00"])
ANY_SHAPE = st.sampled_from([None, *SHAPES])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    hostile=st.lists(st.tuples(HOSTILE_BODIES, CONTENT_TYPES, st.sampled_from([None, "gzip", "x"]), PROPERTIES), max_size=6),
    shape=ANY_SHAPE,
)
async def test_hostile_clean_events_stop_nothing(
    hostile: list[tuple[bytes, str | None, str | None, dict[str, Any]]], shape: Shape | None
) -> None:
    world = world_of({})
    await world.pipeline().process([world.at(single("before"), 0)])
    own = group_in(world)
    if shape is not None:
        reader = extractor(shape.format, shape.options or {}, shape.identity)
        own = dataclasses.replace(own, name="other", extractor=reader, devices=("[!e]*",))
    for body, content_type, encoding, properties in hostile:
        written = OutgoingEvent(body, content_type, encoding, None, None, properties, 1)
        world.clean.store(OUTPUTS[0], [written])
    restored = await read_back(
        reader_of(own, group_in(world)), world.clean, world.clock, world.telemetry, world.claims.numbers
    )
    assert decoded(world.claims).keys() <= decoded(restored).keys()
    assert len(restored.stored) <= 1 + 2 * len(hostile)


@settings(deadline=None)
@given(HOSTILE_INDEXES)
def test_hostile_indexes_take_no_more_memory_than_an_event_has_readings(text: str) -> None:
    indexes = list(indexes_of(text))
    assert len(indexes) <= MAX_READINGS
    assert all(0 <= index < MAX_READINGS for index in indexes)


@pytest.mark.parametrize(
    "hostile",
    [
        {INDEXES_PROPERTY: "9" * 5000},
        {INDEXES_PROPERTY: "0", "cloudEvents_id": "1", "cloudEvents_source": "\ud800"},
        {INDEXES_PROPERTY: "0", "cloudEvents_id": "\ud800", "cloudEvents_source": "urn:1"},
    ],
)
async def test_a_claim_is_restored_although_the_event_before_it_is_hostile(hostile: dict[str, str]) -> None:
    world = world_of({"output": OutputPolicy(["0"], "source", "g")})
    properties = {ORIGIN_PROPERTY: ORIGIN, **hostile}
    world.clean.store("0", [OutgoingEvent(b"[]", None, None, None, None, properties, 1)])
    await world.pipeline().process([world.at(single("after"), 0)])
    restored = await read_back(reader_of(group_in(world)), world.clean, world.clock, world.telemetry, world.claims.numbers)
    assert decoded(restored).keys() == decoded(world.claims).keys()


@pytest.mark.parametrize(
    ("deployment", "incarnation", "is_ours"),
    [
        (None, 7, True),
        (None, 8, False),
        (DEPLOYMENT, 8, True),  # its input hub was recreated since
        ("another", 7, True),  # its namespace was changed since
        ("another", 8, False),
    ],
)
def test_only_what_this_deployment_has_published_is_restored(
    deployment: str | None, incarnation: int, *, is_ours: bool
) -> None:
    """The readings of others in the same clean hub may have the same keys: restored, they would silence its own."""
    properties = {"dedup_origin": "00000007/0/1", "dedup_indexes": "0", "cloudEvents_id": "a", "cloudEvents_source": "s"}
    if deployment is not None:
        properties["dedup_deployment"] = deployment
    clean = InputEvent("0", 0, "0", 1, b"{}", application_properties=properties)
    assert (reader_of(group_of(), incarnation=incarnation).read(clean) is not None) is is_ours
