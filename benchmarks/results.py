"""The results of a benchmark: tables for the terminal, figures for build/bench.json, curves for pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

Cell = str | float | None


@dataclass(frozen=True, slots=True)
class Curve:
    """One picture. `lines`: the y values for `xs`, by name."""

    name: str
    title: str
    x_label: str
    y_label: str
    xs: Sequence[float]
    lines: Mapping[str, Sequence[float]]
    logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A performance target of the project, and the value that was reached."""

    what: str
    wanted: str
    reached: str
    is_met: bool


@dataclass(slots=True)
class Section:
    title: str
    conditions: str
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def show(self, console: Console) -> None:
        table = Table(title=self.title, caption=self.conditions, title_justify="left", caption_justify="left")
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*map(written, row))
        console.print(table)

    def as_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "conditions": self.conditions,
            "rows": [dict(zip(self.columns, row, strict=True)) for row in self.rows],
        }


def written(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, str):
        return cell
    return f"{cell:,.0f}" if abs(cell) >= 1000 or float(cell).is_integer() else f"{cell:.2f}"


def middle(values: Sequence[float]) -> float:
    return float(median(values))


def at_least(what: str, wanted: float, reached: float) -> Target:
    return Target(what, f"≥ {written(wanted)}", written(reached), reached >= wanted)


def at_most(what: str, wanted: float, reached: float) -> Target:
    return Target(what, f"≤ {written(wanted)}", written(reached), reached <= wanted)


def show_targets(targets: Sequence[Target], console: Console) -> None:
    table = Table(title="Targets", title_justify="left")
    for column in ("what", "wanted", "reached", ""):
        table.add_column(column)
    for target in targets:
        table.add_row(target.what, target.wanted, target.reached, "met" if target.is_met else "MISSED")
    console.print(table)
