"""A file in active-passive: only the replica that sends reads it, and its successor goes on where it had got."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from edge_sender.buffering.inbox import Inbox, IntakeOptions, SourceIntake
from edge_sender.buffering.last_ids import LastIds
from edge_sender.counters import Counters
from edge_sender.identity.rules import parse_rules
from edge_sender.identity.runs import Runs
from tests.support.files import MACHINES, file_source, written
from tests.support.senders import until

OVERLAP = 30.0
LINES = [f"2026-01-01T00:00:{number:02d}Z,m{number}" for number in range(40)]


class Replica:
    """A file source and a real inbox, whose turn and clock the test controls."""

    def __init__(self, path: Path, committed: dict[str, str] | None = None) -> None:
        self.has_turn, self.now = False, 0.0
        self.source = file_source(path, follow=True, **MACHINES)
        options = IntakeOptions(1000, "drop-oldest", OVERLAP)
        self.inbox = Inbox(options, Counters(), lambda: self.now, lambda _: self.has_turn)
        self.inbox.remember(LastIds(), Runs(), committed or {})
        self.intake = SourceIntake(self.inbox, "file", parse_rules("source-time"), "t")

    @property
    def sent(self) -> list[str]:
        return [json.loads(reading.data)["machine"] for reading in self.inbox.pending]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.source.run(self.intake))
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def more(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


async def until_sent(replica: Replica, machine: str) -> None:
    await until(lambda: machine in replica.sent, f"{machine} is not sent")


async def test_a_passive_replica_passes_nothing_and_sends_all_when_it_takes_over(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "time,machine", *LINES)
    replica = Replica(path)
    async with replica.running():
        await until(lambda: replica.source.is_up, "a file that could be read is not up")
        passes = time.monotonic() + 1.2  # it looks at the file twice a second
        await until(lambda: time.monotonic() > passes, "")
        assert (replica.sent, replica.inbox.positions) == ([], {})
        replica.has_turn = True
        await until_sent(replica, "m39")
        assert replica.sent == [f"m{number}" for number in range(40)]


async def test_one_that_is_no_longer_the_sender_stops_and_goes_on_there(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "time,machine", *LINES[:10])
    replica = Replica(path)
    async with replica.running():
        replica.has_turn = True
        await until_sent(replica, "m9")
        replica.has_turn = False
        more(path, *LINES[10:20])
        passes = time.monotonic() + 1.2
        await until(lambda: time.monotonic() > passes, "")
        assert len(replica.sent) == 10
        replica.has_turn = True
        await until_sent(replica, "m19")
        assert replica.sent == [f"m{number}" for number in range(20)]


async def test_the_successor_goes_on_an_overlap_before_the_place_that_the_sender_had_reached(tmp_path: Path) -> None:
    """The gateways have files of their own, with the same bytes."""
    first = written(tmp_path / "a.csv", "time,machine", *LINES[:10])
    second = tmp_path / "b.csv"
    shutil.copy(first, second)
    one, other = Replica(first), Replica(second)
    one.has_turn = True
    async with one.running(), other.running():
        await until_sent(one, "m9")
        other.inbox.hand_over("file", one.inbox.positions["file"])
        other.now += OVERLAP + 1
        for path in (first, second):
            more(path, *LINES[10:20])
        await until_sent(one, "m19")
        other.inbox.hand_over("file", one.inbox.positions["file"])
        one.has_turn, other.has_turn = False, True
        await until_sent(other, "m19")
        assert other.sent == [f"m{number}" for number in range(10, 20)]


async def test_a_place_that_the_successors_file_does_not_have_is_not_taken(tmp_path: Path) -> None:
    first = written(tmp_path / "a.csv", "time,machine", *LINES[:10])
    second = written(tmp_path / "b.csv", "time,machine", *LINES[5:15])
    one, other = Replica(first), Replica(second)
    one.has_turn = True
    async with one.running(), other.running():
        await until_sent(one, "m9")
        other.inbox.hand_over("file", one.inbox.positions["file"])
        other.has_turn = True
        await until_sent(other, "m14")
        assert other.sent == [f"m{number}" for number in range(5, 15)]
