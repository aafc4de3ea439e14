"""A call to the disk that does not return: the sender says so, delivers from memory, and goes on when it has returned."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from edge_sender.buffering import store
from edge_sender.buffering.disk import Disk
from edge_sender.buffering.salvage import SpoolFile
from edge_sender.buffering.spool import ReadRows, Spool
from edge_sender.clocks import system_clocks
from edge_sender.observability.telemetry import problems, status
from tests.unit.edge.test_sender import LIMITS, FakeSource, FakeUplink, make, play, sample


@dataclass(frozen=True)
class SilentFile(SpoolFile):
    """Its spool does not come back from a call of this name, from the second one on, until `returns`."""

    name: str = ""
    calls: Iterator[int] = field(default_factory=count)
    is_silent: threading.Event = field(default_factory=threading.Event)
    returns: threading.Event = field(default_factory=threading.Event)

    def open(self) -> Spool:
        spool = super().open()
        call = getattr(spool, self.name)

        def waiting(*given: Any, **named: Any) -> Any:
            if next(self.calls):
                self.is_silent.set()
                assert self.returns.wait(60)
            return call(*given, **named)

        setattr(spool, self.name, waiting)
        return spool


@pytest.mark.parametrize("name", ["commit", "read"])
async def test_readings_go_on_from_memory_and_none_is_lost(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(store, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(store, "RETRY_SECONDS", 0.01)
    uplink = FakeUplink()
    uplink.gate.set()
    file = SilentFile(tmp_path / "spool.db", LIMITS, system_clocks(), name)
    sender, source = make(uplink, spool=file)
    said: list[str] = []
    numbers = count(5)
    fresh: list[int] = []

    def take(source: FakeSource) -> int:
        assert source.intake is not None
        source.intake.take(sample(number := next(numbers)))
        return number

    def is_done() -> bool:
        """New readings arrive until the disk is silent, which a busy one may seem to be before, and three then. It answers
        again when those were sent."""
        if not file.is_silent.is_set() and sender.store.readings == 0:
            take(source)
        if file.is_silent.is_set() and sender.store.is_failing and not fresh:
            fresh.extend(take(source) for _ in range(3))
        if not file.returns.is_set() and sender.store.is_failing and fresh and {*fresh} <= {*uplink.numbers}:
            said.extend([*problems(sender), status(sender)["spool"]["problem"]])
            monkeypatch.setattr(store, "ANSWER_SECONDS", 60)  # from now on, slowness is no silence
            file.returns.set()
        return file.returns.is_set() and not sender.store.is_failing and sender.store.readings == 0

    await play(sender, source, 5, is_done)
    assert said
    assert all(store.NO_ANSWER in text for text in said)
    assert {*uplink.numbers} == {*range(next(numbers))}
    assert not any(sender.counters.dropped.values())
    assert problems(sender) == []


async def test_a_disk_that_always_answers_late_delivers_what_it_holds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What it reads is taken when it comes, not asked for again."""
    first, source = make(FakeUplink(), spool=(file := SpoolFile(tmp_path / "spool.db", LIMITS, system_clocks())))
    await play(first, source, 5, lambda: first.store.readings == 5 and not first.store.is_failing)
    monkeypatch.setattr(store, "ANSWER_SECONDS", 0.02)
    monkeypatch.setattr(store, "RETRY_SECONDS", 0.01)
    read = Disk.read

    def slowly(disk: Disk, after: int, limit: int) -> ReadRows:
        time.sleep(0.1)
        return read(disk, after, limit)

    monkeypatch.setattr(Disk, "read", slowly)
    uplink = FakeUplink()
    uplink.gate.set()
    second, source = make(uplink, spool=file)
    await play(second, source, 0, lambda: {*uplink.numbers} == {*range(5)})


async def test_rows_that_were_read_twice_are_handed_out_once(tmp_path: Path) -> None:
    """The second read may begin when the first one has come late, and was not yet taken."""
    sender, source = make(FakeUplink(), spool=SpoolFile(tmp_path / "spool.db", LIMITS, system_clocks()))
    await play(sender, source, 5, lambda: sender.store.readings == 5)
    with closing(SpoolFile(tmp_path / "spool.db", LIMITS, system_clocks()).open()) as spool:
        found = spool.read(0, 10)
    other, _ = make(FakeUplink(), spool=SpoolFile(tmp_path / "other.db", LIMITS, system_clocks()))
    for _ in range(2):
        other.store._read_late(0, found)
    assert len(other.store._ahead) == len(found.readings) == 5


async def test_it_stops_although_the_disk_stays_silent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "ANSWER_SECONDS", 0.05)
    uplink = FakeUplink()
    uplink.gate.set()
    file = SilentFile(None, LIMITS, system_clocks(), "commit")
    sender, source = make(uplink, spool=file)
    try:
        await play(sender, source, 3, lambda: {*uplink.numbers} == {*range(3)})
        assert "still does not answer" in caplog.text
    finally:
        file.returns.set()
