"""The module's twin as the edge's settings: accepted, refused and remembered, with the real device SDK."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge_sender.bootstrap import make_iot_uplink, try_out
from edge_sender.config.remembered import MOST_STARTS, Remembered
from edge_sender.config.settings import EdgeSettings, SettingsError, load
from edge_sender.config.twin import Effective, TwinSettings
from edge_sender.uplinks.iot import IotUplink
from sandbox.hub.stand_in import HubOptions, StandIn
from tests.support import hub
from tests.support.senders import SenderProcess, readings_of, until, until_running

MODULE = "edge-1/sender"
RUNS = re.compile(" (started|changed): ")
SOURCE = {"name": "a", "kind": "synthetic", "identity": "sequence"}


@pytest.fixture
async def iot_hub() -> AsyncIterator[StandIn]:
    host = f"127.0.3.{os.getpid() % 250 + 1}"
    running = StandIn(HubOptions(host=host, amqp_port=0, devices=(MODULE,)))
    await running.start()
    yield running
    await running.stop()


def settings_for(iot_hub: StandIn) -> EdgeSettings:
    return load(
        twin=True,
        uplink="iot",
        connection_string=iot_hub.device_connection_string(MODULE),
        ca_file=iot_hub.ca_file,
        spool_path="memory",
    )


@pytest.fixture
async def uplink(iot_hub: StandIn) -> AsyncIterator[IotUplink]:
    made = make_iot_uplink(settings_for(iot_hub))
    await made.connect()
    yield made
    await made.close()


def twin_process(iot_hub: StandIn, folder: Path) -> SenderProcess:
    return SenderProcess(
        folder,
        "edge-1",
        iot_hub.device_connection_string(MODULE),
        "",
        EDGE_UPLINK="iot",
        EDGE_TWIN="true",
        EDGE_CA_FILE=str(iot_hub.ca_file),
    )


def sent(sender: SenderProcess) -> int:
    """Number of readings that the hub has acknowledged."""
    status = sender.status()
    return 0 if status is None else int(status["sent"]["readings"])


@dataclass
class Running:
    """What a sender was asked to go on with."""

    changes: list[Effective] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    async def change(self, effective: Effective) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.changes.append(effective)


@pytest.fixture
def running() -> Running:
    return Running()


async def test_what_the_twin_desires_is_accepted_reported_and_remembered(
    iot_hub: StandIn, uplink: IotUplink, running: Running, tmp_path: Path
) -> None:
    path = tmp_path / "twin.json"
    settings = TwinSettings(settings_for(iot_hub), Remembered(path), try_out)
    iot_hub.desire(MODULE, {"batch_max_readings": 7, "sources": [SOURCE]})
    async with until_running(settings.watch(uplink.twin, running.change)):
        await until(lambda: "settings" in iot_hub.reported(MODULE), "nothing is reported")
        assert iot_hub.reported(MODULE)["settings"]["accepted"] is True
    offline = TwinSettings(settings_for(iot_hub), Remembered(path), try_out).effective()
    for effective, sources, names in (*running.changes, offline):
        assert (effective.batch_max_readings, sources.sources[0].name) == (7, "a")
        assert sorted(names) == ["batch_max_readings", "sources"]


async def test_a_change_is_noticed_and_a_wrong_one_refused(iot_hub: StandIn, uplink: IotUplink, running: Running) -> None:
    iot_hub.desire(MODULE, {"sources": [SOURCE]})
    settings = TwinSettings(settings_for(iot_hub), Remembered(None), try_out)

    def reported() -> Any:
        return iot_hub.reported(MODULE).get("settings", {})

    async with until_running(settings.watch(uplink.twin, running.change)):
        await until(lambda: len(running.changes) == 1, "the sources are not taken")
        iot_hub.desire(MODULE, {"batch_max_readings": 0})
        await until(lambda: reported().get("accepted") is False, "the wrong setting is not refused")
        assert "EDGE_BATCH_MAX_READINGS" in reported()["error"]
        needs = {"name": "m", "kind": "mqtt", "host": "x", "topics": ["a"], "uri_prefix": "x:", "identity": "content"}
        iot_hub.desire(MODULE, {"batch_max_readings": None, "sources": [{**needs, "password_env": "EDGE_SECRET_NOT_SET"}]})
        await until(lambda: "EDGE_SECRET_NOT_SET" in (reported().get("error") or ""), "what can't be made is not refused")
        assert len(running.changes) == 1
        iot_hub.desire(MODULE, {"sources": [SOURCE], "batch_max_readings": 9})
        await until(lambda: len(running.changes) == 2, "the change is not noticed")
        assert running.changes[-1].settings.batch_max_readings == 9


async def test_what_fails_at_its_start_is_refused_and_not_remembered(
    iot_hub: StandIn, uplink: IotUplink, running: Running, tmp_path: Path
) -> None:
    path = tmp_path / "twin.json"
    running.failures = [SettingsError("the source a: fails"), KeyError("a defect")]
    settings = TwinSettings(settings_for(iot_hub), Remembered(path), try_out)

    def reported() -> Any:
        return iot_hub.reported(MODULE).get("settings", {})

    iot_hub.desire(MODULE, {"sources": [SOURCE]})
    async with until_running(settings.watch(uplink.twin, running.change)):
        await until(lambda: reported().get("accepted") is False, "it is not refused")
        assert reported()["error"] == "the source a: fails"
        assert not path.exists()
        iot_hub.desire(MODULE, {"batch_max_readings": 8})  # meets the defect, and is tried again
        await until(lambda: reported().get("accepted") is True, "the twin is not read any more")
        assert running.changes[-1].settings.batch_max_readings == 8


def test_before_the_twin_is_known_there_are_no_sources(iot_hub: StandIn, tmp_path: Path) -> None:
    remembered = Remembered(tmp_path / "twin.json")
    _, sources, names = TwinSettings(settings_for(iot_hub), remembered, try_out).effective()
    assert (sources.sources, names) == ((), ())


async def test_a_sender_waits_for_its_twin_and_goes_on_with_each_change(iot_hub: StandIn, tmp_path: Path) -> None:
    """The whole process: first without sources, then with those that the twin supplies, then with others."""
    sender = twin_process(iot_hub, tmp_path)

    def reads(name: str) -> bool:
        status = sender.status()
        return status is not None and [(s["name"], s["readings"] > 0) for s in status["sources"]] == [(name, True)]

    try:
        await until(lambda: (sender.status() or {}).get("sources") == [], sender.log_tail())
        iot_hub.desire(MODULE, {"sources": [SOURCE]})
        await until(lambda: reads("a"), "the twin's source is not read")
        iot_hub.desire(MODULE, {"sources": [{**SOURCE, "name": "b"}]})
        await until(lambda: reads("b"), "the change is not applied")
        await until(lambda: (sender.status() or {"sent": {"readings": 0}})["sent"]["readings"] > 0, "nothing is sent")
        sender.process.terminate()
        assert await asyncio.to_thread(sender.process.wait, 30) == 0
    finally:
        sender.kill()
    first, second, third = [line for line in sender.log_path.read_text().splitlines() if RUNS.search(line)]
    assert (
        f", {iot_hub.options.host}, {', '.join(MODULE.split('/'))}); sources none yet: the twin must supply them; " in first
    )
    assert first.endswith("; settings from the environment")
    assert " sources a (synthetic, identity sequence); " in second
    assert " sources b (synthetic, identity sequence); " in third
    assert all(line.endswith("; settings from the environment and the twin (sources)") for line in (second, third))


async def test_a_log_level_does_not_stop_reading_and_a_source_that_fails_is_rolled_back(
    iot_hub: StandIn, tmp_path: Path
) -> None:
    """The whole process, at ten readings a second: all of them arrive, across a change and a failed one."""
    iot_hub.desire(MODULE, {"sources": [{**SOURCE, "interval_seconds": 0.1}]})
    sender = twin_process(iot_hub, tmp_path)

    def reported(member: str) -> Any:
        return iot_hub.reported(MODULE).get("settings", {}).get(member)

    try:
        await until(lambda: sent(sender) > 5, sender.log_tail())
        version = reported("version")
        iot_hub.desire(MODULE, {"log_level": "WARNING"})
        await until(lambda: reported("version") == version + 1, "the level is not taken")
        assert reported("accepted") is True
        iot_hub.desire(MODULE, {"sources": [{**SOURCE, "interval_seconds": 1e-10}]})
        await until(lambda: reported("accepted") is False, "what can't be run is accepted")
        count = sent(sender)
        await until(lambda: sent(sender) > count + 5, "the former source is not read any more")
    finally:
        sender.kill()
    events = await hub.read_all(iot_hub.connection_string("telemetry"))
    numbers = sorted(data["sequence"] for event in events for _, _, data in readings_of(event))
    assert numbers == list(range(numbers[0], numbers[-1] + 1))


@pytest.mark.parametrize(
    "remembered",
    [
        '{"sources": [{"name": "a", "kind": "synthetic", "identity": "sequence", "interval_seconds": 1e-10}]}',
        "[",
        '{"sources": 7}',
    ],
)
async def test_a_remembered_twin_that_is_of_no_use_does_not_keep_the_sender_from_reading_the_twin(
    iot_hub: StandIn, tmp_path: Path, remembered: str
) -> None:
    (tmp_path / "twin.json").write_text(remembered)
    iot_hub.desire(MODULE, {"sources": [SOURCE]})
    sender = twin_process(iot_hub, tmp_path)
    try:
        await until(lambda: sent(sender) > 0, sender.log_tail())
        assert sender.process.poll() is None
    finally:
        sender.kill()


def test_what_ends_the_process_again_and_again_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "twin.json"
    Remembered(path).keep({"batch_max_readings": 7})
    for _ in range(MOST_STARTS):
        remembered = Remembered(path)
        remembered.begin()
        assert remembered.desired == {"batch_max_readings": 7}
    remembered = Remembered(path)
    remembered.begin()
    assert (remembered.desired, Remembered(path).desired) == ({}, {})
    assert "batch_max_readings" in path.with_suffix(".failed.json").read_text()


def test_starts_that_were_stopped_by_somebody_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "twin.json"
    Remembered(path).keep({"batch_max_readings": 7})
    for _ in range(MOST_STARTS * 3):
        remembered = Remembered(path)
        remembered.begin()
        remembered.prove()
    assert Remembered(path).desired == {"batch_max_readings": 7}
