"""A sender is killed repeatedly, its uplink down half of the time and its file rotated: every reading that was committed
arrives, under one id, and so does every line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import sqlite3
from collections import defaultdict
from pathlib import Path

import pytest

from sandbox.hub.stand_in import StandIn
from sandbox.peers.links import Link
from tests.support import hub
from tests.support.processes import DEADLINE_SECONDS
from tests.support.senders import SenderProcess, ask_until, document, readings_of

KILLS = 50
LINES_PER_LIFE = 40
SYNTHETIC = {"name": "load", "kind": "synthetic", "identity": "sequence", "count": 10, "interval_seconds": 0.05}

Key = tuple[str, int]


def committed(spool: Path) -> dict[Key, str]:
    """The ids in the spool of a sender that is not running, by source and sequence."""
    copy = spool.with_suffix(".copy")  # so that the sender finds its write-ahead log as the kill left it
    for suffix in ("", "-wal"):
        file = spool.with_name(spool.name + suffix)
        if file.exists():
            shutil.copy(file, copy.with_name(copy.name + suffix))
    with contextlib.closing(sqlite3.connect(copy)) as db:
        rows = db.execute("SELECT head, data FROM readings").fetchall()
    for suffix in ("", "-wal", "-shm"):
        copy.with_name(copy.name + suffix).unlink(missing_ok=True)
    heads = [(json.loads(head), json.loads(data)) for head, data in rows]
    return {(head["source"], data["sequence"]): head["id"] for head, data in heads}


def rotate(path: Path, *, by_copy: bool) -> None:
    """As logrotate does it, by renaming or by copying and emptying."""
    for number in range(KILLS, 0, -1):
        if (old := path.with_name(f"{path.name}.{number}")).exists():
            old.rename(path.with_name(f"{path.name}.{number + 1}"))
    if by_copy:
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)
    else:
        path.rename(path.with_name(f"{path.name}.1"))
        path.touch()


@pytest.mark.timeout(400)
async def test_nothing_that_was_committed_is_lost_and_no_reading_has_two_ids(stand_in: StandIn, tmp_path: Path) -> None:
    rng = random.Random(7)
    link = await Link("127.0.0.1", stand_in.amqp_port).start()
    through_link = stand_in.connection_string("telemetry").replace(f":{stand_in.amqp_port}/", f":{link.port}/")
    lines = tmp_path / "readings.jsonl"
    lines.touch()
    file = {"name": "file", "kind": "file", "format": "jsonl", "path": str(lines), "uri": "urn:file"}
    sources = document(SYNTHETIC, {**file, "identity": "sequence", "follow": True})
    sender = SenderProcess(tmp_path, "edge-1", through_link, sources, EDGE_FLUSH_SECONDS="60")
    ids: dict[Key, set[str]] = defaultdict(set)
    written = 0
    for kill in range(1, KILLS + 1):
        (link.cut if kill % 2 else link.mend)()
        if kill % 5 == 0:
            rotate(lines, by_copy=kill % 10 == 0)
        with lines.open("a") as out:
            for _ in range(LINES_PER_LIFE):
                out.write(json.dumps({"sequence": written}) + "\n")
                written += 1
        await ask_until(lambda: sender.status() is not None or sender.process.poll() is not None, sender.log_tail)
        await asyncio.sleep(rng.uniform(0.0, 0.7))
        assert sender.process.poll() is None, sender.log_tail()
        sender.kill()
        for key, reading_id in committed(sender.spool).items():
            ids[key].add(reading_id)
        sender.start()
    link.mend()

    def is_done() -> bool:
        """Whether the file is read to its end and the spool holds only the last moments of the other source."""
        status = sender.status()
        return status is not None and status["sent"]["readings"] > 0 and (status["spool"]["oldest_seconds"] or 0) < 2

    await ask_until(is_done, "the backlog is not sent")
    sender.process.terminate()
    assert await asyncio.to_thread(sender.process.wait, DEADLINE_SECONDS) == 0
    arrived: set[Key] = set()
    for event in await hub.read_all(stand_in.connection_string("telemetry")):
        for source, reading_id, data in readings_of(event):
            ids[source, data["sequence"]].add(reading_id)
            arrived.add((source, data["sequence"]))
    await link.stop()
    left = committed(sender.spool)
    assert not left
    assert set(ids) == arrived  # everything that was ever in the spool has arrived
    assert max(len(reading_ids) for reading_ids in ids.values()) == 1
    assert {number for source, number in arrived if source == "urn:file"} == set(range(written))
