"""What people see of a rebuild, from the moment at which Redis forgot until everything is read back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from structlog.testing import capture_logs

from dedup_service.core.markers import BEGINNING_MS, Memory, ReadBack
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.core.rebuild_progress import RebuildProgress
from dedup_service.errors import UnavailableError
from dedup_service.rebuild.past import ASK_AGAIN_SECONDS, Past
from dedup_service.rebuild.reading_back import ReadingBack
from dedup_service.rebuild.rebuilder import Rebuilder, RebuildOptions
from dedup_service.telemetry import Telemetry
from tests.doubles.markers import MemoryMarkers, MemoryServer
from tests.doubles.memory import MemoryClaims, MemoryClock, MemoryPublisher
from tests.support.groups import group_of
from tests.support.rebuilds import reader_of
from tests.support.shared import CHECKPOINTS

LEASE_SECONDS = 5.0
WINDOW_MS = 3_600_000
HORIZON_MS = 120_000
PARTITIONS = ["0", "1"]
EVENT = OutgoingEvent(b"{}", None, None, None, None, {}, 0)


class Deployment:
    """One pod, and a clean hub that has two events a minute, in the last hour, in each partition."""

    def __init__(self) -> None:
        self.clock, self.telemetry, self.memory = MemoryClock(), Telemetry(), Memory(PARTITIONS)
        claims = MemoryClaims(self.clock)
        self.server = MemoryServer(self.clock, claims)
        self.hub = MemoryPublisher({partition: [] for partition in PARTITIONS}, self.clock)
        now_ms = self.clock.now_ms()
        for partition in PARTITIONS:
            self.hub.partitions[partition] = [EVENT] * 120
            self.hub.times[partition] = [now_ms - WINDOW_MS + 30_000 * n for n in range(120)]
        self.markers = MemoryMarkers(self.server)
        reading_back = ReadingBack(self.hub, claims, self.markers, reader_of(group_of()), self.clock, self.telemetry)
        options = RebuildOptions(LEASE_SECONDS, WINDOW_MS, lambda: HORIZON_MS, lambda: 0)
        self.worked: Any = True
        past = Past(self.has_worked, self.hub, PARTITIONS, self.clock, self.telemetry)
        self.rebuilder = Rebuilder("pod", self.memory, self.markers, reading_back, self.clock, self.telemetry, options, past)

    async def has_worked(self) -> bool:
        if isinstance(self.worked, Exception):
            raise self.worked
        return bool(self.worked)

    async def rounds(self, at_most: int = 1000) -> list[RebuildProgress | None]:
        """What was shown after each round, until nothing is."""
        shown = []
        for _ in range(at_most):
            await self.rebuilder.round()
            await self.clock.sleep(0.25)
            shown.append(self.telemetry.rebuild)
            if self.telemetry.rebuild is None:
                return shown
        raise AssertionError(f"still rebuilding: {shown[-1]}")


def shares(shown: Sequence[RebuildProgress | None]) -> list[float]:
    return [progress.share for progress in shown if progress is not None]


async def test_the_share_rises_to_all_and_then_nothing_is_shown() -> None:
    deployment = Deployment()
    forgot_ms = deployment.clock.now_ms()
    shown = await deployment.rounds()
    assert shown[-1] is None
    assert shares(shown) == sorted(shares(shown))
    assert len(set(shares(shown))) > 5
    assert {progress.forgot_ms for progress in shown if progress is not None} == {forgot_ms}


async def test_nothing_is_left_to_tell_before_the_fence_is_over() -> None:
    """The seconds of waiting for old leases say nothing about how fast the clean stream is read."""
    deployment = Deployment()
    shown = [progress for progress in await deployment.rounds() if progress is not None]
    waiting = [progress for progress in shown if progress.share == 0]
    assert len(waiting) >= LEASE_SECONDS / 0.25
    assert {(progress.is_ready, progress.seconds_left) for progress in waiting} == {(False, None)}
    reading = [progress for progress in shown if progress.share > 0]
    assert reading[0].is_ready
    assert all(progress.seconds_left is not None and progress.seconds_left < 120 for progress in reading[1:])


async def test_the_log_says_when_live_data_goes_on_and_when_everything_is_remembered() -> None:
    deployment = Deployment()
    with capture_logs() as lines:
        await deployment.rounds()
    events = [line["event"] for line in lines]
    assert events == ["redis_forgot", "claims_ready", "claims_rebuilt"]


async def test_a_long_rebuild_is_logged_every_ten_seconds() -> None:
    deployment = Deployment()
    with capture_logs() as lines:
        for _ in range(8):
            await deployment.rebuilder.round()
            await deployment.clock.sleep(4.0)
    progress = [line for line in lines if line["event"] == "rebuilding_claims"]
    assert [line["seconds"] for line in progress] == [12.0, 24.0]
    assert set(progress[0]) == {"event", "log_level", "percent", "seconds", "seconds_left"}


async def test_a_redis_that_forgets_again_meanwhile_begins_anew() -> None:
    deployment = Deployment()
    while deployment.telemetry.rebuild is None or deployment.telemetry.rebuild.share < 0.2:
        await deployment.rebuilder.round()
        await deployment.clock.sleep(0.25)
    deployment.server.marker, again_ms = None, deployment.clock.now_ms()
    deployment.markers.generations.forgot(0, deployment.markers.generations.known(0))
    shown = await deployment.rounds()
    assert shown[0] == RebuildProgress(again_ms, 0.0, is_ready=False)
    assert shares(shown) == sorted(shares(shown))


async def test_the_end_is_shown_although_something_failed_when_it_was_seen() -> None:
    deployment = Deployment()
    await deployment.rebuilder.round()
    stored = deployment.server.marker
    assert stored is not None
    assert deployment.telemetry.rebuild is not None
    stored.generation, stored.is_ready = stored.generation + 1, True  # by another pod, which has also read everything back
    stored.read_back = {partition: ReadBack(BEGINNING_MS, 0) for partition in PARTITIONS}
    deployment.worked = UnavailableError(CHECKPOINTS, "away")
    await deployment.rebuilder.round()
    assert deployment.memory.is_whole
    deployment.worked = True
    await deployment.rebuilder.round()
    assert deployment.telemetry.rebuild is None


async def told(deployment: Deployment) -> list[str]:
    with capture_logs() as lines:
        await deployment.rounds()
    return [line["event"] for line in lines if line["event"] == "redis_forgot"]


async def test_a_deployment_that_only_observed_until_now_has_published_nothing_that_could_be_forgotten() -> None:
    deployment = Deployment()
    for partition in PARTITIONS:
        deployment.hub.partitions[partition].clear()
        deployment.hub.times[partition].clear()
    assert await told(deployment) == []


async def test_what_was_forgotten_is_told_once_the_checkpoint_store_answers() -> None:
    deployment = Deployment()
    deployment.worked = UnavailableError(CHECKPOINTS, "away")
    assert await told(deployment) == []
    deployment.worked = True
    await deployment.clock.sleep(ASK_AGAIN_SECONDS)
    assert await told(deployment) == ["redis_forgot"]


async def test_a_first_start_forgets_nothing_even_when_the_checkpoint_store_answers_late() -> None:
    deployment = Deployment()
    deployment.worked = UnavailableError(CHECKPOINTS, "away")
    assert await told(deployment) == []
    deployment.worked = False
    await deployment.clock.sleep(ASK_AGAIN_SECONDS)
    assert await told(deployment) == []
