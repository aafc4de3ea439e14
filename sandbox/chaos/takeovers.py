"""How long partitions were without a service after a kill, according to the services' logs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import quantiles
from typing import Any


@dataclass(frozen=True, slots=True)
class Kill:
    service: str
    at: float
    """Seconds since the epoch."""


def takeover_seconds(logs: dict[str, Path], kills: Iterable[Kill]) -> list[float]:
    """Seconds until any service took a partition, for each partition that a killed service held."""
    taken: list[tuple[float, str, str]] = []
    left: list[tuple[float, str, str]] = []
    for service, log in logs.items():
        for item in _events(log):
            place = {"partition_taken": taken, "partition_left": left}.get(item["event"])
            if place is not None:
                place.append((datetime.fromisoformat(item["timestamp"]).timestamp(), service, item["partition"]))
    taken.sort()
    return [gap for kill in kills for gap in _gaps(kill, taken, left)]


def _gaps(kill: Kill, taken: list[tuple[float, str, str]], left: list[tuple[float, str, str]]) -> list[float]:
    gaps: list[float] = []
    for partition in {partition for _, _, partition in taken}:
        before = [(at, service) for at, service, p in taken if p == partition and at <= kill.at]
        if not before or before[-1][1] != kill.service:
            continue
        if any(p == partition and s == kill.service and before[-1][0] <= at <= kill.at for at, s, p in left):
            continue
        after = [at for at, _, p in taken if p == partition and at > kill.at]
        if after:
            gaps.append(after[0] - kill.at)
    return gaps


def _events(log: Path) -> Iterable[dict[str, Any]]:
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{"):
            item: dict[str, Any] = json.loads(line)
            yield item


def summary(gaps: list[float]) -> dict[str, float | int]:
    if not gaps:
        return {"takeovers": 0, "takeover_p50_seconds": 0.0, "takeover_max_seconds": 0.0}
    middle = quantiles(gaps, n=2)[0] if len(gaps) > 1 else gaps[0]
    return {
        "takeovers": len(gaps),
        "takeover_p50_seconds": round(middle, 1),
        "takeover_max_seconds": round(max(gaps), 1),
    }
