"""What is known of counters is committed with their readings, so that a restart of the edge changes nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from edge_sender.buffering.inbox import Inbox, IntakeOptions, SourceIntake
from edge_sender.buffering.salvage import SpoolFile
from edge_sender.buffering.spool import Spool
from edge_sender.buffering.spool_values import DamagedSpoolError, SpoolError, SpoolLimits
from edge_sender.buffering.store import Store
from edge_sender.clocks import system_clocks
from edge_sender.config.sources import check_sources
from edge_sender.counters import Counters
from wire.ids import NS_PER_SECOND, Count, Sample

LIMITS = SpoolLimits(10**9, 3600.0, "drop-oldest")
START = 1_769_997_600
"""Begins an hour."""
RULES = (
    check_sources(
        {
            "sources": [
                {
                    "name": "plc",
                    "kind": "synthetic",
                    "identity": "sequence",
                    "sequence": {"counter": "/n", "restarts": "new-epoch"},
                }
            ]
        }
    )
    .sources[0]
    .rules
)


def spool_at(path: Path | None) -> Spool:
    return Spool(path, LIMITS, system_clocks())


class Edge:
    """One life of the sender, as far as readings go before they are sent."""

    def __init__(self, path: Path, *, is_sending: bool = True) -> None:
        self.counters = Counters()
        self.inbox = Inbox(IntakeOptions(1000, "drop-oldest", 0.0), self.counters, lambda: 0.0, lambda _: is_sending)
        self.store = Store(SpoolFile(path, LIMITS, system_clocks()), self.inbox, self.counters, 0.0)
        self._intake = SourceIntake(self.inbox, "plc", RULES, "t")

    def take(self, number: int, minute: float, source: str = "urn:a") -> str:
        """Its epoch."""
        self._intake.take(Sample(source, round((START + 60 * minute) * NS_PER_SECOND), {"n": number}))
        return self.inbox.pending[-1].attributes.get("sequenceepoch", "") if self.inbox.pending else ""


async def begun(path: Path, *, is_sending: bool = True) -> Edge:
    edge = Edge(path, is_sending=is_sending)
    await edge.store.open()
    return edge


def spool_of(edge: Edge) -> Spool:
    assert edge.store._disk.spool
    return edge.store._disk.spool


async def test_a_restart_of_the_counter_while_the_edge_was_down_is_noticed(tmp_path: Path) -> None:
    edge = await begun(tmp_path / "s.db")
    assert [edge.take(5, 1), edge.take(6, 2)] == ["", ""]
    await edge.store.close()
    edge = await begun(tmp_path / "s.db")
    assert [edge.take(0, 31), edge.take(7, 3)] == ["@2026-02-02T02:30:00.000000Z", ""]
    await edge.store.close()
    edge = await begun(tmp_path / "s.db")
    assert edge.take(1, 32) == "@2026-02-02T02:30:00.000000Z"
    assert edge.counters.restarts["plc"].counts.total() == 0
    await edge.store.close()


async def test_what_was_not_committed_is_as_if_it_had_not_been_read(tmp_path: Path) -> None:
    """The readings come again, and are the same."""
    edge = await begun(tmp_path / "s.db")
    edge.take(5, 1)
    await edge.store.commit()
    epoch = edge.take(0, 12)
    spool_of(edge).close()  # SIGKILL
    again = await begun(tmp_path / "s.db")
    assert again.take(0, 12) == epoch != ""
    await again.store.close()


async def test_a_passive_replica_remembers_too(tmp_path: Path) -> None:
    edge = await begun(tmp_path / "s.db", is_sending=False)
    edge.take(5, 1)
    running = asyncio.create_task(edge.store.run())
    async with asyncio.timeout(60):
        while edge.inbox.runs.changed or not edge.counters.commits:
            await asyncio.sleep(0)
    running.cancel()
    await edge.store.close()
    edge = await begun(tmp_path / "s.db")
    assert edge.take(0, 12) != ""
    await edge.store.close()


async def test_what_the_disk_refused_is_committed_later(tmp_path: Path) -> None:
    edge = await begun(tmp_path / "s.db")
    edge.take(5, 1)
    spool_of(edge)._db.execute("CREATE TEMP TRIGGER full BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'disk'); END")
    assert not await edge.store.commit()
    spool_of(edge)._db.execute("DROP TRIGGER full")
    await edge.store.close()
    edge = await begun(tmp_path / "s.db")
    assert edge.take(0, 12) != ""
    await edge.store.close()


async def test_restarts_are_counted_logged_once_for_each_source_and_listed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edge = await begun(tmp_path / "s.db")
    for minute in range(4):
        for source in range(20):
            edge.take(9 - minute, minute, f"urn:{source}")
    tally = edge.counters.restarts["plc"]
    assert dict(tally.counts) == {"restarted": 60}
    assert len(tally.listed) == 20
    assert tally.listed["urn:3"] == "its counter went back to 6; its epoch is now @2026-02-02T02:03:00.000000Z"
    lines = [record.getMessage() for record in caplog.records if "counter" in record.getMessage()]
    assert len(lines) == 11
    await edge.store.close()


def records(runs_of: int, number: int) -> bytes:
    runs = spool_at(None).runs()
    for source in range(runs_of):
        runs.observe(f"urn:{source}", Count("", number), number + 1, opens_epochs=False)
    return runs.records()


def test_the_log_of_counters_stays_small(tmp_path: Path) -> None:
    spool = spool_at(tmp_path / "s.db")
    for number in range(300):
        spool.commit(runs=records(100, number))
    (size,) = spool._db.execute("SELECT SUM(LENGTH(records)) FROM runs").fetchone()
    assert len(records(100, 0)) <= size <= 80_000
    assert spool.runs().records() == records(100, 299)
    spool.close()


def test_a_commit_that_fails_remembers_no_counter() -> None:
    spool = spool_at(None)
    spool._db.execute("CREATE TRIGGER full BEFORE INSERT ON positions BEGIN SELECT RAISE(ABORT, 'disk'); END")
    size = spool._runs.size
    with pytest.raises(SpoolError):
        spool.commit(runs=records(1, 5), positions={"a": "1"})
    assert (spool.runs().records(), spool._runs.size) == (b"", size)


def test_a_damaged_log_of_counters_is_a_damaged_spool(tmp_path: Path) -> None:
    spool_at(tmp_path / "s.db").close()
    with sqlite3.connect(tmp_path / "s.db") as db:
        db.execute("INSERT INTO runs (records) VALUES (?)", (records(1, 5)[:-1],))
    db.close()
    with pytest.raises(DamagedSpoolError, match="cut off"):
        spool_at(tmp_path / "s.db")
