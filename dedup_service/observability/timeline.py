"""Writes down what happens to the deployment: one pod looks for all, and each thing is written once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dedup_service.core.timeline import GOOD, Entry, Sight, Subject, Timeline, ending_of, observed
from dedup_service.observability.fleet import Fleet
from dedup_service.observability.shared_overview import Overview
from dedup_service.observability.sight import View, sight_of
from dedup_service.ports.pods import StoredTimeline, TimelineStore
from dedup_service.telemetry import LOG_INTERVAL_SECONDS, log

LOST_MS = 10_000
"""How long a pod is absent until it counts as lost: after an outage of Redis, pods are back within some seconds."""


@dataclass(slots=True)
class TimelineKeeper:
    """Raises UnavailableError. What could not be written is written at the next look."""

    pod_id: str
    store: TimelineStore
    fleet: Fleet
    monotonic: Callable[[], float]
    _known: StoredTimeline | None = None
    _absent_since: dict[str, int] = field(default_factory=dict)
    _log: ChangeLog = field(init=False)

    def __post_init__(self) -> None:
        self._log = ChangeLog(self.monotonic)

    async def look(self, overview: Overview | None, first: str | None) -> None:
        """Only the first pod by name looks and writes, which spares the others the work, and Redis their reading of all
        reports; if two do, the store lets one of them."""
        if first != self.pod_id:
            self._known = None
            self._absent_since.clear()
            return
        now_ms = overview.now_ms if overview is not None else await self.fleet.ledger.now_ms()
        stored, timeline = await self._load()
        view = View(now_ms, await self.fleet.pods(), self.fleet.partitions_of(), overview)
        await self._write(stored, timeline, sight_of(view, self._lost(timeline, view)))

    async def leave(self) -> None:
        """This pod leaves in order, and says so itself: who is missing otherwise was lost. There is no next look, so that it
        is tried again for as long as others write first, which they do when many leave together."""
        now_ms, is_told = await self.fleet.ledger.now_ms(), False
        while not is_told:
            stored, timeline = await self._load()
            sight = Sight(max(now_ms, timeline.changed_ms), told=(), left=[self.pod_id])
            is_told = await self._write(stored, timeline, sight)

    async def _load(self) -> tuple[StoredTimeline, Timeline]:
        """What is stored; and where Redis has forgotten it, what this pod knows."""
        before, self._known = self._known, None
        stored = await self.store.load(before)
        if stored.timeline is not None:
            return stored, stored.timeline
        return stored, before.timeline if before is not None and before.timeline is not None else Timeline()

    async def _write(self, stored: StoredTimeline, timeline: Timeline, sight: Sight) -> bool:
        """Whether it is written; False where another pod wrote first."""
        after = observed(timeline, sight)
        is_stored = after is stored.timeline
        self._known = stored if is_stored else await self.store.replace(stored, after)
        if self._known is None:
            return False
        self._log.tell(timeline, after)
        return True

    def _lost(self, timeline: Timeline, view: View) -> dict[str, int]:
        present = {pod.pod for pod in view.pods}
        absent = {pod: self._absent_since.get(pod, view.now_ms) for pod in timeline.pods if pod not in present}
        self._absent_since = absent
        return {pod: since_ms for pod, since_ms in absent.items() if view.now_ms - since_ms >= LOST_MS}


@dataclass(slots=True)
class ChangeLog:
    """Logs each change of the timeline; of what flaps, a line in each interval, the last of which is right."""

    monotonic: Callable[[], float]
    _told: dict[Subject, tuple[Entry, float]] = field(default_factory=dict)
    """The latest entry of each subject as it was last logged, and when."""

    def tell(self, before: Timeline, after: Timeline) -> None:
        now = self.monotonic()
        known = {entry.subject: entry for entry in before.entries}
        for entry in {entry.subject: entry for entry in after.entries}.values():
            told, at = self._told.get(entry.subject, (known.get(entry.subject), float("-inf")))
            if entry == told:
                continue
            if now - at >= LOG_INTERVAL_SECONDS or not _is_again(told, entry):
                self._told[entry.subject] = entry, now
                _log(entry)
        self._told = {entry.subject: self._told[entry.subject] for entry in after.entries if entry.subject in self._told}


def _is_again(told: Entry | None, entry: Entry) -> bool:
    """Whether it has begun again since it was last logged."""
    return told is not None and entry.number == told.number and entry.times > 1


def _log(entry: Entry) -> None:
    ending = ending_of(entry)
    say = log.warning if ending is None and entry.kind not in GOOD else log.info
    more = {"group": entry.group} if entry.group else {}
    say("redundancy_changed", kind=entry.kind, what=entry.what, **more, text=ending or entry.text, times=entry.times)
