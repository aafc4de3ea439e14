"""What the demo shows while it runs: a live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

PLAIN_INTERVAL_SECONDS = 5.0
SILENT_AFTER_SECONDS = 3.0


@dataclass(slots=True)
class View:
    console: Console
    address: str
    started: float = field(default_factory=time.monotonic)
    _news: list[str] = field(default_factory=list)
    _before: dict[str, float] = field(default_factory=dict)
    _before_at: float = 0.0
    _plain_due: float = 0.0
    _live: Live | None = None

    def __enter__(self) -> View:
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, news: str) -> None:
        stamped = f"{time.monotonic() - self.started:5.1f} s  {news}"
        self._news = [*self._news[-5:], stamped]
        if self._live is None:
            self.console.print(stamped, highlight=False, soft_wrap=True)

    def show(self, stats: dict[str, Any], now_ms: int) -> None:
        rates = self._rates(stats["totals"])
        if self._live is not None:
            self._live.update(Group(*self._panel(stats, rates, now_ms)), refresh=True)
        elif time.monotonic() >= self._plain_due:
            self._plain_due = time.monotonic() + PLAIN_INTERVAL_SECONDS
            alive = [r["replica"] for r in stats["replicas"] if not _silent(r, now_ms)]
            text = "  ".join(f"{name} {rate:.0f}/s" for name, rate in rates.items())
            self.tell(f"{text}  replicas sending: {', '.join(alive)}")

    def _rates(self, totals: dict[str, int]) -> dict[str, float]:
        now = time.monotonic()
        values = {
            "input": float(totals["copies"]),
            "clean": float(totals["clean_readings"]),
            "duplicates": float(totals["duplicates"]),
        }
        seconds = now - self._before_at
        rates = {name: (value - self._before.get(name, 0.0)) / seconds for name, value in values.items()}
        first, self._before, self._before_at = not self._before, values, now
        return dict.fromkeys(rates, 0.0) if first else rates

    def _panel(self, stats: dict[str, Any], rates: dict[str, float], now_ms: int) -> list[Any]:
        flow = Table(title="readings per second", title_justify="left")
        for name in rates:
            flow.add_column(name, justify="right")
        flow.add_row(*(f"{rate:,.0f}" for rate in rates.values()))
        replicas = Table(title="replicas", title_justify="left")
        for heading in ("replica", "state", "copies", "first", "duplicates"):
            replicas.add_column(heading, justify="left" if heading in ("replica", "state") else "right")
        for item in stats["replicas"]:
            state = Text("silent", "bold red") if _silent(item, now_ms) else Text("sending", "green")
            numbers = (f"{item[name]:,}" for name in ("copies", "winners", "duplicates"))
            replicas.add_row(item["replica"], state, *numbers)
        return [flow, replicas, Text(f"REST: {self.address}/v1/stats  {self.address}/docs"), *map(Text, self._news)]


def _silent(replica: dict[str, Any], now_ms: int) -> bool:
    return now_ms - int(replica["last_seen_ms"]) > SILENT_AFTER_SECONDS * 1000
