"""A call to the disk that does not return: the sender says so, delivers from memory, and goes on when it has returned."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from edge_sender.buffering import store
from edge_sender.buffering.salvage import SpoolFile
from edge_sender.buffering.spool import Spool
from edge_sender.clocks import system_clocks
from edge_sender.observability.telemetry import problems, status
from tests.unit.edge.test_sender import LIMITS, FakeUplink, make, play, sample


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
    fresh = [*range(5, 8)]

    def is_done() -> bool:
        """New readings arrive once the disk is silent, not only slow; it answers again when they were sent."""
        while file.is_silent.is_set() and sender.store.is_failing and fresh and source.intake is not None:
            source.intake.take(sample(fresh.pop()))
        if not file.returns.is_set() and sender.store.is_failing and {*range(5, 8)} <= {*uplink.numbers}:
            said.extend([*problems(sender), status(sender)["spool"]["problem"]])
            file.returns.set()
        return file.returns.is_set() and not sender.store.is_failing and sender.store.readings == 0

    await play(sender, source, 5, is_done)
    assert said
    assert all(store.NO_ANSWER in text for text in said)
    assert {*uplink.numbers} == {*range(8)}
    assert not any(sender.counters.dropped.values())
    assert problems(sender) == []


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
