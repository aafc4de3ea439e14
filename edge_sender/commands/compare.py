"""`edge-sender try --compare`: of what two gateways printed, which readings match, and by what the others differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from edge_sender.commands.matching import Matched, match
from edge_sender.commands.outputs import CompareError, Output, read_output
from edge_sender.commands.text import Say, number_of, shown

MOST_SHOWN = 100
"""Sources that match in everything and have a line of their own; those that don't, all have."""


def compared(one: Path, two: Path, say: Say) -> int:
    """Says what matches; returns 0 if every source matches, else 1. Raises CompareError."""
    outputs = _read(one), _read(two)
    sources = sorted(outputs[0].copies.keys() | outputs[1].copies.keys())
    found = [match(source, *outputs) for source in sources]
    for line in _text(found, outputs[0].name, outputs[1].name):
        say(shown(line))
    return 0 if found and all(item.is_match for item in found) else 1


def _read(path: Path) -> Output:
    try:
        return read_output(path.name, path.read_bytes())
    except OSError as error:
        raise CompareError(f"{path} can't be read: {error.strerror}") from None


def _text(found: list[Matched], one: str, two: str) -> Iterator[str]:
    matching = [item for item in found if item.is_match]
    yield f"{one} and {two}: {len(matching):,} of {number_of(len(found), 'source')} match"
    if not found:
        yield "neither has a reading: run `edge-sender try --json` for longer"
    for item in found:
        if not item.is_match:
            yield from _told(item, one, two)
    for item in matching[:MOST_SHOWN]:
        yield from _told(item, one, two)
    if len(matching) > MOST_SHOWN:
        yield f"… and {len(matching) - MOST_SHOWN:,} more that match"


def _told(item: Matched, one: str, two: str) -> Iterator[str]:
    mark = "match" if item.is_match else "DIFFERENT"
    counts = f"{number_of(item.shared, 'reading')} in both, {item.only[0]:,} only in {one}, {item.only[1]:,} only in {two}"
    yield f"{mark}  {item.source}  ({item.verdict.strategy}): {counts}"
    if any(item.outside):
        yield f"    not compared: {item.outside[0]:,} and {item.outside[1]:,} from before or after the time that both cover"
    if item.strategies is not None:
        here, there = item.strategies
        yield f"    identity is {here} in {one} and {there} in {two}: set the same on all gateways"
    if any(item.without_id):
        yield f"    DROPPED, no id: {item.without_id[0]:,} and {item.without_id[1]:,}"
    if item.differing:
        yield f"    what only one has differs from its nearest counterpart in {_fields(item.differing)}"
    if item.conflicting:
        yield f"    readings with the same id differ in {_fields(item.conflicting)}"
    for finding in item.verdict.findings:
        yield f"    {finding.problem}: {finding.text}"
    if item.verdict.unjudged is not None:
        yield f"    too few to judge the identity: {item.verdict.unjudged}"


def _fields(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.most_common())
