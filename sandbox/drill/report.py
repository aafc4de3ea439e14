"""The drill's result, computed from the hubs' content and written as a table, as JSON and as a chart."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from azure.eventhub import EventData
from rich.console import Console

from sandbox.audit.auditor import enqueued_ns, read_hub, read_journal, readings_in
from sandbox.drill.figures import Arrival, Cost, ReadingKey, Window, at_full_delay, cost, longest_silence
from sandbox.drill.patterns import CUT_SECONDS, WITNESS_CUT_SECONDS, Fault, Pattern
from sandbox.hub.stand_in import RESTART_SECONDS
from sandbox.plant.server import AWAY_SECONDS

READ_SECONDS = 90.0
FLOOR_SECONDS = 0.05
"""Smallest value in the chart, because a logarithmic scale cannot show zero."""
QUIET_SECONDS = 3.0
"""The clean stream counts as complete when no reading has arrived for this time."""


@dataclass(frozen=True, slots=True)
class Row:
    pattern: Pattern
    fault: Fault
    cost: Cost
    full_lost_seconds: float
    """With the full delay if the pattern is modelled; otherwise as measured."""
    full_silence_seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    scale: float
    patterns: tuple[Pattern, ...]
    faults: tuple[Fault, ...]
    normal: dict[str, float]
    """Seconds of silence without a fault, by pattern."""
    calm_copies: dict[str, float]
    rows: list[Row]
    clean_duplicates: int
    unknown: int
    """Readings in the clean stream that the plant never emitted."""
    lost: dict[str, int]
    """Readings lost in the whole run, by pattern."""

    @property
    def is_clean(self) -> bool:
        """Whether there are no duplicates or unknown readings, and no losses in patterns that promise none."""
        broken = [pattern for pattern in self.patterns if pattern.promises_no_loss and self.lost[pattern.name]]
        return self.clean_duplicates == 0 and self.unknown == 0 and not broken


async def judge(
    scale: float,
    patterns: tuple[Pattern, ...],
    journal: Path,
    hubs: dict[str, str],
    windows: dict[Fault, Window],
    calm: Window,
) -> Result:
    clean = await _complete(hubs["clean"])
    sent = await _arrivals(hubs["telemetry"])
    emitted = read_journal(journal)
    rows, normal, calm_copies, lost = [], {}, {}, {}
    for pattern in patterns:
        of_sent, of_clean = ([a for a in part if a.device.rpartition("-")[0] == pattern.name] for part in (sent, clean))
        normal[pattern.name] = longest_silence((a.at_ns for a in of_clean), calm)
        calm_copies[pattern.name] = cost(emitted, of_sent, of_clean, calm, 0).copies_per_reading
        lost[pattern.name] = len(emitted.keys() - {arrival.key for arrival in of_clean})
        for fault, window in windows.items():
            rows.append(_row(pattern, fault, scale, cost(emitted, of_sent, of_clean, window, normal[pattern.name])))
    doubled, unknown = _doubled(clean, emitted)
    return Result(scale, patterns, tuple(windows), normal, calm_copies, rows, doubled, unknown, lost)


def _row(pattern: Pattern, fault: Fault, scale: float, measured: Cost) -> Row:
    lost, silence = measured.lost_seconds, measured.silence_seconds
    if fault.name == "power" and pattern.relocation_seconds is not None:
        shortened = pattern.relocation_seconds / scale
        lost = at_full_delay(lost, shortened, pattern.relocation_seconds)
        silence = at_full_delay(silence, shortened, pattern.relocation_seconds)
    return Row(pattern, fault, measured, lost, silence)


def _doubled(clean: list[Arrival], emitted: dict[ReadingKey, int]) -> tuple[int, int]:
    seen: set[tuple[str, ReadingKey]] = set()
    doubled = 0
    for arrival in clean:
        key = arrival.device.rpartition("-")[0], arrival.key
        doubled += key in seen
        seen.add(key)
    return doubled, sum(arrival.key not in emitted for arrival in clean)


async def _complete(connection_string: str) -> list[Arrival]:
    """The readings in a hub, once their number no longer grows."""
    deadline, count = time.monotonic() + READ_SECONDS, -1
    while time.monotonic() < deadline:
        arrivals = await _arrivals(connection_string)
        if len(arrivals) == count:
            return arrivals
        count = len(arrivals)
        await asyncio.sleep(QUIET_SECONDS)
    return await _arrivals(connection_string)


async def _arrivals(connection_string: str) -> list[Arrival]:
    events = await read_hub(connection_string, "audit")
    return [Arrival(key, _device(event), enqueued_ns(event)) for event in events for key in readings_in(event)]


def _device(event: EventData) -> str:
    """The device that IoT Hub names in the input hub and the service in the clean hub."""
    name = b"iothub-connection-device-id"
    device: Any = event.system_properties.get(name) or event.properties.get(name) or b""
    return str(device.decode() if isinstance(device, bytes) else device)


# --- output


def show(result: Result, console: Console) -> None:
    for line in table_lines(result):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def table_lines(result: Result) -> list[str]:
    """A Markdown table, as shown in docs/high-availability.md."""
    header = ["pattern", *(fault.title for fault in result.faults), "copies"]
    lines = [_line(header), _line(["---"] * len(header))]
    by_place: dict[tuple[str, str], Row] = {(row.pattern.name, row.fault.name): row for row in result.rows}
    for pattern in result.patterns:
        cells = [_cell(by_place[pattern.name, fault.name]) for fault in result.faults]
        title = f"{pattern.title} (modelled)" if pattern.is_modelled else pattern.title
        lines.append(
            _line([title, *cells, f"{result.calm_copies[pattern.name]:.2f} ({_worst_copies(result, pattern):.2f})"])
        )
    notes = [
        "",
        "RPO / RTO: seconds of readings that never reached the clean stream / its longest silence minus the normal one.",
        f"Modelled: the delay before a restart elsewhere ran {result.scale:g} times shorter; the table adds the difference.",
        f"Cuts last {CUT_SECONDS:g} s, those of the witness {WITNESS_CUT_SECONDS:g} s, a hub restart {RESTART_SECONDS:g} s, "
        f"and the plant's first server is away for {AWAY_SECONDS:g} s.",
        f"Normal silence: up to {max(result.normal.values()):.2f} s. Copies: sent per reading without (and with) a fault.",
        f"In the clean stream: {result.clean_duplicates} duplicates, {result.unknown} readings that were never emitted.",
        "Lost in the whole run: " + ", ".join(f"{name} {count}" for name, count in result.lost.items()) + ".",
    ]
    return [*lines, *notes]


def _worst_copies(result: Result, pattern: Pattern) -> float:
    return max(row.cost.copies_per_reading for row in result.rows if row.pattern is pattern)


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(row: Row) -> str:
    if row.fault.name == "witness" and row.pattern.ha == "duplicate":
        return "–"  # it has no witness
    return f"{_seconds(row.full_lost_seconds)} / {_seconds(row.full_silence_seconds)}"


def _seconds(value: float) -> str:
    return "0" if value == 0 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def document(result: Result) -> dict[str, Any]:
    rows = [
        {
            "pattern": row.pattern.name,
            "title": row.pattern.title,
            "modelled": row.pattern.is_modelled,
            "relocation_seconds": row.pattern.relocation_seconds,
            "relocation_source": row.pattern.why or None,
            "fault": row.fault.name,
            "measured": asdict(row.cost),
            "rpo_seconds": row.full_lost_seconds,
            "rto_seconds": row.full_silence_seconds,
        }
        for row in result.rows
    ]
    return {
        "scale": result.scale,
        "normal_silence_seconds": {name: round(seconds, 2) for name, seconds in result.normal.items()},
        "copies_per_reading": result.calm_copies,
        "lost_in_the_whole_run": result.lost,
        "clean_duplicates": result.clean_duplicates,
        "unknown": result.unknown,
        "rows": rows,
    }


def write(result: Result, summary: Path | None, chart: Path | None) -> None:
    if summary is not None:
        summary.write_text(json.dumps(document(result), indent=2) + "\n")
    if chart is not None:
        draw(result, chart)


def draw(result: Result, path: Path) -> None:
    """Draw each pattern's worst fault of one gateway, on a logarithmic scale as they span four orders of magnitude."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    worst: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in result.rows:
        if not row.fault.hits_all:
            of = worst[row.pattern.name]
            of[:] = [max(of[0], row.full_lost_seconds), max(of[1], row.full_silence_seconds)]
    titles = [pattern.title + (" *" if pattern.is_modelled else "") for pattern in result.patterns][::-1]
    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    places = range(len(titles))
    for offset, index, label, colour in ((0.2, 0, "RPO", "#c0392b"), (-0.2, 1, "RTO", "#2c6fbb")):
        values = [max(worst[pattern.name][index], FLOOR_SECONDS) for pattern in result.patterns][::-1]
        bars = axes.barh([place + offset for place in places], values, 0.38, label=label, color=colour, left=0)
        shown = [_seconds(worst[pattern.name][index]) for pattern in result.patterns][::-1]
        axes.bar_label(bars, labels=shown, padding=3, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(FLOOR_SECONDS, 10_000)
    axes.set_yticks(list(places), titles)
    axes.set_xlabel("seconds, worst single fault of one gateway (* modelled)")
    axes.legend(loc="lower right")
    figure.savefig(path)
    pyplot.close(figure)
