"""Whole days of three gateways in every shape of every format, through the pipeline: nothing lost, nothing doubled.

The auditor reads the senders' formats by itself (tests/support/formats). tests/integration/service/test_formats.py does the
same with real hubs, a real Redis and a process that is killed; here there is room for many days.
"""

from __future__ import annotations

import dataclasses
import json
from random import Random
from typing import Any

import pytest

from dedup_service.core.outgoing import OutputPolicy
from dedup_service.telemetry import Count
from tests.doubles.memory import MemoryPublisher
from tests.support.formats.auditor import Clean, Group, Origin, audit, comparable, interleaved, parsed, readings_in, text_of
from tests.support.formats.bodies import Sent
from tests.support.formats.plants import GATEWAYS
from tests.support.formats.shapes import SHAPES, Shape
from tests.support.pipelines import World
from tests.support.readings import event
from tests.unit.service.processing.test_senders_formats import extractor

START_NS = 1_772_439_330 * 10**9
DAYS = 2
OUTPUTS = [str(number) for number in range(3)]
SINGLE = {"opc-sample", "telegraf-single"}
"""Shapes of one reading a message, in which there is nothing to be cut."""
Inputs = dict[Origin, tuple[Group, Sent]]


async def through(group: Group, seed: int) -> tuple[World, Inputs, list[Clean]]:
    reader = extractor(group.shape.format, group.shape.options or {}, group.shape.identity)
    output = OutputPolicy(OUTPUTS, group.partition_by, group.name, content_mode=group.content_mode)
    world = World(group={"extractor": reader, "output": output}, clean=MemoryPublisher({name: [] for name in OUTPUTS}))
    pipelines = {gateway: world.pipeline(partition=str(number)) for number, gateway in enumerate(GATEWAYS)}
    inputs: Inputs = {}
    for _, gateway, sent in interleaved([group], Random(seed)):
        partition = GATEWAYS.index(gateway)
        number = sum(origin[0] == partition for origin in inputs)
        inputs[partition, number] = group, sent
        item = event(sent.body, content_type=sent.content_type, application_properties=sent.properties)
        await pipelines[gateway].process([world.at(item, number, str(partition))])
    return world, inputs, [Clean(item.body, item.properties) for item in world.clean.events]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.name))
@pytest.mark.parametrize("partition_by", ["source", "group"])
async def test_nothing_is_lost_doubled_or_altered(shape: Shape, partition_by: str) -> None:
    for seed in range(DAYS):
        group = Group.of(shape, partition_by, "as-received", seed, START_NS)
        world, inputs, clean = await through(group, seed)
        assert audit(inputs, clean) == []
        assert world.dead.events == []
        assert world.telemetry.total(Count.CONFLICTS) == 0
        assert world.telemetry.total(Count.DUPLICATES) > 0


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.name))
async def test_as_cloudevents_nothing_is_lost_doubled_or_altered_either(shape: Shape) -> None:
    group = Group.of(shape, "source", "structured", 7, START_NS)
    _, inputs, clean = await through(group, 7)
    assert audit(inputs, clean) == []


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.name))
def test_the_auditor_reads_what_the_gateways_wrote(shape: Shape) -> None:
    group = Group.of(shape, "source", "as-received", 1, START_NS)
    for sent in (one for all_sent in group.sent.values() for one in all_sent if one.readings):
        found = [reading._replace(status=0) for _, reading in readings_in(group, parsed(group, sent.body), sent.properties)]
        assert found == [comparable(reading)._replace(status=0) for reading in sent.readings]
        assert all(part in text_of(group, sent.body) for part in sent.parts)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.name))
async def test_the_auditor_finds_every_fault(shape: Shape) -> None:
    group = Group.of(shape, "source", "as-received", 2, START_NS)
    _, inputs, clean = await through(group, 2)
    with_readings = [at for at, item in enumerate(clean) if inputs[item.origin][1].readings]
    at = with_readings[len(with_readings) // 2]
    item = clean[at]
    assert any("lost" in fault for fault in audit(inputs, clean[:at] + clean[at + 1 :]))
    assert any("doubled" in fault for fault in audit(inputs, [*clean, item]))
    if shape.format != "sparkplug":
        other_text = dataclasses.replace(item, body=json.dumps(parsed(group, item.body), separators=(" ,", " :")).encode())
        assert any("not what was sent" in fault for fault in audit(inputs, [*clean[:at], other_text, *clean[at + 1 :]]))
    cut = [item for item in (clean[at] for at in with_readings) if len(item.indexes) < len(inputs[item.origin][1].readings)]
    for item in cut[:1]:
        uncut = dataclasses.replace(item, body=inputs[item.origin][1].body)
        assert any("not what was sent" in fault for fault in audit(inputs, [uncut]))
    assert bool(cut) != (shape.name in SINGLE)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: str(shape.name))
async def test_the_auditor_finds_every_fault_in_cloudevents(shape: Shape) -> None:
    group = Group.of(shape, "source", "structured", 2, START_NS)
    _, inputs, clean = await through(group, 2)
    first, *others = clean
    assert any("lost" in fault for fault in audit(inputs, others))
    assert any("doubled" in fault for fault in audit(inputs, [*clean, first]))
    (item, *rest) = json.loads(first.body)
    nothing: dict[str, Any] = {"data_base64": "AAAA"} if "data_base64" in item else {"data": {}}
    altered = [item | {"time": "2020-01-01T00:00:00Z"}, item | {"source": f"{item['source']}x"}, item | nothing]
    for other in altered:
        body = json.dumps([other, *rest], separators=(",", ":"), ensure_ascii=False).encode()
        faults = audit(inputs, [dataclasses.replace(first, body=body), *others])
        assert any("lost" in fault for fault in faults)
