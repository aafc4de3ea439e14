"""`dedup-service report`: what was measured for each source, and whether it can be deduplicated."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

from dedup_service.core.group_report import GroupReport, group_report
from dedup_service.core.groups import OBSERVE, Group
from dedup_service.core.source_report import SourceReport, source_report
from dedup_service.core.times import duration_seconds, rfc3339
from dedup_service.observability.fleet import Fleet

MAX_HOURS = 24
MAX_NAME = 120
"""Of a source that is an example in a sentence."""


def hours_of(text: str) -> int:
    """Parses `90m`, `24h` or `1d` into whole hours, rounded up. Raises ValueError."""
    hours = -(-duration_seconds(text) // 3600)
    if not 1 <= hours <= MAX_HOURS:
        raise ValueError(f"{text!r} is not between 1 hour and {MAX_HOURS} hours, which is what is kept")
    return hours


async def collect(fleet: Fleet, hours: int) -> dict[str, GroupReport]:
    """By group. Raises UnavailableError."""
    recognised, since_ms = await fleet.recognised(hours), await fleet.figures_since_ms(hours)
    return {
        group.name: group_report(await _sources(fleet, group, hours), recognised[group.name], since_ms)
        for group in fleet.groups
    }


async def _sources(fleet: Fleet, group: Group, hours: int) -> list[SourceReport]:
    names = await fleet.replica_names(group.name)
    overviews = await fleet.source_overviews(group.name, await fleet.sources(group.name, hours), hours)
    return [
        source_report(
            item.seen.source,
            item.counts,
            item.missing,
            names,
            is_observed=group.mode == OBSERVE,
            complete=item.complete,
        )
        for item in overviews
    ]


def as_json(reports: dict[str, GroupReport]) -> str:
    return json.dumps({name: dataclasses.asdict(report) for name, report in reports.items()}, indent=2)


def as_text(reports: dict[str, GroupReport], hours: int) -> str:
    lines: list[str] = []
    for name, report in reports.items():
        lines += [f"group {name}, last {hours} h: {len(report.sources):,} sources", *_since(report), *_recognised(report)]
        if report.sources:
            lines += [*_summary(report), "", *_table(report.sources, complete=report.figures_since_ms is None)]
        elif not report.recognised:
            lines += ["  nothing was measured; is the service running, and do the devices belong to this group?"]
        lines += [""]
    return "\n".join(lines).rstrip()


def _since(report: GroupReport) -> Iterator[str]:
    if report.figures_since_ms is not None:
        yield f"  figures since {rfc3339(report.figures_since_ms)} (Redis forgot what it had counted before)"


def _recognised(report: GroupReport) -> Iterator[str]:
    for item in report.recognised:
        look = "message looks" if item.messages == 1 else "messages look"
        yield f"  {item.messages:,} {look} like {item.looks_like}; {item.remedy}"


def _summary(report: GroupReport) -> Iterator[str]:
    unable = sum(not item.can_be_deduplicated for item in report.sources)
    if unable:
        yield f"  {unable:,} of {len(report.sources):,} sources can't be deduplicated as they are sent now."
    else:
        yield "  Every source can be deduplicated."
    for trap in report.traps:
        count = "1 source" if trap.sources == 1 else f"{trap.sources:,} sources, such as"
        yield f"  - {count} {_short(trap.example)}: {_printable(trap.text)}"


def _table(items: list[SourceReport], *, complete: bool) -> Iterator[str]:
    covers = [f"cover {_printable(item.replica)}" for item in items[0].replicas]
    headings = ["source", "readings", "matched", "dupl.", "missing", "conflicts", *covers, "verdict"]
    rows = [headings, *([_printable(cell) for cell in _cells(item, complete=complete)] for item in items)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(headings) - 1)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:], strict=True))]
        yield "  " + "  ".join([*cells, row[-1]])


def _cells(item: SourceReport, *, complete: bool) -> list[str]:
    shares = [_share(item.match_rate), _share(item.duplicate_share)]
    counted = [f"{item.missing:,}", f"{item.conflicts:,}"]
    covers = [_share(replica.coverage) if complete else "incomplete" for replica in item.replicas]
    return [item.source, f"{item.readings:,}", *shares, *counted, *covers, item.verdict]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _short(source: str) -> str:
    return _printable(source if len(source) <= MAX_NAME else f"{source[: MAX_NAME - 1]}…")


def _printable(text: str) -> str:
    """Replaces control characters: a device chooses its sources' names, which must not move the terminal's cursor."""
    return "".join(character if character.isprintable() else "�" for character in text)
