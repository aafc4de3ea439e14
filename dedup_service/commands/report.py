"""`dedup-service report`: what was measured for each source, and whether it can be deduplicated."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

from dedup_service.core.source_report import SourceReport, source_report
from dedup_service.core.times import duration_seconds
from dedup_service.observability.fleet import Fleet

MAX_HOURS = 24


def hours_of(text: str) -> int:
    """Parses `90m`, `24h` or `1d` into whole hours, rounded up. Raises ValueError."""
    hours = -(-duration_seconds(text) // 3600)
    if not 1 <= hours <= MAX_HOURS:
        raise ValueError(f"{text!r} is not between 1 hour and {MAX_HOURS} hours, which is what is kept")
    return hours


async def collect(fleet: Fleet, hours: int) -> dict[str, list[SourceReport]]:
    """By group. Raises UnavailableError."""
    return {group.name: await _sources(fleet, group.name, hours) for group in fleet.groups}


async def _sources(fleet: Fleet, group: str, hours: int) -> list[SourceReport]:
    names = await fleet.replica_names(group)
    overviews = await fleet.source_overviews(group, await fleet.sources(group, hours), hours)
    return [source_report(item.seen.source, item.counts, item.missing, names) for item in overviews]


def as_json(reports: dict[str, list[SourceReport]]) -> str:
    return json.dumps({name: [dataclasses.asdict(item) for item in items] for name, items in reports.items()}, indent=2)


def as_text(reports: dict[str, list[SourceReport]], hours: int) -> str:
    lines: list[str] = []
    for name, items in reports.items():
        lines += [f"group {name}, last {hours} h: {len(items)} sources"]
        if not items:
            lines += ["  nothing was measured; is the service running, and do the devices belong to this group?", ""]
            continue
        lines += [*_table(items), "", *_summary(items), ""]
    return "\n".join(lines).rstrip()


def _table(items: list[SourceReport]) -> Iterator[str]:
    covers = [f"cover {_printable(item.replica)}" for item in items[0].replicas]
    headings = ["source", "readings", "matched", "dupl.", "missing", "conflicts", *covers, "verdict"]
    rows = [headings, *([_printable(cell) for cell in _cells(item)] for item in items)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(headings) - 1)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:], strict=True))]
        yield "  " + "  ".join([*cells, row[-1]])


def _cells(item: SourceReport) -> list[str]:
    shares = [_share(item.match_rate), _share(item.duplicate_share)]
    counted = [f"{item.missing:,}", f"{item.conflicts:,}"]
    covers = [_share(replica.coverage) for replica in item.replicas]
    return [item.source, f"{item.readings:,}", *shares, *counted, *covers, item.verdict]


def _summary(items: list[SourceReport]) -> Iterator[str]:
    unable = [item for item in items if not item.can_be_deduplicated]
    if not unable:
        yield "  Every source can be deduplicated."
        return
    yield f"  {len(unable)} of {len(items)} sources can't be deduplicated as they are sent now:"
    for item in unable:
        yield f"    {_printable(item.source)}: {item.verdict}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _printable(text: str) -> str:
    """Replaces control characters: a device chooses its sources' names, which must not move the terminal's cursor."""
    return "".join(character if character.isprintable() else "�" for character in text)
