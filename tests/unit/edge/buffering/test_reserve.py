"""The spool's reserve: made only where there is clearly more room, given up once, and never half there."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_sender.buffering.disk import RESERVE_SECONDS, Batch, Disk
from edge_sender.buffering.reserve import RESERVE_BYTES, ROOM_BYTES, Reserve
from edge_sender.buffering.salvage import SpoolFile
from tests.support.clocks import GatewayClocks
from tests.unit.edge.test_sender import LIMITS

PLENTY = 2 * ROOM_BYTES
NOTHING_NEW = Batch([], {}, [], 0, b"")


def free(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=room // 512, f_frsize=512))


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reserve:
    free(monkeypatch, PLENTY)
    made = Reserve(tmp_path / "spool.db")
    assert made.make()
    return made


def size(kept: Reserve) -> int:
    assert kept.path is not None
    return kept.path.stat().st_size


def test_it_takes_a_third_of_what_is_free_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Reserve(tmp_path / "spool.db")
    free(monkeypatch, ROOM_BYTES - 512)
    assert not made.make()
    assert [*tmp_path.iterdir()] == []
    free(monkeypatch, ROOM_BYTES)
    assert made.make()
    assert (made.state, size(made)) == ("kept", RESERVE_BYTES)
    assert 3 * RESERVE_BYTES <= ROOM_BYTES


def test_its_room_is_free_once_it_is_given_up_and_the_next_run_knows_that(kept: Reserve, tmp_path: Path) -> None:
    assert kept.give_up()
    assert (kept.state, size(kept)) == ("in use", 0)
    assert kept.give_up(), "it was given up before"
    later = Reserve(tmp_path / "spool.db")
    later.look()
    assert later.state == "in use"
    assert later.make()
    again = Reserve(tmp_path / "spool.db")
    again.look()
    assert again.state == "kept"


def test_one_that_somebody_removed_is_made_again(kept: Reserve) -> None:
    assert kept.path is not None
    kept.path.unlink()
    assert not kept.give_up()
    assert kept.state == "none"
    assert kept.make()


def test_a_disk_that_takes_only_a_part_of_it_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, PLENTY)
    monkeypatch.setattr(os, "urandom", lambda size: b"x" * (size // 2))
    made = Reserve(tmp_path / "spool.db")
    with pytest.raises(OSError, match="a part"):
        made.make()
    assert size(made) == 0
    assert made.state == "none"


def test_a_disk_that_refuses_it_keeps_readings_all_the_same_and_is_not_asked_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def refuse(_: int) -> bytes:
        asked.append(1)
        raise OSError("quota exceeded")

    gateway = GatewayClocks()
    free(monkeypatch, PLENTY)
    disk = Disk(SpoolFile(tmp_path / "spool.db", LIMITS, gateway.clocks))
    with monkeypatch.context() as patch:
        patch.setattr(os, "urandom", refuse)
        for _ in range(10):
            assert disk.commit(NOTHING_NEW)[1] is None
    assert len(asked) == 1
    gateway.elapse(RESERVE_SECONDS + 1)
    disk.commit(NOTHING_NEW)
    assert disk.reserve.state == "kept"
    disk.close()


def test_what_is_kept_in_memory_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    free(monkeypatch, PLENTY)
    disk = Disk(SpoolFile(None, LIMITS, GatewayClocks().clocks))
    disk.commit(NOTHING_NEW)
    assert disk.reserve.state == "none"
    disk.close()
