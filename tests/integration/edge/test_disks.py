"""A real sender on a real file system of a few MB: full, read-only, damaged, and well again."""

from __future__ import annotations

import asyncio
import sqlite3
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.hub.stand_in import StandIn
from sandbox.peers.links import Link
from tests.support import hub
from tests.support.senders import SenderProcess, document, readings_of, until
from tests.support.small_disks import SmallDisk, small_disk

DISK_MB = 4
PAGE_BYTES, LEAF = 4096, 13
SYNTHETIC = {"name": "load", "kind": "synthetic", "identity": "sequence", "count": 5, "interval_seconds": 0.05}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path, DISK_MB) as mounted:
        yield mounted


@pytest.fixture
async def link(stand_in: StandIn) -> AsyncIterator[Link]:
    link = await Link("127.0.0.1", stand_in.amqp_port).start()
    yield link
    await link.stop()


def sender_on(disk: Path, folder: Path, stand_in: StandIn, link: Link) -> SenderProcess:
    through = stand_in.connection_string("telemetry").replace(f":{stand_in.amqp_port}/", f":{link.port}/")
    sender = SenderProcess(
        folder,
        "edge-1",
        through,
        document(SYNTHETIC),
        EDGE_FLUSH_SECONDS="1",
        EDGE_SPOOL_PATH=str(disk / "spool.db"),
    )
    sender.spool = disk / "spool.db"
    return sender


def told(sender: SenderProcess, *path: str) -> Any:
    """A member of the status; None while it does not answer."""
    found: Any = sender.status()
    for name in path:
        found = found[name] if found else None
    return found


async def number(sender: SenderProcess, *path: str) -> int:
    """A number of the status, from a sender that may be slow to answer."""
    await until(lambda: told(sender, *path) is not None, "no status")
    return int(told(sender, *path) or 0)


def metrics(sender: SenderProcess) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{sender.port}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


async def arrived(stand_in: StandIn) -> dict[str, list[int]]:
    """Sequences in the hub, by source."""
    found: dict[str, list[int]] = {}
    for event in await hub.read_all(stand_in.connection_string("telemetry")):
        for source, _, data in readings_of(event):
            found.setdefault(source, []).append(data["sequence"])
    return found


def assert_no_gap(sequences: dict[str, list[int]]) -> None:
    assert len(sequences) == SYNTHETIC["count"]
    for numbers in sequences.values():
        assert set(numbers) == set(range(min(numbers), max(numbers) + 1))


async def stopped(sender: SenderProcess) -> None:
    sender.process.terminate()
    assert await asyncio.to_thread(sender.process.wait, 30) == 0, sender.log_tail()


async def test_a_disk_that_is_full_at_the_start_and_one_that_fills_up_lose_nothing(
    disk: SmallDisk, link: Link, stand_in: StandIn, tmp_path: Path
) -> None:
    disk.fill()
    sender = sender_on(disk.path, tmp_path, stand_in, link)
    try:
        await until(lambda: (told(sender, "sent", "readings") or 0) > 100, sender.log_tail())
        assert "full" in told(sender, "spool", "problem")
        assert any("full" in problem for problem in told(sender, "problems"))
        disk.empty()
        await until(lambda: told(sender, "spool", "problem") is None, sender.log_tail())
        link.cut()
        await until(lambda: (told(sender, "spool", "bytes") or 0) > 50_000, sender.log_tail())
        disk.fill()
        await until(lambda: told(sender, "spool", "problem") is not None, sender.log_tail())
        link.mend()
        sent = await number(sender, "sent", "readings")
        await until(lambda: (told(sender, "sent", "readings") or 0) > sent + 200, sender.log_tail())
        disk.empty()
        await until(lambda: told(sender, "spool", "problem") is None, sender.log_tail())
        await until(lambda: (told(sender, "spool", "bytes") or 0) < 20_000, "what the hub has is not removed")
        assert not any(told(sender, "dropped").values())
        await stopped(sender)
    finally:
        sender.kill()
    assert_no_gap(await arrived(stand_in))


async def test_a_disk_that_is_read_only_at_the_start_does_not_end_the_sender(
    disk: SmallDisk, link: Link, stand_in: StandIn, tmp_path: Path
) -> None:
    link.cut()
    sender = sender_on(disk.path, tmp_path, stand_in, link)
    try:
        await until(lambda: (told(sender, "spool", "bytes") or 0) > 50_000, sender.log_tail())
        waiting = await number(sender, "spool", "readings")
        sender.kill()
        disk.remount("ro")
        link.mend()
        sender.start()
        await until(lambda: (told(sender, "sent", "readings") or 0) > 100, sender.log_tail())
        assert told(sender, "spool", "problem") is not None
        disk.remount("rw")
        await until(lambda: told(sender, "spool", "problem") is None, sender.log_tail())
        await until(lambda: (told(sender, "sent", "readings") or 0) > waiting + 100, "the backlog is not sent")
        await until(lambda: (told(sender, "spool", "oldest_seconds") or 0) < 2, sender.log_tail())
        assert not any(told(sender, "dropped").values())
        await stopped(sender)
    finally:
        sender.kill()
    sequences = await arrived(stand_in)
    assert sum(map(len, sequences.values())) >= waiting


async def test_a_damaged_page_costs_what_is_on_it_and_metrics_count_that(
    tmp_path: Path, link: Link, stand_in: StandIn
) -> None:
    link.cut()
    sender = sender_on(tmp_path, tmp_path, stand_in, link)
    try:
        await until(lambda: (told(sender, "spool", "bytes") or 0) > 250_000, sender.log_tail())
        await stopped(sender)
        with sqlite3.connect(sender.spool) as db:
            (waiting,) = db.execute("SELECT COUNT(*) FROM readings").fetchone()
        db.close()
        spoil_a_leaf(sender.spool)
        link.mend()
        sender.start()
        await until(lambda: (told(sender, "dropped", "damaged") or 0) > 0, sender.log_tail())
        await until(lambda: (told(sender, "spool", "oldest_seconds") or 0) < 2, sender.log_tail())
        damaged = await number(sender, "dropped", "damaged")
        assert f'edge_readings_dropped_total{{reason="damaged"}} {float(damaged)}' in await asyncio.to_thread(
            metrics, sender
        )
        await stopped(sender)
    finally:
        sender.kill()
    assert sender.spool.with_name("spool.db.damaged").exists()
    sequences = await arrived(stand_in)
    assert len(sequences) == SYNTHETIC["count"]
    assert sum(len(set(numbers)) for numbers in sequences.values()) >= waiting - damaged
    assert 0 < damaged < 100


def spoil_a_leaf(path: Path) -> None:
    """One that holds readings."""
    content = bytearray(path.read_bytes())
    pages = {at: content[at : at + PAGE_BYTES] for at in range(0, len(content), PAGE_BYTES)}
    leaves = [at for at, page in pages.items() if at and page[0] == LEAF and b"specversion" in page]
    at = leaves[len(leaves) // 2]
    content[at : at + PAGE_BYTES] = b"\xff" * PAGE_BYTES
    path.write_bytes(content)
