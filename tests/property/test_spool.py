"""Whatever happens to it, the spool loses nothing that was committed and not acknowledged, except what its policy drops; and
that is counted to the last one.

A machine plays puts, takes, acknowledgements, crashes, boots, steps of the clock, a full disk, damaged rows and pages
against a real file. Readings are numbered, so that what is missing is known.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge_sender.buffering.disk import Batch, Disk
from edge_sender.buffering.salvage import SpoolFile
from edge_sender.buffering.spool_values import ROW_OVERHEAD_BYTES, Rows, SpoolError, SpoolLimits, WhenFull
from edge_sender.identity.readings import Reading
from tests.support.clocks import GatewayClocks

READING_BYTES = 400
COST = READING_BYTES + ROW_OVERHEAD_BYTES
MAX_AGE_SECONDS = 1000.0
LEAF = 13
PAGE_BYTES = 4096
MEMORY = "/dev/shm"  # noqa: S108  # only where to put folders of random names


def new_folder() -> Path:
    """In memory where that is possible: there is nothing to learn from a slow disk."""
    return Path(tempfile.mkdtemp(prefix="spool-", dir=MEMORY if Path(MEMORY).is_dir() else None))


def reading(number: int) -> Reading:
    return Reading(b"{}", str(number).encode().zfill(READING_BYTES - 2))


class SpoolMachine(RuleBasedStateMachine):
    @initialize(when_full=st.sampled_from(["drop-oldest", "drop-newest"]), room=st.integers(5, 100))
    def begin(self, when_full: WhenFull, room: int) -> None:
        self.folder = self._new_folder()
        self.path = self.folder / "s.db"
        self.gateway = GatewayClocks()
        self.limits = SpoolLimits(room * COST, MAX_AGE_SECONDS, when_full)
        self.disk = self._opened()
        self.put_at: dict[int, float] = {}
        """Readings of commits that succeeded, by number, and when; less those that were acknowledged."""
        self.done: set[int] = set()
        self.next = 1
        self.taken = 0
        self.handed_out: dict[int, int] = {}
        """Numbers of readings that were read since the start of the process, by row."""
        self.by_age = self.by_size = self.damaged = 0

    def _new_folder(self) -> Path:
        return new_folder()

    def _opened(self) -> Disk:
        return Disk(SpoolFile(self.path, self.limits, self.gateway.clocks))

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.disk.close()
            shutil.rmtree(self.folder)

    # --- what a sender does

    def _commit(self, count: int, acknowledged: list[Rows]) -> bool:
        numbers = range(self.next, self.next + count)
        self.next += count
        try:
            dropped, full = self.disk.commit(Batch([reading(n) for n in numbers], {}, acknowledged, self.taken, b""))
        except SpoolError:
            return False
        self.by_age += dropped.by_age
        self.by_size += dropped.by_size
        if full is None:
            self.put_at.update(dict.fromkeys(numbers, self.gateway.true))
        return True

    @rule(count=st.integers(0, 60))
    def put(self, count: int) -> None:
        self._commit(count, [])

    @rule(limit=st.integers(1, 50))
    def take(self, limit: int) -> None:
        found = self.disk.read(self.taken, limit)
        for place, kept in found.readings:
            number = int(kept.data)
            assert place.row not in self.handed_out, "a row was given twice"
            assert number in self.put_at, "it was never committed, or acknowledged before"
            self.handed_out[place.row] = number
        self.damaged += len(found.damaged)
        if found.damaged:
            acknowledged = [Rows(row, row, is_given_up=True) for row in found.damaged]
            self.taken = found.last
            self._commit(0, acknowledged)
        self.taken = max(self.taken, found.last)

    @precondition(lambda self: self.handed_out)
    @rule(share=st.floats(0.1, 1.0), count=st.integers(0, 5))
    def acknowledge(self, share: float, count: int) -> None:
        rows = sorted(self.handed_out)[: max(1, int(share * len(self.handed_out)))]
        if self._commit(count, [Rows(row, row) for row in rows]):
            for row in rows:
                self.done.add(number := self.handed_out.pop(row))
                del self.put_at[number]

    # --- what happens to it

    @rule()
    def crash(self) -> None:
        """The files as the kill left them; a transaction that was not committed is not in them."""
        left = new_folder()
        for suffix in ("", "-wal"):
            if (file := self.path.with_name(self.path.name + suffix)).exists():
                shutil.copy(file, left / (file.name))
        self.disk.close()
        shutil.rmtree(self.folder)
        self.folder, self.path = left, left / "s.db"
        self._begin_process()

    @rule(seconds_off=st.floats(1, 500), forgets=st.booleans())
    def power_cut(self, seconds_off: float, forgets: bool) -> None:
        """`forgets`: the clock begins where it was, and nobody sets it."""
        self.disk.close()
        self.gateway.boot(seconds_off)
        if forgets:
            self.gateway.error, self.gateway.is_synchronised = -seconds_off, False
        self._begin_process()

    def _begin_process(self) -> None:
        self.disk, self.taken, self.handed_out = self._opened(), 0, {}

    @rule(seconds=st.floats(0, 400))
    def elapse(self, seconds: float) -> None:
        self.gateway.elapse(seconds)

    @rule(error=st.sampled_from([5 * 3600.0, -5 * 3600.0, 3e8, -1.7e9]))
    def step(self, error: float) -> None:
        self.gateway.error, self.gateway.is_synchronised = error, False

    @rule()
    def set_right(self) -> None:
        self.gateway.error, self.gateway.is_synchronised = 0.0, True

    @rule(count=st.integers(1, 60))
    def fill_the_disk(self, count: int) -> None:
        """It has room for a few pages more; then it is emptied by somebody else."""
        spool = self.disk.open()
        pages = spool._db.execute("PRAGMA page_count").fetchone()[0]
        spool._db.execute(f"PRAGMA max_page_count = {pages + 1}")
        self._commit(count, [])
        self.disk.open()._db.execute("PRAGMA max_page_count = 1000000000")

    @precondition(lambda self: self.put_at)
    @rule(data=st.data())
    def spoil_a_row(self, data: st.DataObject) -> None:
        self.disk.close()
        with sqlite3.connect(self.path) as db:
            rows = [row for (row,) in db.execute("SELECT row FROM readings")]
            if rows:
                db.execute("UPDATE readings SET data = x'00' WHERE row = ?", (data.draw(st.sampled_from(rows)),))
        db.close()
        self._begin_process()

    @precondition(lambda self: len(self.put_at) > 20)
    @rule(which=st.integers(0, 1000))
    def spoil_a_page(self, which: int) -> None:
        """Of a leaf that holds readings."""
        self.disk.close()
        content = bytearray(self.path.read_bytes())
        leaves = [page for page in range(1, len(content) // PAGE_BYTES) if is_leaf_of_readings(content, page)]
        if leaves:
            at = leaves[which % len(leaves)] * PAGE_BYTES
            content[at : at + PAGE_BYTES] = b"\xff" * PAGE_BYTES
            self.path.write_bytes(content)
        self._begin_process()

    # --- the laws

    @invariant()
    def nothing_is_lost_uncounted(self) -> None:
        if not hasattr(self, "disk"):
            return
        found: list[int] = []
        after = damaged = 0
        while True:
            read = self.disk.read(after, 1000)
            if not read.last:
                break
            found += [int(kept.data) for _, kept in read.readings]
            damaged += len(read.damaged)
            after = read.last
        self.damaged += self.disk.lost
        self.disk.lost = 0
        assert found == sorted(set(found))
        assert set(found) <= self.put_at.keys(), "what was acknowledged, dropped or never committed came back"
        assert self.disk.open().readings == len(found) + damaged
        missing = self.put_at.keys() - set(found)
        assert len(missing) == self.by_age + self.by_size + self.damaged + damaged
        old = sum(self.gateway.true - self.put_at[number] > MAX_AGE_SECONDS - 1 for number in missing)
        assert old >= self.by_age, "what was dropped for its age was young"


def is_leaf_of_readings(content: bytearray, page: int) -> bool:
    return content[page * PAGE_BYTES] == LEAF and b"0" * 300 in content[page * PAGE_BYTES : (page + 1) * PAGE_BYTES]


TestSpool = SpoolMachine.TestCase
TestSpool.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
