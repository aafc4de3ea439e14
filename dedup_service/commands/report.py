"""`dedup-service report`: what was measured for each source, and whether it can be deduplicated."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator

from dedup_service.core.group_report import Deployment, GroupReport, group_report
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
    recognised, since_ms, modes = await fleet.recognised(hours), await fleet.figures_since_ms(hours), await fleet.modes()
    reports = {}
    for group in fleet.groups:
        deployment = Deployment(fleet.namespace, modes.get(group.name), group.mode)
        sources = await _sources(fleet, group, hours, is_observed=OBSERVE in (deployment.mode or group.mode).split("/"))
        reports[group.name] = group_report(sources, recognised[group.name], deployment, since_ms)
    return reports


async def _sources(fleet: Fleet, group: Group, hours: int, *, is_observed: bool) -> list[SourceReport]:
    names = await fleet.replica_names(group.name)
    overviews = await fleet.source_overviews(group.name, await fleet.sources(group.name, hours), hours)
    return [
        source_report(
            item.seen.source,
            item.counts,
            item.missing,
            names,
            is_observed=is_observed,
            complete=item.complete,
        )
        for item in overviews
    ]


def as_json(reports: dict[str, GroupReport]) -> str:
    return json.dumps({name: dataclasses.asdict(report) for name, report in reports.items()}, indent=2)


def as_text(reports: dict[str, GroupReport], hours: int) -> str:
    lines: list[str] = []
    for name, report in reports.items():
        lines += [*_heading(name, report, hours), *_since(report), *_recognised(report)]
        if report.sources:
            lines += [*_summary(report), "", *_table(report.sources, complete=report.figures_since_ms is None)]
        elif not report.recognised:
            lines += [_nothing(report.deployment)]
        lines += [""]
    return "\n".join(lines).rstrip()


def _heading(name: str, report: GroupReport, hours: int) -> Iterator[str]:
    of = report.deployment
    mode = of.mode or f"{of.configured_mode} (as set for this command; no pod runs)"
    yield f"group {name} of namespace {of.namespace}, mode {mode}, last {hours} h: {_counted(len(report.sources))}"
    if of.mode not in (None, of.configured_mode):
        yield (
            f"  the pods run in mode {of.mode}, but this command is set to {of.configured_mode}: give it their DEDUP_MODE "
            "and groups' file"
        )


def _nothing(of: Deployment) -> str:
    if of.mode is None:
        return (
            f"  nothing was measured, and no pod runs in namespace {of.namespace}: `run` logs its own when it has started; "
            "give this command the same settings"
        )
    return "  nothing was measured: do the devices send, and do they belong to this group?"


def _counted(number: int) -> str:
    return f"{number:,} {'source' if number == 1 else 'sources'}"


def _since(report: GroupReport) -> Iterator[str]:
    if report.figures_since_ms is not None:
        yield f"  figures since {rfc3339(report.figures_since_ms)} (Redis forgot what it had counted before)"


def _recognised(report: GroupReport) -> Iterator[str]:
    for item in report.recognised:
        look = "message looks" if item.messages == 1 else "messages look"
        yield f"  {item.messages:,} {look} like {item.looks_like}; {item.remedy}"


def _summary(report: GroupReport) -> Iterator[str]:
    unable = sum(item.can_be_deduplicated is False for item in report.sources)
    undecided = sum(item.sources for item in report.undecided)
    total = len(report.sources)
    if unable:
        yield f"  {unable:,} of {_counted(total)} can't be deduplicated as they are sent now."
    elif not undecided:
        yield f"  Every source can be deduplicated{_but_conflicts(report)}."
    for trap in report.traps:
        yield f"  - {_such_as(trap.sources, [trap.example])}: {_printable(trap.text)}"
    if undecided:
        others = "; the others can be deduplicated" if not unable and undecided < total else ""
        yield f"  {undecided:,} of {_counted(total)} {'is' if undecided == 1 else 'are'} undecided{others}."
    for item in report.undecided:
        yield f"  - {_such_as(item.sources, item.examples)}: {item.text}"


def _but_conflicts(report: GroupReport) -> str:
    conflicting = [item for item in report.sources if item.conflicts]
    if not conflicting:
        return ""
    return f", but copies of {_such_as(len(conflicting), [conflicting[0].source])} differ in content (conflicts)"


def _such_as(sources: int, examples: list[str]) -> str:
    names = ", ".join(map(_short, examples))
    return f"{_counted(sources)}{'' if sources == 1 else ', such as'} {names}"


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
