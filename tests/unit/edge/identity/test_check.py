"""When the identity check opens a second subscription, and when it gives up."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from edge_sender.identity import check as check_module
from edge_sender.identity.check import IdentityCheck
from edge_sender.identity.rules import parse_rules
from edge_sender.ports import Intake, SourceConfigError
from wire.ids import Sample

DEADLINE_SECONDS = 20.0


@dataclass
class FakeSource:
    """Delivers `samples` when it is run, and says whether it is up."""

    up: Callable[[], bool]
    samples: list[Sample] = field(default_factory=list)
    name: str = "press"
    is_running: bool = False

    @property
    def is_up(self) -> bool:
        return self.up()

    async def run(self, intake: Intake) -> None:
        self.is_running = True
        try:
            for sample in self.samples:
                intake.take(sample)
            await asyncio.Event().wait()
        finally:
            self.is_running = False


def ticking(step: float) -> Callable[[], float]:
    """A clock that goes on by `step` seconds whenever it is read."""
    ticks = itertools.count()
    return lambda: next(ticks) * step


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_module, "POLL_SECONDS", 0)


def check_of(source: FakeSource, *probes: FakeSource | Exception) -> tuple[IdentityCheck, list[FakeSource]]:
    made: list[FakeSource] = []
    waiting = list(probes)

    def make_probe() -> FakeSource:
        probe = waiting.pop(0)
        if isinstance(probe, Exception):
            raise probe
        made.append(probe)
        return probe

    rules, seconds = parse_rules("source-time"), 40
    return IdentityCheck(source, make_probe, rules, ticking(0.5), seconds=seconds, every_seconds=0), made


async def run_until(check: IdentityCheck, condition: Callable[[], bool]) -> None:
    running = asyncio.create_task(check.run())
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():
                assert not running.done(), running
                await asyncio.sleep(0)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_without_a_second_subscription_nothing_is_judged_and_the_status_says_why() -> None:
    check, made = check_of(FakeSource(lambda: True), *(FakeSource(lambda: False) for _ in range(3)))
    await run_until(check, lambda: len(made) == 3)
    assert check.verdicts == []
    assert check.unjudged is not None
    assert "no second subscription" in check.unjudged
    assert not any(probe.is_running for probe in made)


async def test_a_second_subscription_that_ends_the_first_is_not_opened_again() -> None:
    """Where a server is short of sessions, it may end the oldest one for a new one."""
    source = FakeSource(lambda: True)
    probe = FakeSource(lambda: True)
    source.up = lambda: not probe.is_running
    check, made = check_of(source, probe)
    await run_until(check, lambda: "short of sessions" in (check.unjudged or "") and not probe.is_running)
    await run_until(check, lambda: True)
    assert made == [probe]


async def test_a_connection_that_is_lost_later_only_restarts_the_comparison() -> None:
    drops = iter([*[True] * 60, False])
    source = FakeSource(lambda: next(drops, True))
    check, made = check_of(source, *(FakeSource(lambda: True) for _ in range(2)))
    await run_until(check, lambda: check.unjudged == "neither subscription delivered anything")
    assert len(made) == 2


@pytest.mark.parametrize("is_up", [True, False])
async def test_a_source_that_reads_another_server_now_is_compared_with_that_one(is_up: bool) -> None:
    """Also where it was away for less than a look. The second subscription has nothing to do with it."""

    class Moving(FakeSource):
        @property
        def place(self) -> str:
            return "opc.tcp://a" if not made or looks < 5 else "opc.tcp://b"

    looks = 0

    def up() -> bool:
        nonlocal looks
        looks += bool(made)
        return is_up or looks != 5

    check, made = check_of(Moving(up), *(FakeSource(lambda: True) for _ in range(2)))
    await run_until(check, lambda: check.unjudged == "neither subscription delivered anything")
    assert len(made) == 2


async def test_a_missing_file_postpones_the_check() -> None:
    check, made = check_of(
        FakeSource(lambda: True), SourceConfigError("the certificate is missing"), FakeSource(lambda: True)
    )
    await run_until(check, lambda: len(made) == 1)
    assert check.unjudged == "the certificate is missing"


async def test_a_second_subscription_that_the_server_ends_is_not_opened_again_at_once() -> None:
    drops = iter([*[True] * 20, *[False] * 1000])
    check, made = check_of(FakeSource(lambda: True), FakeSource(lambda: next(drops)), FakeSource(lambda: True))
    await run_until(check, lambda: check.unjudged == "the server ended the second subscription")
    assert len(made) == 1


async def test_a_defect_of_the_second_subscription_is_told_as_one() -> None:
    class Broken(FakeSource):
        async def run(self, intake: Intake) -> None:
            raise RuntimeError("no such thing")

    check, _ = check_of(FakeSource(lambda: True), Broken(lambda: False), FakeSource(lambda: True))
    await run_until(check, lambda: "no such thing" in (check.unjudged or ""))
