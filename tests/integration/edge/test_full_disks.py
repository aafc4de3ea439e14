"""A disk without a free byte: what the hub has can be removed all the same, and nothing is lost, on real file systems."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_sender.buffering.disk import Batch, Disk
from edge_sender.buffering.reserve import RESERVE_BYTES
from edge_sender.buffering.salvage import SpoolFile
from edge_sender.buffering.spool_values import Rows, SpoolError, SpoolLimits
from edge_sender.clocks import system_clocks
from edge_sender.identity.readings import Reading
from sandbox.hub.stand_in import StandIn
from sandbox.peers.links import Link
from tests.integration.edge import test_disks as disks
from tests.integration.edge.test_disks import arrived, assert_no_gap, sender_on, stopped, told
from tests.support.senders import until
from tests.support.small_disks import SmallDisk, small_disk

link = disks.link
DISK_MB = 16
LIMITS = SpoolLimits(1_000_000_000, 1e6, "drop-oldest")
NUMBER_BYTES = 8


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path, DISK_MB) as mounted:
        yield mounted


class Gateway:
    """Puts readings of `size` bytes into a spool, `at_once` in each commit, and remembers which the disk has accepted."""

    def __init__(self, folder: Path, at_once: int, size: int) -> None:
        self._folder, self._at_once, self._size = folder, at_once, size
        self.disk = self._opened()
        self._next = 0
        self.waiting: set[int] = set()
        self.is_full = False

    def _opened(self) -> Disk:
        return Disk(SpoolFile(self._folder / "s.db", LIMITS, system_clocks()))

    @property
    def reserve(self) -> str:
        return self.disk.reserve.state

    def restart(self) -> None:
        self.disk.close()
        self.disk = self._opened()

    def commit(self, count: int, removed: dict[int, int] | None = None) -> bool:
        """Returns whether it has removed these rows."""
        numbers = range(self._next, self._next + count)
        self._next += count
        readings = [Reading(b"{}", n.to_bytes(NUMBER_BYTES, "big") + os.urandom(self._size)) for n in numbers]
        rows = [Rows(min(removed), max(removed))] if removed else []
        try:
            dropped, full = self.disk.commit(Batch(readings, {}, rows, max(removed or [0]), b""))
        except SpoolError:
            self.is_full = True
            return False
        assert (dropped.by_age, dropped.by_size) == (0, 0)
        self.is_full = full is not None
        self.waiting -= set((removed or {}).values())
        self.waiting |= set() if self.is_full else set(numbers)
        return True

    def fill(self, most_bytes: int | None = None) -> None:
        while not self.is_full and (most_bytes is None or self.disk.open().size < most_bytes):
            self.commit(self._at_once)

    def found(self, after: int = 0, limit: int = 1_000_000) -> dict[int, int]:
        """Numbers of readings by row."""
        rows: dict[int, int] = {}
        while len(rows) < limit and (read := self.disk.read(after, 500)).last:
            rows |= {place.row: int.from_bytes(kept.data[:NUMBER_BYTES], "big") for place, kept in read.readings}
            after = read.last
        return rows

    def assert_lossless(self) -> None:
        assert sorted(self.found().values()) == sorted(self.waiting)


@pytest.mark.parametrize(("at_once", "size"), [(5, 400), (100, 2_000), (1, 60_000)])
@pytest.mark.parametrize("who", ["the spool", "others"])
def test_what_was_sent_leaves_a_full_disk_and_the_reserve_comes_back(
    disk: SmallDisk, at_once: int, size: int, who: str
) -> None:
    gateway = Gateway(disk.path, at_once, size)
    gateway.fill(None if who == "the spool" else 1_500_000)
    if who == "others":
        disk.fill()
        gateway.fill()
    assert gateway.reserve == "kept"
    gateway.assert_lossless()
    waiting = len(gateway.waiting)
    assert gateway.commit(at_once, gateway.found(limit=max(1, waiting // 3))), "nothing can be removed"
    assert gateway.reserve == "in use"
    gateway.commit(at_once)
    assert not gateway.is_full, "there is room in the file again"
    gateway.fill()
    disk.fill()
    while len(gateway.waiting) > waiting // 3:
        assert gateway.commit(0, gateway.found(limit=1)), "others took the reserve, and it can't remove what was sent"
    gateway.restart()
    gateway.commit(at_once)
    while not gateway.is_full and (disk.path / "s.db-wal").stat().st_size < 600_000:
        gateway.commit(at_once)
    disk.fill()
    gateway.assert_lossless()
    while gateway.waiting:
        assert gateway.commit(0, gateway.found(limit=1)), "full for the second time, it can't remove what was sent"
        gateway.assert_lossless()
    assert who == "the spool" or gateway.reserve == "in use", "only a spool that fills its disk can give room back"
    disk.empty()
    gateway.commit(1)
    assert gateway.reserve == "kept"
    assert (disk.path / "s.db.reserve").stat().st_blocks * 512 >= RESERVE_BYTES, "it is not really there"
    gateway.fill(4_000_000)
    assert not gateway.is_full, "it still does not grow"
    gateway.assert_lossless()
    gateway.disk.close()


async def test_a_sender_on_a_full_disk_removes_what_the_hub_has_and_says_what_of(
    disk: SmallDisk, link: Link, stand_in: StandIn, tmp_path: Path
) -> None:
    link.cut()
    sender = sender_on(disk.path, tmp_path, stand_in, link)
    try:
        await until(lambda: (told(sender, "spool", "bytes") or 0) > 50_000, sender.log_tail())
        assert told(sender, "spool", "reserve") == "kept"
        disk.fill()
        await until(lambda: told(sender, "spool", "problem") is not None, sender.log_tail())
        link.mend()
        await until(lambda: (told(sender, "spool", "bytes") or 50_000) < 20_000, "what the hub has is not removed")
        assert told(sender, "spool", "reserve") == "in use"
        assert 'edge_spool_reserve{state="in use"} 1.0' in disks.metrics(sender)
        disk.empty()
        await until(lambda: told(sender, "spool", "problem") is None, sender.log_tail())
        await until(lambda: told(sender, "spool", "reserve") == "kept", sender.log_tail())
        assert not any(told(sender, "dropped").values())
        await stopped(sender)
    finally:
        sender.kill()
    assert_no_gap(await arrived(stand_in))
