"""What is accepted with a warning (message ids, correlation ids, times of sending, the device's id) either matches, because
the plant's own code sets it equal, or the report finds that it never does. Without it there is a dead letter."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dedup_service.core.events import InputEvent
from dedup_service.core.group_report import GroupReport, group_report
from dedup_service.core.other_formats import FormatExtractor
from dedup_service.core.property_types import Timestamp
from dedup_service.core.source_report import source_report
from dedup_service.core.traps import TrapKind
from dedup_service.telemetry import Count
from tests.support.copies import DEPLOYMENT, NOW_MS, Copies
from tests.support.pipelines import World
from tests.unit.service.core.test_other_formats import extractor
from wire.formats.registry import doubts_of

TAGS = ("Flow", "Temperature")
MESSAGES = 40
NAMES = {0: "gw-0", 1: "gw-1"}


def sent(gateway: int, number: int, *, by_own_code: bool = False) -> InputEvent:
    """A message with the same readings from each gateway, and what is each gateway's own, unless the plant sets it."""
    device, own = NAMES[gateway], 0 if by_own_code else gateway
    readings = [{"tag": tag, "ts": NOW_MS + 1000 * number, "v": number} for tag in TAGS]
    return InputEvent(
        str(gateway),
        number,
        str(number),
        NOW_MS,
        json.dumps(readings).encode(),
        message_id=f"{number:08x}-{own}-{number * 7 + own:08x}",
        correlation_id=f"{number * 3 + own * 1000:08x}",
        creation_time=Timestamp(NOW_MS + 1000 * number + 137 * own),
        annotations={"iothub-connection-device-id": device},
    )


SHAPE = {"readings": "/*", "source": ["/tag"], "time": "/ts", "time_format": "ms", "value": ["/v"]}
DEVICE = "annotation:iothub-connection-device-id"
CASES: list[tuple[dict[str, Any], str | None, TrapKind]] = [
    ({"source": ["system:message-id", "/tag"]}, None, TrapKind.SINGLE_USE),
    ({"source": ["text:plant", "system:correlation-id", "/tag"]}, None, TrapKind.SINGLE_USE),
    ({"source": ["/tag", "system:creation-time"]}, "source-time", TrapKind.SINGLE_USE),
    ({"source": [DEVICE, "/tag"]}, None, TrapKind.ONE_SEGMENT),
    ({"time": "system:creation-time"}, None, TrapKind.OWN_STAMPS),
    ({"value": ["/v", "system:message-id"]}, None, TrapKind.OTHER_CONTENTS),
    ({"value": ["/v", DEVICE]}, None, TrapKind.OTHER_CONTENTS),
    ({"content": ["/ts", "system:correlation-id"]}, "content", TrapKind.OTHER_IDS),
    ({"content": ["/ts", DEVICE]}, "content", TrapKind.OTHER_IDS),
]


async def reported(reader: FormatExtractor, *, by_own_code: bool = False) -> GroupReport:
    copies, sources = Copies(), set[str]()
    for number in range(MESSAGES):
        for gateway in NAMES:
            for reading in reader.extract(sent(gateway, number, by_own_code=by_own_code)).readings:
                assert isinstance(reading.time, int)
                value = reading.content_hash.hex()
                await copies.deliver(gateway, reading.id, reading.time // 10**6, value, reading.source)
                sources.add(reading.source)
    items = [source_report(source, await copies.counts(source), 0, NAMES) for source in sorted(sources)]
    return group_report(items, {}, DEPLOYMENT)


@pytest.mark.parametrize(("changed", "identity", "kind"), CASES, ids=str)
async def test_an_identity_that_never_matches_is_found_and_was_warned_about(
    changed: dict[str, Any], identity: str | None, kind: TrapKind
) -> None:
    shape = {**SHAPE, **changed}
    assert list(doubts_of("json", json.dumps(shape)))
    report = await reported(extractor("json", shape, identity))
    assert {item.trap.kind if item.trap else None for item in report.sources} == {kind}
    assert {item.can_be_deduplicated for item in report.sources} == {False}
    assert not report.undecided
    assert [trap.kind for trap in report.traps] == [kind]
    assert sum(trap.sources for trap in report.traps) == len(report.sources)


@pytest.mark.parametrize(("changed", "identity"), [case[:2] for case in CASES if DEVICE not in str(case[0])], ids=str)
async def test_what_the_plants_own_code_sets_equal_matches(changed: dict[str, Any], identity: str | None) -> None:
    world = World(group={"extractor": extractor("json", {**SHAPE, **changed}, identity)})
    for number in range(3):
        for gateway in NAMES:
            item = world.at(sent(gateway, number, by_own_code=True), number, str(gateway))
            await world.pipeline(partition=str(gateway)).process([item])
    readings = 3 * len(TAGS)
    counted = [world.telemetry.total(count) for count in (Count.WINNERS, Count.DUPLICATES, Count.CONFLICTS)]
    assert counted == [readings, readings, 0]


@pytest.mark.parametrize(
    ("changed", "identity", "reason"),
    [
        ({"source": ["system:message-id"]}, None, "no-source"),
        ({"source": ["/tag", "system:correlation-id"]}, None, "no-source"),
        ({"source": [DEVICE]}, None, "no-source"),
        ({"time": "system:creation-time"}, None, "without-time"),
        ({"content": ["system:message-id"]}, "content", "no-identity"),
        ({"sequence": "system:message-id"}, "sequence", "no-identity"),
    ],
    ids=str,
)
async def test_an_event_without_it_is_a_counted_dead_letter(
    changed: dict[str, Any], identity: str | None, reason: str
) -> None:
    world = World(group={"extractor": extractor("json", {**SHAPE, **changed}, identity)})
    body = json.dumps([{"tag": tag, "ts": NOW_MS, "v": 1} for tag in TAGS]).encode()
    await world.pipeline().process([world.at(InputEvent("0", 0, "0", NOW_MS, body), 0)])
    assert [letter.properties["dedup_reason"] for letter in world.dead.events] == [reason]
    assert world.telemetry.total(Count.DEAD_LETTERED) == len(TAGS)
    assert world.clean.events == []
