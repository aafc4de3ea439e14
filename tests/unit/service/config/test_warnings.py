"""What is configured and hardly wanted is said, with its place and a remedy, and does not prevent the start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dedup_service.config.config import Config
from dedup_service.config.loading import load
from tests.unit.service.config.test_settings import GOOD, HUB

SHAPE = {"source": ["/tag", "system:message-id"], "time": "/ts"}


def warnings(folder: Path, file: dict[str, Any] | None = None, **settings: Any) -> list[str]:
    path = None
    if file is not None:
        (path := folder / "groups.yaml").write_text(json.dumps(file))
    config = Config(load(**{**GOOD, "config_file": path, "namespace": "plant", **settings}))
    return [f"{warning.name} {warning}" for warning in config.warnings]


@pytest.fixture(autouse=True)
def _hubs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WEST", "EAST", "SOUTH"):
        monkeypatch.setenv(name, HUB.replace("=hub", f"={name}"))


def source(name: str, **read: Any) -> dict[str, Any]:
    return {"name": name, "connection_string_env": name.upper(), "consumer_group": "dedup", **read}


def group(name: str, *devices: str) -> dict[str, Any]:
    return {"name": name, "devices": list(devices)} if devices else {"name": name}


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([group("a", "edge-1"), group("b", "edge-2")], []),
        ([group("a", "edge-1*"), group("b", "edge-*"), group("c")], []),
        (
            [group("a"), group("b", "edge-1")],
            ["group b, devices[0]: no device of edge-1 is ever in this group, since group a, which comes first, names all"],
        ),
        (
            [group("a", "edge-*"), group("b", "oven-1", "edge-1", "edge-2/sender")],
            ["group b, devices[1]: no device of edge-1 is ", "group b, devices[2]: no device of edge-2/sender is "],
        ),
        (
            [group("a", "x-[0-4]"), group("b", "x-[5-9]"), group("c", "x-[0-9]")],
            ["group c, devices[0]: no device of x-[0-9] is ever in this group, since groups a and b, which come first,"],
        ),
        ([group("a", "x"), group("b", "x", "y"), group("c", "y")], ["group b, devices[0]: ", "group c, devices[0]: "]),
        ([group("a", "x"), group("b")], []),
    ],
    ids=str,
)
def test_devices_that_an_earlier_group_takes_are_named(
    tmp_path: Path, groups: list[dict[str, Any]], said: list[str]
) -> None:
    texts = warnings(tmp_path, {"groups": groups})
    expected = [f"devices_taken DEDUP_CONFIG_FILE: {text}" for text in said]
    assert [text[: len(start)] for text, start in zip(texts, expected, strict=True)] == expected


def test_nothing_is_said_of_what_is_well(tmp_path: Path) -> None:
    well = {"name": "g", "format": "json", "format_options": {"source": ["property:plant", "topic:1"], "time": "/ts"}}
    assert warnings(tmp_path, {"groups": [well]}) == []


def test_without_groups_and_with_a_shared_consumer_group(tmp_path: Path) -> None:
    first, second, third = warnings(tmp_path, input_consumer_group="$Default", output_consumer_group="$default")
    assert first.startswith("no_groups DEDUP_CONFIG_FILE: all devices are one group")
    assert second.startswith("shared_consumer_group DEDUP_INPUT_CONSUMER_GROUP: this service's readers disconnect")
    assert third.startswith("shared_consumer_group DEDUP_OUTPUT_CONSUMER_GROUP: ")
    observing: dict[str, Any] = {"mode": "observe", "input_consumer_group": "dedup", "output_consumer_group": "$Default"}
    assert [text.partition(" ")[0] for text in warnings(tmp_path, **observing)] == ["no_groups"]


def test_an_identity_that_hardly_matches_is_named_with_group_and_field(tmp_path: Path) -> None:
    shapes = [{"source": ["/a"]}, {**SHAPE, "value": ["annotation:iothub-connection-device-id"]}]
    groups = [
        {**group("presses", "press"), "format": "json", "format_options": SHAPE},
        {**group("ovens", "oven"), "format": "json", "format_options": shapes},
    ]
    remedy, but = "so that copies never agree on it: leave it out", "unless the plant's own code sets it equal on all"
    anew = f"system:message-id is normally made anew by each gateway, {remedy}, {but}"
    device = f"annotation:iothub-connection-device-id is another one for each replica, {remedy}"
    assert warnings(tmp_path, {"groups": groups}) == [
        f"doubtful_identity DEDUP_CONFIG_FILE: group presses, format_options.source: {anew}",
        f"doubtful_identity DEDUP_CONFIG_FILE: group ovens, format_options[1].source: {anew}",
        f"doubtful_identity DEDUP_CONFIG_FILE: group ovens, format_options[1].value: {device}",
    ]
    inputs = [source("west", format="json", format_options=SHAPE)]
    assert warnings(tmp_path, {"inputs": inputs, "groups": [{"name": "g"}]}) == [
        f"doubtful_identity DEDUP_CONFIG_FILE: input west, format_options.source: {anew}"
    ]


def test_inputs_whose_readings_never_match_are_named_with_the_groups_that_may_use_them(tmp_path: Path) -> None:
    west, east, south = source("west", format="telegraf"), source("east", format="kepware"), source("south")
    groups: list[dict[str, Any]] = [group("a", "a"), {**group("own", "own"), "format": "cloudevents"}, group("b", "b")]
    (said,) = warnings(tmp_path, {"inputs": [west, east, south], "groups": groups})
    assert said.startswith(
        "identities_by_input DEDUP_CONFIG_FILE: groups a, b: readings have the identity source-time+value by west, "
        "time-bucket:1 by east, so that copies that come by different inputs never match. "
    )
    assert warnings(tmp_path, {"inputs": [west, east], "groups": groups[1:2]}) == []
    assert warnings(tmp_path, {"inputs": [west, {**east, "identity": "source-time+value"}], "groups": groups}) == []
    assert warnings(tmp_path, {"inputs": [west, south], "groups": groups}) == []
