"""Messages of other senders through the pipeline: each reading once, in its sender's own format or as CloudEvents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dedup_service.commands.captured_events import input_events
from dedup_service.core.events import Extraction, InputEvent
from dedup_service.core.input_log import InputLog
from dedup_service.core.other_formats import FormatExtractor
from dedup_service.core.outgoing import OutgoingEvent, OutputPolicy
from dedup_service.errors import UndeliverableError
from dedup_service.processing.sending import clean_events_of
from dedup_service.telemetry import Count
from tests.support.groups import admission_of, group_of
from tests.support.pipelines import World
from tests.support.readings import event
from tests.unit.service.core.test_other_formats import FORMATS
from wire.formats.minting import chosen_strategy
from wire.formats.registry import DEFAULT_STRATEGIES

FILES = Path(__file__).parents[3] / "vectors" / "formats"


def extractor(name: str, options: Any, identity: str | None) -> FormatExtractor:
    strategy = chosen_strategy(identity or DEFAULT_STRATEGIES[name])
    return FormatExtractor(name, json.dumps(options).encode(), strategy, 1_000_000)


def captured(name: str) -> list[InputEvent]:
    return input_events((FILES / f"{name}.json").read_bytes())


async def through(world: World, *files: str) -> list[OutgoingEvent]:
    """One partition for each gateway, whose events come in turn."""
    gateways = [(str(n), world.pipeline(partition=str(n)), captured(name)) for n, name in enumerate(files)]
    for number in range(max(len(events) for _, _, events in gateways)):
        for partition, pipeline, events in gateways:
            if number < len(events):
                await pipeline.process([world.at(events[number], number, partition)])
    return world.clean.events


SETS = [
    ("opc-publisher", {}, None, ("opcpub-pubsub-a", "opcpub-pubsub-b", "opcpub-pubsub-c"), 6),
    ("opc-publisher", {}, None, ("opcpub-pubsub-array", "opcpub-pubsub-array"), 4),
    ("opc-publisher", {}, None, ("opcpub-keyframe-a", "opcpub-keyframe-b", "opcpub-keyframe-c"), 5),
    ("opc-publisher", {}, None, ("opcpub-event-a", "opcpub-event-b", "opcpub-event-c"), 3),
    ("opc-publisher", {}, None, ("opcpub-samples-full", "opcpub-samples-full"), 3),
    ("opc-publisher", {}, None, ("opcpub-reversible-gzip", "opcpub-reversible-gzip"), 2),
    ("azure-iot-operations", {"rename": {"*": "oven"}}, None, ("aio-dataset-a", "aio-dataset-b", "aio-dataset-c"), 4),
    ("ignition", {"rename": {"*": "Press"}}, None, ("ignition-a", "ignition-b", "ignition-c"), 4),
    ("telegraf", {}, None, ("telegraf-a", "telegraf-b"), 3),
    ("kepware", {}, None, ("kepware-a", "kepware-b"), 4),
    ("siemens", {"bare_ids": True}, "source-time+value", ("siemens-other", "siemens-other"), 5),
]


@pytest.mark.parametrize("mode", ["as-received", "structured"])
@pytest.mark.parametrize(("name", "options", "identity", "files", "distinct"), SETS, ids=lambda value: str(value)[:40])
async def test_each_reading_is_published_once(
    name: str, options: Any, identity: str | None, files: tuple[str, ...], distinct: int, mode: str
) -> None:
    reader = extractor(name, options, identity)
    world = World(group={"extractor": reader, "output": OutputPolicy(["0"], "source", "g", content_mode=mode)})
    published: list[tuple[str, str]] = []
    for clean in await through(world, *files):
        if mode == "structured":
            items = json.loads(clean.body)
            published += [(item["source"], item["id"]) for item in items]
            assert all(item["specversion"] == "1.0" and ("data" in item or "data_base64" in item) for item in items)
        elif "dedup_indexes" in clean.properties:
            again = reader.extract(
                event(clean.body, content_type=clean.content_type, application_properties=clean.properties)
            )
            assert len(again.readings) == clean.readings
            published += [(reading.source, reading.id) for reading in again.readings]
    assert len(published) == len(set(published)) == distinct
    assert world.telemetry.total(Count.CONFLICTS) == 0


async def test_what_holds_no_reading_passes_as_it_is_or_is_dropped_and_is_counted() -> None:
    for passes in (True, False):
        world = World(group={"extractor": extractor("opc-publisher", {}, None), "passes_on_not_readings": passes})
        events = captured("opcpub-not-readings")
        clean = await through(world, "opcpub-not-readings")
        assert [item.body for item in clean] == ([item.body for item in events] if passes else [])
        assert world.telemetry.total(Count.NOT_READINGS) == len(events)
        assert world.dead.events == []


async def test_a_group_that_observes_passes_nothing_on() -> None:
    """Not to the hub for events of no group either."""
    group = group_of(mode="observe", extractor=extractor("opc-publisher", {}, None))
    (metadata, *_) = captured("opcpub-not-readings")
    work = admission_of(group, unmatched="forward").admit(metadata, InputLog.of(1, "0"))
    assert work.extraction.not_readings
    assert clean_events_of(work, OutputPolicy(["0"], "source", "")) == []


async def test_a_heartbeat_is_a_copy_of_what_it_repeats_and_no_conflict() -> None:
    world = World(group={"extractor": extractor("opc-publisher", {}, None)})
    sample = {
        "NodeId": "nsu=urn:p;s=T",
        "ApplicationUri": "urn:s",
        "Value": {"Value": 1, "SourceTimestamp": "2026-01-01T00:00:00Z"},
    }
    lost = {**sample["Value"], "StatusCode": {"Code": 0x408F0000}}  # type: ignore[dict-item]  # it is an object
    bodies = [sample, {**sample, "Heartbeat": True}, {**sample, "Value": lost}]
    pipeline = world.pipeline()
    for number, body in enumerate(bodies):
        await pipeline.process([world.at(event(json.dumps(body).encode()), number)])
    assert [json.loads(item.body) for item in world.clean.events] == [sample]
    assert (world.telemetry.total(Count.DUPLICATES), world.telemetry.total(Count.CONFLICTS)) == (2, 0)


async def test_what_can_not_have_a_key_is_a_dead_letter_that_says_why() -> None:
    world = World(group={"extractor": extractor("opc-publisher", {}, None)})
    await through(world, "opcpub-headerless")
    details = {letter.properties["dedup_reason"]: letter.properties["dedup_detail"] for letter in world.dead.events}
    assert "without-time" in details
    assert all(details.values())


GOLDEN = sorted(file.stem for file in FILES.glob("*.json"))


@pytest.mark.parametrize("file", GOLDEN)
async def test_each_part_of_each_golden_message_is_published_or_a_dead_letter_with_its_reason(file: str) -> None:
    """In the sender's own format, too: what is read again of the dead letters is refused again, for the same reasons."""
    _, (name, options) = next(item for item in FORMATS.items() if file.startswith(item[0]))
    reader = extractor(name, options, None)
    for item in captured(file):
        world = World(group={"extractor": reader})
        await world.pipeline().process([world.at(item, 0)])
        extraction = extracted(reader, item)
        if isinstance(extraction, UndeliverableError):
            letters = [(letter.body, letter.properties["dedup_reason"]) for letter in world.dead.events]
            assert letters == [(item.body, extraction.reason)]
            continue
        again = [bad for letter in world.dead.events for bad in refused_again(reader, item, letter)]
        assert sorted(again) == sorted((bad.reason, bad.detail) for bad in extraction.bad)
        published = sum(clean.readings for clean in world.clean.events)
        assert published == len({(reading.source, reading.id) for reading in extraction.readings})
        if not extraction.readings and not extraction.bad:
            assert [clean.body for clean in world.clean.events] == [item.body]


def extracted(reader: FormatExtractor, item: InputEvent) -> Extraction | UndeliverableError:
    try:
        return reader.extract(item)
    except UndeliverableError as error:
        return error


def refused_again(reader: FormatExtractor, item: InputEvent, letter: OutgoingEvent) -> list[tuple[str, str]]:
    """(reason, detail) of each reading in a dead letter of some of the event's readings."""
    extraction = extracted(
        reader,
        msgspec.structs.replace(
            item, body=letter.body, content_type=letter.content_type, content_encoding=letter.content_encoding
        ),
    )
    if isinstance(extraction, UndeliverableError):
        refused = [(extraction.reason, extraction.detail)]
    else:
        assert extraction.readings == []
        refused = [(bad.reason, bad.detail) for bad in extraction.bad]
    assert {reason for reason, _ in refused} == {letter.properties["dedup_reason"]}
    return refused
