"""R9 and R9a: a device can neither claim nor suppress readings of another group, nor forge its own identity."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from msgspec.structs import replace

from dedup_service.core.claims import key_digest
from dedup_service.core.events import MESSAGE_SOURCE, InputEvent
from dedup_service.core.groups import Group, Groups, routing_rule, written_partitions
from dedup_service.core.input_log import InputLog
from dedup_service.core.outgoing import OutputPolicy
from dedup_service.processing.event_work import EventWork
from tests.support.groups import OUTPUT, admission_of, group_of
from tests.support.readings import batch_of, element, event, single

PRESSES = group_of(name="presses", devices=("edge-press-?",), sources=("urn:plant#nsu=urn:machines;s=press-*",))
OVENS = group_of(name="ovens", devices=("edge-oven-*",), sources=("urn:plant#nsu=urn:machines;s=oven-*",))


def admitted(given: InputEvent, *groups: Group, unmatched: str = "ignore") -> EventWork:
    return admission_of(*(groups or (PRESSES, OVENS)), unmatched=unmatched).admit(given, InputLog(1, 0))


def reasons(work: EventWork) -> list[str]:
    return [reason for reason, _ in work.dead]


@pytest.mark.parametrize(
    ("device", "name"),
    [("edge-press-1", "presses"), ("edge-oven-12", "ovens"), ("edge-press-12", None), ("EDGE-PRESS-1", None), ("x", None)],
)
def test_a_device_is_in_the_first_group_that_names_it(device: str, name: str | None) -> None:
    group = Groups([PRESSES, OVENS]).of_replica(device)
    assert (group and group.name) == name


def test_a_module_is_in_its_devices_group_or_in_one_that_names_it() -> None:
    assert Groups([PRESSES]).of_replica("edge-press-1/sender") == PRESSES
    alone = group_of(devices=("edge-press-1/sender",))
    assert Groups([alone]).of_replica("edge-press-1/sender") == alone
    assert Groups([alone]).of_replica("edge-press-1/other") is None


def test_a_flood_of_made_up_names_does_not_fill_the_memory() -> None:
    groups = Groups([PRESSES])
    for n in range(25_000):
        groups.of_replica(f"made-up-{n}")
    assert len(groups._by_replica) <= 10_000


def test_a_source_of_another_group_is_refused_and_claims_nothing() -> None:
    work = admitted(single("1", source="urn:plant#nsu=urn:machines;s=oven-1/t", device="edge-press-1"))
    assert (work.extraction.readings, reasons(work)) == ([], ["source-not-allowed"])


def test_only_the_foreign_readings_of_a_batch_are_refused() -> None:
    own, foreign = (
        element("1", "urn:plant#nsu=urn:machines;s=press-1/t"),
        element("2", "urn:plant#nsu=urn:machines;s=oven-1/t"),
    )
    work = admitted(batch_of([own, foreign], device="edge-press-1"))
    assert [reading.id for reading in work.extraction.readings] == ["1"]
    assert [letter.body for _, letter in work.dead] == [b"[" + foreign + b"]"]
    assert work.extraction.bad[0].index == 1


def test_one_reading_in_two_groups_has_two_keys_whatever_is_crafted() -> None:
    keys = {
        key_digest(group, source, reading_id)
        for group, source, reading_id in [
            ("a", "b", "c"),
            ("ab", "", "c"),
            ("a", "bc", ""),
            ("", "ab", "c"),
            ("a\0b", "", "c"),
        ]
    }
    assert len(keys) == 5


@pytest.mark.parametrize("name", ["iothub-connection-device-id", "cloudEvents_replica"])
def test_a_device_cannot_pose_as_another_one(name: str) -> None:
    forged = single("1", source="urn:plant#nsu=urn:machines;s=oven-1", device="edge-press-1")
    work = admitted(replace(forged, application_properties={**forged.application_properties, name: "edge-oven-1"}))
    assert (work.replica, reasons(work)) == ("edge-press-1", ["source-not-allowed"])


@pytest.mark.parametrize(
    ("unmatched", "dead", "forwarded"), [("ignore", 0, False), ("dead-letter", 1, False), ("forward", 0, True)]
)
def test_events_of_unknown_devices_or_without_telemetry_claim_nothing_and_are_not_dead_letters_by_default(
    unmatched: str, dead: int, forwarded: bool
) -> None:
    twin = single("1", source="urn:plant#nsu=urn:machines;s=press-1", device="edge-press-1")
    twin = replace(twin, annotations={**twin.annotations, MESSAGE_SOURCE: "twinChangeEvents"})
    for foreign, why in ((single("1", device="stranger"), "no-group"), (twin, "not-telemetry"), (event(b"?"), "no-group")):
        work = admitted(foreign, unmatched=unmatched)
        assert (work.group, work.ignored, work.extraction.readings) == (None, why, [])
        assert (len(work.dead), work.forwarded) == (dead, forwarded)


def test_a_group_defines_what_its_content_is() -> None:
    group = group_of(content=("/value", "/quality/0"))

    def content(data: Any) -> bytes:
        (reading,) = admitted(batch_of([element("1", data=data)]), group).extraction.readings
        (alone,) = admitted(single("1", json.dumps(data).encode()), group).extraction.readings
        assert reading.content_hash == alone.content_hash
        return reading.content_hash

    same = content({"value": 1, "quality": [0], "gateway": "a"})
    assert content({"gateway": "b", "quality": [0, 9], "value": 1}) == same
    others = [
        {"value": 2, "quality": [0]},
        {"value": 1, "quality": [1]},
        {"value": 1},
        {"value": None, "quality": [0]},
        {},
        7,
    ]
    assert len({same, *map(content, others)}) == 6


def test_the_routing_rule_changes_with_everything_that_sends_a_reading_elsewhere() -> None:
    def rule(**fields: Any) -> str:
        return routing_rule([PRESSES, group_of(name="ovens", output=dataclasses.replace(OUTPUT, **fields))])

    same = rule()
    assert same == rule(content_mode="structured") == routing_rule([group_of(name="ovens"), PRESSES])
    assert len({same, rule(partition_by="group"), rule(partition_ids=["0", "1"]), rule(partition_ids=["other:0"])}) == 4


def test_a_group_that_goes_to_one_partition_needs_no_other() -> None:
    """Pods connect to what is written, at their start, and to nothing else."""
    names = [str(n) for n in range(8)]
    by_group = group_of(name="presses", output=OutputPolicy(names, "group", "presses"))
    by_source = group_of(name="ovens", output=OutputPolicy(["b:0", "b:1"], "source", "ovens"))
    observed = group_of(name="saws", mode="observe", output=OutputPolicy(["c:0"], "source", "saws"))
    written = written_partitions([by_group, by_source, observed])
    assert len(written) == 3
    assert {"b:0", "b:1"} < set(written)
