"""What the demo shows while it runs: a live table on a terminal, an occasional line elsewhere."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

PLAIN_INTERVAL_SECONDS = 5.0
RATE_SECONDS = 3.0
STYLES = {"live": "green", "full": "green", "silent": "bold red", "degraded": "bold yellow", "at-risk": "bold red"}


@dataclass(slots=True)
class View:
    console: Console
    address: str
    started: float = field(default_factory=time.monotonic)
    _news: list[str] = field(default_factory=list)
    _states: dict[str, str] = field(default_factory=dict)
    _totals: deque[tuple[float, dict[str, int]]] = field(default_factory=deque)
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

    def offer(self, what: str, command: str) -> None:
        """A command that can be copied: printed above what is live, and never broken into lines."""
        self.console.print(f"{what}\n  {command}", highlight=False, markup=False, soft_wrap=True)

    def show(self, answers: dict[str, Any]) -> None:
        """Show the answers of the service's API, by path."""
        rates = self._rates(answers["stats"]["totals"])
        self._tell_changes(answers)
        if self._live is not None:
            self._live.update(Group(*self._panel(answers, rates)), refresh=True)
        elif time.monotonic() >= self._plain_due:
            self._plain_due = time.monotonic() + PLAIN_INTERVAL_SECONDS
            alive = [item["replica"] for item in answers["replicas"] if item["state"] == "live"]
            text = "  ".join(f"{name} {rate:.0f}/s" for name, rate in rates.items())
            self.tell(f"{text}  replicas sending: {', '.join(alive)}")

    def _tell_changes(self, answers: dict[str, Any]) -> None:
        """Report what an operator would see: not that a process was killed, but that a replica fell silent."""
        states = {item["replica"]: item["state"] for item in answers["replicas"]}
        for replica, state in states.items():
            if self._states.get(replica, "live") != state:
                self.tell(f"{replica} is {state}: {_redundancy(answers)}")
        self._states = states

    def _rates(self, totals: dict[str, int]) -> dict[str, float]:
        """Readings per second over RATE_SECONDS: the totals grow once a second, so a shorter time would show steps."""
        now = time.monotonic()
        self._totals.append((now, totals))
        while len(self._totals) > 2 and now - self._totals[1][0] >= RATE_SECONDS:
            self._totals.popleft()
        since, before = self._totals[0]
        names = {"input": "copies", "clean": "clean_readings", "duplicates": "duplicates"}
        seconds = max(now - since, RATE_SECONDS)
        return {name: (totals[total] - before[total]) / seconds for name, total in names.items()}

    def _panel(self, answers: dict[str, Any], rates: dict[str, float]) -> list[Any]:
        flow = Table(title="readings per second", title_justify="left")
        for name in rates:
            flow.add_column(name, justify="right")
        flow.add_row(*(f"{rate:,.0f}" for rate in rates.values()))
        group = answers["groups"][0]
        replicas = Table(title="replicas", title_justify="left")
        for heading in ("replica", "state", "copies", "first", "coverage"):
            replicas.add_column(heading, justify="left" if heading in ("replica", "state") else "right")
        for item in answers["replicas"]:
            figures = item["figures"]["24h"]
            state = Text(item["state"], STYLES.get(item["state"], ""))
            replicas.add_row(
                item["replica"], state, f"{figures['copies']:,}", f"{figures['first']:,}", percent(figures["coverage"])
            )
        title = Text(f"redundancy: {_redundancy(answers)}", STYLES.get(group["state"], ""))
        links = Text(f"dashboard: {self.address}/  API: {self.address}/docs  statistics: {self.address}/v1/stats")
        return [flow, title, replicas, links, *map(Text, self._news)]


def _redundancy(answers: dict[str, Any]) -> str:
    """Counted from the replicas, since the group's own count was asked a moment earlier and may still be the former one."""
    live = sum(item["state"] == "live" for item in answers["replicas"])
    return f"{live} of {answers['groups'][0]['expected_replicas']} replicas are sending"


def percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
