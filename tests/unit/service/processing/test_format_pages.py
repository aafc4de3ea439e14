"""The examples of docs/formats: what the pages say of a message is what a group of the page's own lines does with it.

An example is a block of labelled rows below the name of its event (`Event 2 of x.json`). `in` is that event's body, or a
part of it, and is read as it stands on the page. Key, `out` and `structured` are those of its first reading: `out` is what
is published of the event after a copy of this reading, and `structured` how the reading is published in that content mode.
"""

from __future__ import annotations

import base64
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dedup_service.config.file import GroupSettings, load_config_file
from dedup_service.config.groups import make_extractor
from dedup_service.core.events import InputEvent
from dedup_service.core.other_formats import FormatExtractor
from dedup_service.core.outgoing import OutgoingEvent, OutputPolicy
from dedup_service.errors import UndeliverableError
from dedup_service.telemetry import Count
from tests.support.pipelines import World
from tests.unit.service.processing.test_senders_formats import FILES, captured
from wire.formats.messages import Found, Message
from wire.formats.minting import Minted, chosen_strategy, mint
from wire.formats.registry import DEFAULT_STRATEGIES, NAMES, make_format
from wire.times import parse_time, rfc3339

PAGES = FILES.parents[2] / "docs" / "formats"
CONTRACT = (PAGES.parent / "wire-contract.md").read_text()
ARRIVED_NS = parse_time("2026-03-02T08:15:34Z", "rfc3339")
EXAMPLE = re.compile(r"Event (\d+) of `([\w-]+)\.json`[^\n]*\n\n((?:    .*\n)+)")
WINDOW_MS = 14_400_000
ROW = re.compile(r"^(\w+) +(.*\n(?: +.*\n)*)", re.MULTILINE)
FILE_OF_FORMAT = {"aio": "azure-iot-operations", "opcpub": "opc-publisher", "wrappers": "json"}


class Example(msgspec.Struct):
    group: GroupSettings
    event: InputEvent
    """With the body that stands on the page."""
    body: Any
    """As it was captured."""
    rows: dict[str, str]

    @property
    def extractor(self) -> FormatExtractor:
        extractor = make_extractor(self.group, 1_000_000)
        assert extractor is not None
        return extractor

    def found(self) -> Found:
        event = self.event
        message = Message(event.body, event.content_type, event.application_properties, {}, event.annotations)
        form = make_format(self.group.format, json.dumps(self.group.format_options))
        return next(part for part in form.read(message) if isinstance(part, Found))

    async def published(self, *, after_a_copy: bool, mode: str) -> list[OutgoingEvent]:
        """What comes of the event, after one that holds a copy of its first reading, or after none."""
        policy = OutputPolicy(["0"], "source", self.group.name, content_mode=mode)
        world = World(group={"extractor": self.extractor, "output": policy, "window_ms": WINDOW_MS})
        if after_a_copy:
            await world.pipeline().process([self.event_of_a_copy()])
        before = len(world.clean.events)
        await world.pipeline().process([self.event])
        assert world.telemetry.total(Count.CONFLICTS) == 0
        return world.clean.events[before:]

    def event_of_a_copy(self) -> InputEvent:
        container = self.extractor.extract(self.event).container
        assert container is not None
        return msgspec.structs.replace(self.event, body=container.holding([0]), partition_id="1")


def without_spaces(text: str) -> str:
    """Lines are broken on the page where they would be too long to read."""
    return "".join(text.split())


def group_of_page(page: str, tmp_path: Path) -> GroupSettings:
    block = re.search(r"^    groups:\n(?:    .*\n)+", page, re.MULTILINE)
    assert block
    file = tmp_path / "groups.yaml"
    file.write_text(textwrap.dedent(block[0]))
    (group,) = load_config_file(file).groups
    return group


def examples(name: str, tmp_path: Path) -> list[Example]:
    page = (PAGES / f"{name}.md").read_text()
    group, made = group_of_page(page, tmp_path), []
    for number, file, block in EXAMPLE.findall(page):
        rows = {label: text.strip() for label, text in ROW.findall(textwrap.dedent(block))}
        event = captured(file)[int(number) - 1]
        annotations = {"iothub-connection-device-id": "gw-a"} | dict(event.annotations)
        body = rows["in"].encode() if event.body[:1] in b'{["' else base64.b64decode(rows["in"])
        shown = msgspec.structs.replace(
            event, body=body, annotations=annotations, enqueued_ms=ARRIVED_NS // 10**6, sequence_number=1
        )
        made.append(Example(group, shown, event.body, rows))
    return made


def is_part_of(part: Any, whole: Any) -> bool:
    if isinstance(part, dict) and isinstance(whole, dict):
        return all(name in whole and is_part_of(value, whole[name]) for name, value in part.items())
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(map(is_part_of, part, whole))
    return bool(part == whole)


def test_each_format_has_a_page_and_its_page_an_example(tmp_path: Path) -> None:
    assert sorted(page.stem for page in PAGES.glob("*.md")) == NAMES
    for name in NAMES:
        found = examples(name, tmp_path)
        assert {example.group.format for example in found} == {name}
        assert any("out" in example.rows for example in found)


@pytest.mark.parametrize("name", NAMES)
async def test_what_a_page_says_of_a_message_is_what_happens_to_it(name: str, tmp_path: Path) -> None:
    for example in examples(name, tmp_path):
        shown = example.event.body
        assert shown == example.body or is_part_of(json.loads(shown), json.loads(example.body))
        found = example.found()
        key = mint(found, chosen_strategy(example.group.identity or DEFAULT_STRATEGIES[name]))
        assert isinstance(key, Minted)
        assert found.time_ns is not None
        (whole, *_) = await example.published(after_a_copy=False, mode="structured")
        rows = {
            "in": example.rows["in"],
            "source": found.source,
            "time": rfc3339(found.time_ns),
            "agree": json.dumps(found.value),
            "key": f"{key.strategy} {key.id}",
            "structured": json.dumps(json.loads(whole.body)[0]),
        }
        if rest := await example.published(after_a_copy=True, mode="as-received"):
            is_text = shown[:1] in b'{["'
            rows["out"] = rest[0].body.decode() if is_text else base64.b64encode(rest[0].body).decode()
        happened = {label: without_spaces(text) for label, text in rows.items()}
        assert {label: without_spaces(text) for label, text in example.rows.items()} == happened


@pytest.mark.parametrize("file", sorted(file.stem for file in FILES.glob("*.json")))
def test_a_page_names_what_passes_and_what_is_refused_of_each_golden_message(file: str, tmp_path: Path) -> None:
    prefix = file.partition("-")[0]
    name = FILE_OF_FORMAT.get(prefix, prefix)
    page = (PAGES / f"{name}.md").read_text()
    extractor = make_extractor(group_of_page(page, tmp_path), 1_000_000)
    assert extractor is not None
    for event in captured(file):
        passes: set[str] = set()
        try:
            extraction = extractor.extract(event)
            passes, reasons = set(extraction.not_readings), {bad.reason for bad in extraction.bad}
        except UndeliverableError as error:
            reasons = {error.reason}
        assert [word for word in passes | reasons if f"`{word}`" not in page] == []
        assert [reason for reason in reasons if f"`{reason}`" not in CONTRACT] == []
