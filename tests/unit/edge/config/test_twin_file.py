"""The twin that is remembered on disk, with disks that fail."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from edge_sender.config.remembered import Remembered
from edge_sender.config.settings import EdgeSettings, load
from edge_sender.config.sources import SourcesDocument
from edge_sender.config.twin import Effective, TwinSettings
from tests.support.senders import until

SOURCE = {"name": "a", "kind": "synthetic", "identity": "sequence"}


def settings() -> EdgeSettings:
    return load(
        uplink="iot", connection_string="HostName=h;DeviceId=d;SharedAccessKey=c2VjcmV0", twin=True, spool_path="memory"
    )


def try_out(_: SourcesDocument) -> None:
    return


class OneTwin:
    """Says what it desires once; then the connection is gone."""

    def __init__(self, desired: dict[str, Any]) -> None:
        self.reported: list[dict[str, Any]] = []
        self._desired = desired

    async def on_change(self, _changed: Any) -> None:
        return

    async def desired(self) -> dict[str, Any]:
        return self._desired

    async def report(self, reported: dict[str, Any]) -> None:
        self.reported.append(reported)


async def follow(twin: TwinSettings, desired: OneTwin) -> None:
    """Until what is desired is in force and reported."""

    async def change(_: Effective) -> None:
        return

    watching = asyncio.create_task(twin.watch(desired, change))
    await until(lambda: bool(desired.reported), "the twin is not reported")
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


def desired(count: int) -> dict[str, Any]:
    return {"$version": count, "sources": [{**SOURCE, "count": count}]}


async def test_on_a_full_disk_the_twin_is_in_force_and_the_remembered_one_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "twin.json"
    await follow(TwinSettings(settings(), Remembered(path), try_out), OneTwin(desired(1)))
    kept = path.read_text()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        twin = TwinSettings(settings(), Remembered(path), try_out)
        await follow(twin, OneTwin(desired(2)))
    assert twin.effective().sources.sources[0].count == 2  # type: ignore[union-attr]  # a synthetic one, as written above
    assert "No space left" in caplog.text
    assert path.read_text() == kept
    assert json.loads(kept) == desired(1)


@pytest.mark.parametrize("content", ["", '{"sources": {', "[]", "\0" * 100])
def test_a_remembered_twin_that_is_damaged_is_ignored(tmp_path: Path, content: str) -> None:
    path = tmp_path / "twin.json"
    path.write_text(content)
    assert TwinSettings(settings(), Remembered(path), try_out).effective().sources.sources == ()


def test_a_disk_that_cannot_be_read_does_not_end_the_sender(tmp_path: Path) -> None:
    (tmp_path / "twin.json").mkdir()
    assert TwinSettings(settings(), Remembered(tmp_path / "twin.json"), try_out).effective().sources.sources == ()


async def test_a_defect_that_stays_is_told_once_and_the_twin_is_read_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edge_sender.config.twin.RETRY_SECONDS", 0.001)
    reads = 0

    class Defective(OneTwin):
        async def desired(self) -> dict[str, Any]:
            nonlocal reads
            reads += 1
            if reads < 10:
                raise RuntimeError("a defect")
            return await super().desired()

    await follow(TwinSettings(settings(), Remembered(None), try_out), Defective(desired(1)))
    assert caplog.text.count("the twin could not be followed") == 1
