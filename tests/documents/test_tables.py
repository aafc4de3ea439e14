"""Tables that are specifications: which attributes a reading needs on the wire, which strings enter the hash of its id."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest

from dedup_service.core.events import UNKNOWN_REPLICA, InputEvent
from dedup_service.core.extract import CloudEventsExtractor
from dedup_service.errors import UndeliverableError
from edge_sender.identity.rules import mint, parse_rules
from tests.documents.blocks import ROOT
from tests.support.readings import event
from wire.cloudevents import PROPERTY_PREFIXES
from wire.ids import Sample

CELLS = re.compile("`([^`]+)`")


def rows(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, as cells."""
    text = (ROOT / "docs" / page).read_text().split(f"## {heading}\n")[1]
    lines = [line for line in text.split("\n\n| ")[1].splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


ATTRIBUTES = {
    name: (prefixed, needed)
    for names, underscore, colon, needed, _ in rows("wire-contract.md", "Attributes")
    for name, *prefixed in zip(*(CELLS.findall(cell) for cell in (names, underscore, colon)), strict=True)
}
VALUES = {
    "id": "1",
    "source": "urn:a",
    "time": "2026-01-01T00:00:00Z",
    "sequence": f"{7:020d}",
    "sequenceepoch": "e",
    "specversion": "1.0",
    "type": "reading",
    "replica": "edge-a",
}


def received(properties: dict[str, Any]) -> InputEvent:
    return event(b"{}", application_properties=properties, annotations={})


def test_the_table_has_each_attribute_with_both_prefixes() -> None:
    assert ATTRIBUTES.keys() == VALUES.keys()
    for name, (prefixed, _) in ATTRIBUTES.items():
        assert prefixed == [prefix + name for prefix in PROPERTY_PREFIXES]


@pytest.mark.parametrize("prefix", PROPERTY_PREFIXES)
@pytest.mark.parametrize("absent", VALUES)
def test_a_reading_needs_what_the_table_says(prefix: str, absent: str) -> None:
    properties = {prefix + name: value for name, value in VALUES.items() if name != absent}
    made, needed = received(properties), ATTRIBUTES[absent][1]
    if needed == "yes":
        with pytest.raises(UndeliverableError):
            CloudEventsExtractor(1000).extract(made)
        return
    (reading,) = CloudEventsExtractor(1000).extract(made).readings
    assert (reading.source, reading.id) == ("urn:a", "1")
    assert (made.replica == UNKNOWN_REPLICA) == (needed == "on an Event Hub")


@pytest.mark.parametrize("row", rows("identity.md", "Strategies"), ids=lambda row: row[0])
def test_the_strings_that_are_hashed_are_those_of_the_page(row: list[str]) -> None:
    (strategy,), hashed = CELLS.findall(row[0]), [text.encode() for text in CELLS.findall(row[1])]
    sample = Sample("urn:a", 1_700_000_000_123_000_000, {"sequence": 7, "epoch": "e1", "value": 2.5})
    parts = b"".join(len(part).to_bytes(4, "big") + part for part in hashed)
    assert mint(sample, parse_rules(strategy)) == hashlib.sha256(parts).hexdigest()[:32]


def test_the_headline_of_the_drill_is_that_of_its_table() -> None:
    table = (ROOT / "docs" / "high-availability.md").read_text()
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
    power = next(row for row in lines if row[-1] == "copies").index("power lost")
    measured = {row[0]: row for row in lines if len(row) > power + 1}
    killed = {name: row[1].split(" / ") for name, row in measured.items() if name != "pattern"}
    duplicates, overlap = killed["duplicates, 2 replicas"], killed["active-passive with overlap"]
    peers = killed["active-passive with overlap and peers"]
    elsewhere = [name for name in killed if name.endswith("(modelled)")]
    lost = sorted(float(killed[name][0]) for name in elsewhere)
    without_power = sorted(float(measured[name][power].split(" / ")[0]) for name in elsewhere)
    assert duplicates[0] == overlap[0] == peers[0] == "0"
    headline = (
        f"**duplicates lose nothing and pause the clean stream for {duplicates[1]} s; "
        f"active-passive with overlap loses nothing and pauses it for {float(overlap[1]):.0f} s, "
        f"and for {peers[1]} s if the gateways hear each other; "
        f"restarting the sender elsewhere loses {lost[0]:g} to {lost[-1]:.0f} s of readings**, "
        f"and {without_power[0]:.0f} to {without_power[-1]:.0f} s where its machine lost power"
    )
    assert headline in " ".join((ROOT / "README.md").read_text().split())
