"""What happens to a deployment is written once, whoever looks, and only what the pods can really tell."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog

from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.claims import key_digest
from dedup_service.core.events import Origin, Reading
from dedup_service.core.extract import content_hash
from dedup_service.core.pod_report import Outage, PodReport
from dedup_service.core.rebuild_progress import RebuildProgress
from dedup_service.core.timeline import Entry, ending_of
from dedup_service.observability.fleet import Fleet
from dedup_service.observability.timeline import TimelineKeeper
from dedup_service.ports.pods import StoredTimeline
from tests.doubles.board import MemoryPodBoard
from tests.doubles.memory import MemoryClaims, MemoryClock
from tests.doubles.timeline import MemoryTimelineStore
from tests.support.groups import group_of

SECOND = 1000
GROUP = "presses"


@dataclass
class Deployment:
    """Pods that share a board, with the partitions `0` and `1`; each of them looks at whatever there is."""

    clock: MemoryClock = field(default_factory=MemoryClock)
    store: MemoryTimelineStore = field(default_factory=MemoryTimelineStore)
    reports: dict[str, PodReport] = field(default_factory=dict)
    keepers: dict[str, TimelineKeeper] = field(default_factory=dict)
    counted: bool = True
    sent: int = 0

    def __post_init__(self) -> None:
        self.claims = MemoryClaims(self.clock)
        self.board = MemoryPodBoard(self.clock.now_ms)
        self.groups = [group_of(name=GROUP, expected_replicas=3, silent_after_ms=10 * SECOND)]

    def start(self, pod: str, *partitions: str, at_ms: int | None = None) -> None:
        fleet = Fleet(
            self.claims.ledger, self.board, self.store, self.groups, lambda: ["0", "1"], monotonic=self.clock.monotonic
        )
        self.keepers[pod] = TimelineKeeper(pod, self.store, fleet, self.clock.monotonic)
        started_ms = self.clock.ms if at_ms is None else at_ms
        self.reports[pod] = PodReport("1", started_ms, dict.fromkeys(partitions, (5, self.clock.ms, self.clock.ms)))

    def change(self, pod: str, **report: Any) -> None:
        fields = {name: getattr(self.reports[pod], name) for name in self.reports[pod].__struct_fields__}
        self.reports[pod] = PodReport(**{**fields, **report})

    def kill(self, pod: str) -> None:
        del self.reports[pod], self.board.reports[pod]

    async def send(self, *replicas: str, content: bytes = b"") -> None:
        self.sent += 1
        for name in replicas:
            number = await self.claims.replica_number(GROUP, name)
            reading = Reading(0, "urn:a", str(self.sent), [], content_hash(content + name.encode() * bool(content)))
            key, event = key_digest(GROUP, "urn:a", reading.id), Origin(1, number, self.sent, 0)
            request = ClaimRequest(GROUP, number, event, self.clock.ms, 60_000, 60_000, [reading], [key], frozenset())
            await self.claims.claim([request], (1,))

    async def look(self) -> None:
        for pod, report in self.reports.items():
            await self.board.tell(pod, 1, report, {})
        for pod in self.reports:
            fleet = self.keepers[pod].fleet
            overview = await fleet.overview() if self.counted else None
            await self.keepers[pod].look(overview, min(self.reports))

    async def run(self, seconds: int, *replicas: str) -> None:
        for second in range(seconds):
            await self.send(*replicas)
            if second % 3 == 0:
                await self.look()
            self.clock.ms += SECOND

    @property
    def entries(self) -> list[Entry]:
        timeline = self.store.stored.timeline
        return [] if timeline is None else list(timeline.entries)

    def texts(self, *without: str) -> list[str]:
        return [entry.text for entry in self.entries if entry.kind not in without]


@pytest.fixture
def deployment() -> Deployment:
    made = Deployment()
    made.start("a", "0", "1")
    return made


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


ALL = ("edge-1", "edge-2", "edge-3")


async def test_a_replica_that_dies_and_comes_back_is_one_entry(deployment: Deployment) -> None:
    await deployment.run(30, *ALL)
    died_ms = deployment.clock.ms - SECOND
    await deployment.run(60, "edge-1", "edge-3")
    back_ms = deployment.clock.ms
    await deployment.run(9, *ALL)
    (entry,) = [entry for entry in deployment.entries if entry.kind == "replica-silent"]
    assert entry.text == "edge-2 fell silent (2 of 3 replicas are sending)"
    assert (entry.group, entry.what, entry.began_ms) == (GROUP, "edge-2", died_ms)
    assert entry.ended_ms is not None
    assert back_ms <= entry.ended_ms < back_ms + 6 * SECOND
    assert str(ending_of(entry)).startswith("is back after 1 min")


async def test_a_cold_start_tells_who_is_there(deployment: Deployment) -> None:
    await deployment.look()
    await deployment.run(30, *ALL)
    assert deployment.texts() == ["a joined", *(f"{name} was seen for the first time" for name in ALL)]


async def test_two_pods_that_both_write_make_one_entry(deployment: Deployment) -> None:
    await deployment.run(30, *ALL)
    deployment.start("b")
    both = deployment.keepers
    for _ in range(20):
        await deployment.send("edge-1")
        deployment.clock.ms += SECOND
        for pod, report in deployment.reports.items():
            await deployment.board.tell(pod, 1, report, {})
        overview = await both["a"].fleet.overview()
        for name in ("a", "b"):
            await both[name].look(overview, name)
    silences = [entry.what for entry in deployment.entries if entry.kind == "replica-silent"]
    assert sorted(silences) == ["edge-2", "edge-3"]


async def test_only_one_pod_works_for_the_timeline(deployment: Deployment) -> None:
    deployment.start("b")
    await deployment.run(30, *ALL)
    before = deployment.store.replaced
    await deployment.run(30, *ALL)
    assert deployment.store.replaced == before
    assert deployment.keepers["b"]._known is None


async def test_replicas_are_not_silent_because_the_service_was_away(deployment: Deployment) -> None:
    await deployment.run(30, *ALL)
    deployment.kill("a")
    deployment.clock.ms += 600 * SECOND
    deployment.start("b", "0", "1")
    await deployment.look()
    await deployment.run(9)
    await deployment.run(30, "edge-1", "edge-3")
    silences = [(entry.what, ending_of(entry)) for entry in deployment.entries if entry.kind == "replica-silent"]
    assert silences == [("edge-2", None)]


async def test_replicas_are_not_silent_while_partitions_wait(deployment: Deployment) -> None:
    await deployment.run(30, *ALL)
    now_ms = deployment.clock.ms
    deployment.change("a", stalled={"1": now_ms})
    await deployment.run(60)
    assert "replica-silent" not in [entry.kind for entry in deployment.entries]
    deployment.change("a", partitions={"0": (5, now_ms, now_ms)}, stalled={})
    await deployment.run(60)
    assert "replica-silent" not in [entry.kind for entry in deployment.entries]
    deployment.change("a", partitions=dict.fromkeys(("0", "1"), (5, now_ms, now_ms)))
    await deployment.run(6)
    assert [entry.what for entry in deployment.entries if entry.kind == "replica-silent"] == list(ALL)


async def test_a_silence_goes_on_while_partitions_wait(deployment: Deployment) -> None:
    await deployment.run(30, *ALL)
    await deployment.run(30, "edge-1", "edge-3")
    deployment.change("a", stalled={"1": deployment.clock.ms})
    await deployment.run(30, "edge-1", "edge-3")
    (entry,) = [entry for entry in deployment.entries if entry.kind == "replica-silent"]
    assert entry.ended_ms is None


async def test_a_pod_that_dies_is_told_with_what_became_of_its_partitions(deployment: Deployment) -> None:
    deployment.change("a", partitions={"0": (5, 1, 1)})
    deployment.start("b", "1")
    await deployment.run(12, *ALL)
    deployment.kill("b")
    died_ms = deployment.clock.ms
    deployment.change("a", partitions={"0": (5, 1, 1), "1": (7, 1, 1)})
    await deployment.run(18, *ALL)
    texts = deployment.texts("replica-new", "pod-joined")
    assert texts == ["a took over partition 1 from b", "b was lost: it ended without leaving, or is cut off"]
    assert died_ms <= deployment.entries[-1].began_ms < died_ms + 3 * SECOND


async def test_a_pod_that_leaves_says_so_and_is_not_lost(deployment: Deployment) -> None:
    deployment.start("b")
    await deployment.run(12, *ALL)
    deployment.kill("b")
    await deployment.keepers["b"].leave()
    await deployment.run(30, *ALL)
    assert deployment.texts("replica-new", "pod-joined") == ["b left"]


async def test_pods_that_leave_together_all_say_so(deployment: Deployment) -> None:
    """As when a deployment is scaled down: only one of those that read the same timeline can write the next."""
    for pod in ("b", "c", "d"):
        deployment.start(pod)
    await deployment.run(12, *ALL)
    for pod in ("b", "c", "d"):
        deployment.kill(pod)
    await asyncio.gather(deployment.look(), *(deployment.keepers[pod].leave() for pod in ("b", "c", "d")))
    await deployment.run(30, *ALL)
    assert sorted(deployment.texts("replica-new", "pod-joined")) == ["b left", "c left", "d left"]


async def test_the_last_pod_that_leaves_ends_nothing_that_lasts(deployment: Deployment) -> None:
    await deployment.run(30, *ALL)
    await deployment.run(30, "edge-1", "edge-3")
    deployment.kill("a")
    await deployment.keepers["a"].leave()
    assert [entry.ended_ms for entry in deployment.entries if entry.kind == "replica-silent"] == [None]
    assert deployment.entries[-1].text == "a left"


async def test_a_pod_that_is_away_for_seconds_is_not_lost(deployment: Deployment) -> None:
    """As all are after an outage of Redis."""
    deployment.start("b")
    await deployment.run(12, *ALL)
    report = deployment.reports["b"]
    deployment.kill("b")
    await deployment.run(6, *ALL)
    deployment.reports["b"] = report
    await deployment.run(30, *ALL)
    assert deployment.texts("replica-new", "pod-joined") == []


async def test_what_a_pod_saw_when_it_last_wrote_is_no_absence_now(deployment: Deployment) -> None:
    """Another pod wrote meanwhile, and saw that the absent one was back."""
    del deployment.reports["a"]
    deployment.start("b")
    deployment.start("c")
    await deployment.run(20)
    away = deployment.reports["c"]
    deployment.kill("c")
    await deployment.run(6)
    deployment.reports["c"] = away
    deployment.start("a")
    await deployment.run(30)
    deployment.kill("a")
    deployment.kill("c")
    await deployment.run(6)
    assert "c was lost: it ended without leaving, or is cut off" not in deployment.texts()


async def test_an_outage_lasts_from_the_first_pod_to_the_last(deployment: Deployment) -> None:
    deployment.start("b")
    await deployment.run(12, *ALL)
    began_ms = deployment.clock.ms
    deployment.change("a", outages={"the clean hub": Outage("no answer", began_ms, None)})
    await deployment.run(9, *ALL)
    deployment.change("a", outages={"the clean hub": Outage("no answer", began_ms, began_ms + 8 * SECOND)})
    deployment.change("b", outages={"the clean hub": Outage("no answer", began_ms + 7 * SECOND, None)})
    await deployment.run(9, *ALL)
    deployment.change("b", outages={"the clean hub": Outage("no answer", began_ms + 7 * SECOND, began_ms + 17 * SECOND)})
    await deployment.run(9, *ALL)
    (entry,) = [entry for entry in deployment.entries if entry.kind == "unavailable"]
    assert entry.text == "the clean hub became unavailable to 1 of 2 pods: no answer"
    assert ending_of(entry) == "is available again after 17 s"


async def test_an_outage_of_redis_is_told_afterwards_and_once(deployment: Deployment) -> None:
    await deployment.run(12, *ALL)
    began_ms = deployment.clock.ms
    deployment.clock.ms += 30 * SECOND
    outage = Outage("no answer (ConnectionError)", began_ms, deployment.clock.ms)
    deployment.change("a", outages={"Redis": outage, "the Redis connection": outage})
    await deployment.run(30, *ALL)
    (entry,) = [entry for entry in deployment.entries if entry.kind == "unavailable"]
    assert (entry.what, entry.times, ending_of(entry)) == ("Redis", 1, "is available again after 30 s")


async def test_a_failed_attempt_is_no_outage(deployment: Deployment) -> None:
    deployment.change("a", outages={"the clean hub": Outage("busy", deployment.clock.ms, deployment.clock.ms + 900)})
    await deployment.run(12, *ALL)
    assert "unavailable" not in [entry.kind for entry in deployment.entries]


async def test_that_redis_forgot_survives_that_it_forgot(deployment: Deployment) -> None:
    await deployment.run(30, *ALL)
    forgot_ms = deployment.clock.ms
    deployment.store.stored = StoredTimeline(b"", None)
    deployment.claims.ledger.forgotten_at_ms = forgot_ms
    deployment.change("a", rebuild=RebuildProgress(forgot_ms, 0.4, is_ready=False))
    await deployment.run(6, *ALL)
    deployment.change("a", rebuild=None)
    await deployment.run(6, *ALL)
    assert deployment.texts("replica-new") == [
        "a joined",
        "Redis forgot: it lacked claims, and what was counted before",
        "claims that Redis lacks are read back from the clean stream",
    ]
    assert ending_of(deployment.entries[-1]) == "complete after 6.0 s"


async def test_a_first_start_does_not_look_like_a_redis_that_forgot(deployment: Deployment) -> None:
    deployment.change("a", rebuild=RebuildProgress(deployment.clock.ms, 0.0, is_ready=False))
    await deployment.run(6)
    assert deployment.texts() == ["a joined"]


@pytest.mark.parametrize("counted", [True, False])
async def test_a_silence_goes_on_when_redis_forgets_the_replica_or_a_pod_does_not_see_it_yet(
    deployment: Deployment, counted: bool
) -> None:
    await deployment.run(30, *ALL)
    await deployment.run(30, "edge-1", "edge-3")
    deployment.claims.ledger.seen.clear()
    deployment.claims.numbers.clear()
    deployment.counted = counted
    await deployment.run(12, "edge-1", "edge-3")
    deployment.counted = True
    silences = [(entry.what, ending_of(entry)) for entry in deployment.entries if entry.kind == "replica-silent"]
    assert silences == [("edge-2", None)]
    await deployment.run(6, *ALL)
    (entry,) = [entry for entry in deployment.entries if entry.kind == "replica-silent"]
    assert str(ending_of(entry)).startswith("is back after")


async def test_conflicts_are_one_entry_until_there_were_none_for_long(deployment: Deployment) -> None:
    await deployment.run(12, *ALL)
    for _ in range(10):
        await deployment.send(*ALL, content=b"x")
        await deployment.run(30, *ALL)
    (entry,) = [entry for entry in deployment.entries if entry.kind == "conflicts"]
    assert (entry.ended_ms, entry.group) == (None, GROUP)
    await deployment.run(1000, *ALL)
    (entry,) = [entry for entry in deployment.entries if entry.kind == "conflicts"]
    assert entry.ended_ms is not None


async def test_without_counting_pods_and_outages_are_told_all_the_same(deployment: Deployment) -> None:
    deployment.counted = False
    deployment.change("a", outages={"the clean hub": Outage("no answer", deployment.clock.ms - 5000, None)})
    await deployment.run(12, *ALL)
    assert deployment.texts() == ["a joined", "the clean hub became unavailable: no answer"]


async def test_each_change_is_logged_once(deployment: Deployment, logged: list[Any]) -> None:
    deployment.start("b")
    await deployment.run(30, *ALL)
    await deployment.run(60, "edge-1", "edge-3")
    await deployment.run(30, *ALL)
    silences = [(line["log_level"], line["text"]) for line in logged if line["kind"] == "replica-silent"]
    assert [level for level, _ in silences] == ["warning", "info"]
    assert silences[0][1] == "edge-2 fell silent (2 of 3 replicas are sending)"


async def test_a_replica_that_flaps_makes_no_storm_and_the_last_line_is_right(
    deployment: Deployment, logged: list[Any]
) -> None:
    await deployment.run(30, *ALL)
    for _ in range(20):
        await deployment.run(13, "edge-1", "edge-3")
        await deployment.run(5, *ALL)
    await deployment.run(60, "edge-1", "edge-3")
    first, rest = [entry for entry in deployment.entries if entry.kind == "replica-silent"]
    assert (first.times, rest.times > 10) == (1, True)
    lines = [line for line in logged if line["kind"] == "replica-silent"]
    assert len(lines) <= 4 + (20 * 18 + 60) / 30 + 1
    assert "fell silent" in lines[-1]["text"]
