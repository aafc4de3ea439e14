"""Reports this pod to the others, and looks at the whole deployment for the metrics and the timeline."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from dedup_service import __version__
from dedup_service.core.pod_report import Outage, PodReport
from dedup_service.errors import UnavailableError
from dedup_service.observability.fleet import Fleet
from dedup_service.observability.roll_call import bounds_after
from dedup_service.observability.shared_overview import Overview
from dedup_service.observability.timeline import TimelineKeeper
from dedup_service.ports.pods import PodBoard
from dedup_service.telemetry import Telemetry, wall_clock_ms

INTERVAL_SECONDS = 1.0
OVERVIEW_EVERY = 3
"""Number of intervals between two overviews of the whole deployment."""
MAX_EXAMPLES = 20
"""How many of a kind go into each report: they are examples, not a log."""
STALE_SECONDS = 15.0
LEAVING_SECONDS = 5.0
OUTAGE_TOLD_MS = 60_000
"""How long a report names an outage after its end."""

Counters = tuple[Counter[str], Counter[str], Counter[str]]
"""Totals by counter and label, what was recognised, and what was finished."""


@dataclass(slots=True)
class Status:
    pod_id: str
    board: PodBoard
    fleet: Fleet
    telemetry: Telemetry
    timeline: TimelineKeeper
    monotonic: Callable[[], float] = time.monotonic
    _overview: Overview | None = None
    _seen_at: float = 0.0
    _number: int = 0
    _told: Counters = field(default_factory=lambda: (Counter(), Counter(), Counter()))
    """As the board knows them."""
    _pending: tuple[Counters, Counters] | None = None
    """Increments, and the counters with them."""
    spread_ms: float = 0.0
    """The longest copy spread of any group, as it was last known: Redis may have forgotten it."""

    @property
    def overview(self) -> Overview | None:
        """None when this pod has no recent overview: an old one would hide from the alerts what others see now."""
        return self._overview if self.monotonic() - self._seen_at < STALE_SECONDS else None

    async def run(self) -> None:
        """Runs until cancelled. What could not be reported is reported later."""
        turn = 0
        while True:
            try:
                await self.tell()
                if turn % OVERVIEW_EVERY == 0:
                    await self.look()
                turn += 1
            except UnavailableError as error:  # the work itself notices and logs it, too
                self.telemetry.failed(error.dependency)
            except Exception as error:  # noqa: BLE001  # a defect here must not take the pod off the board for good
                self.telemetry.worker_failed("status", error)
            await asyncio.sleep(INTERVAL_SECONDS)

    async def look(self) -> None:
        """At all pods and, where anything is counted, at all groups."""
        roll_call = await self.fleet.roll_call()
        self.telemetry.elsewhere = bounds_after(self.telemetry.elsewhere, roll_call)
        overview = await self._overview_of_all()
        if self.fleet.groups:  # a pod that still waits for what it needs has joined nothing
            await self.timeline.look(overview, roll_call.first)

    async def _overview_of_all(self) -> Overview | None:
        if not (self.fleet.groups and self.fleet.is_counting):
            return None
        overview = await self.fleet.overview()
        self._overview, self._seen_at = overview, self.monotonic()
        spreads = [group.figures["24h"].spread_p999_ms for group in overview.groups]
        self.spread_ms = max((spread for spread in spreads if spread is not None), default=self.spread_ms)
        return overview

    async def tell(self) -> None:
        """Reports counters as increments. A report whose reply was lost is repeated unchanged, and then counts once."""
        if self._pending is None:
            counters, told = self._counters(), self._told
            self._pending = (counters[0] - told[0], counters[1] - told[1], counters[2] - told[2]), counters
            self._number += 1
        increments, counters = self._pending
        await self.board.tell(self.pod_id, self._number, self._report(), *increments)
        self._told, self._pending = counters, None
        for kind, examples in self.telemetry.take_examples(MAX_EXAMPLES).items():
            await self.board.add_examples(kind, examples)

    async def leave(self) -> None:
        """Also where its last figures do not get through. Redis may be silent, and is not waited for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVING_SECONDS):
                await self._try(self.tell, times=1)
                await self._try(partial(self.board.leave, self.pod_id), times=2)
                await self._try(self.timeline.leave, times=2)

    async def _try(self, step: Callable[[], Awaitable[None]], times: int) -> None:
        for _ in range(times):
            try:
                await step()
            except UnavailableError as error:
                self.telemetry.failed(error.dependency)
            else:
                return

    def _counters(self) -> Counters:
        counts = self.telemetry.counts
        totals = Counter({f"{c.name}|{label}": n for c, labels in counts.items() for label, n in labels.items()})
        return totals, self.telemetry.recognised.copy(), self.telemetry.flow.copy()

    def _report(self) -> PodReport:
        telemetry, partitions = self.telemetry, self.telemetry.partitions
        return PodReport(
            version=__version__,
            started_ms=telemetry.started_ms,
            partitions={
                name: (figures.sequence_number, figures.enqueued_ms, figures.last_enqueued_ms)
                for name, figures in partitions.items()
            },
            paused={str(dependency): pause.problem for dependency, pause in telemetry.paused.items()},
            oldest={name: figures.oldest_ms for name, figures in partitions.items()},
            stalled={name: figures.stalled_since_ms for name, figures in partitions.items() if figures.stalled_since_ms},
            outages=_outages(telemetry),
            rebuild=telemetry.rebuild,
            modes={group.name: group.mode for group in self.fleet.groups},
        )


def _outages(telemetry: Telemetry) -> dict[str, Outage]:
    """Those that last, and those that ended lately."""
    since_ms = wall_clock_ms() - OUTAGE_TOLD_MS
    found = {name: outage for name, outage in telemetry.outages.items() if (outage.ended_ms or 0) >= since_ms}
    for dependency, pause in telemetry.paused.items():
        known = found.get(str(dependency))
        lasts_since_ms = known.began_ms if known is not None and known.ended_ms is None else pause.since_ms
        found[str(dependency)] = Outage(pause.problem, min(lasts_since_ms, pause.since_ms), None)
    return found
