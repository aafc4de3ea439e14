"""The module's twin as the edge's settings: accepted, refused and remembered, with the real device SDK."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge_sender.bootstrap import make_iot_uplink, try_out
from edge_sender.config.settings import EdgeSettings, load
from edge_sender.config.twin import TwinSettings
from edge_sender.uplinks.iot import IotUplink
from sandbox.hub.stand_in import HubOptions, StandIn
from tests.support.senders import SenderProcess, until

MODULE = "edge-1/sender"
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


async def test_what_the_twin_desires_is_accepted_reported_and_remembered(
    iot_hub: StandIn, uplink: IotUplink, tmp_path: Path
) -> None:
    settings = TwinSettings(settings_for(iot_hub), tmp_path / "twin.json", try_out)
    iot_hub.desire(MODULE, {"batch_max_readings": 7, "sources": [SOURCE]})
    await asyncio.wait_for(settings.watch(uplink.twin), 30)
    await until(lambda: "settings" in iot_hub.reported(MODULE), "nothing is reported")
    assert iot_hub.reported(MODULE)["settings"]["accepted"] is True
    offline = TwinSettings(settings_for(iot_hub), tmp_path / "twin.json", try_out)
    for known in (settings, offline):
        effective, sources, names = known.effective()
        assert (effective.batch_max_readings, sources.sources[0].name) == (7, "a")
        assert sorted(names) == ["batch_max_readings", "sources"]


async def test_a_change_is_noticed_and_a_wrong_one_refused(iot_hub: StandIn, uplink: IotUplink) -> None:
    iot_hub.desire(MODULE, {"sources": [SOURCE]})
    settings = TwinSettings(settings_for(iot_hub), None, try_out)
    await asyncio.wait_for(settings.watch(uplink.twin), 30)
    watching = asyncio.create_task(settings.watch(uplink.twin))

    def reported() -> Any:
        return iot_hub.reported(MODULE).get("settings", {})

    await asyncio.sleep(0.5)  # the twin is watched again
    iot_hub.desire(MODULE, {"batch_max_readings": 0})
    await until(lambda: reported().get("accepted") is False, "the wrong setting is not refused")
    assert "EDGE_BATCH_MAX_READINGS" in reported()["error"]
    needs = {"name": "m", "kind": "mqtt", "host": "x", "topics": ["a"], "uri_prefix": "x:", "identity": "content"}
    iot_hub.desire(MODULE, {"batch_max_readings": None, "sources": [{**needs, "password_env": "NOT_SET_HERE"}]})
    await until(lambda: "NOT_SET_HERE" in (reported().get("error") or ""), "a source that can't be made is not refused")
    assert not watching.done()
    iot_hub.desire(MODULE, {"sources": [SOURCE]})
    iot_hub.desire(MODULE, {"batch_max_readings": 9})
    await asyncio.wait_for(watching, 30)
    assert settings.effective()[0].batch_max_readings == 9


def test_before_the_twin_is_known_there_are_no_sources(iot_hub: StandIn, tmp_path: Path) -> None:
    _, sources, names = TwinSettings(settings_for(iot_hub), tmp_path / "twin.json", try_out).effective()
    assert (sources.sources, names) == ((), ())


async def test_a_sender_waits_for_its_twin_and_restarts_with_each_change(iot_hub: StandIn, tmp_path: Path) -> None:
    """The whole process: first without sources, then with those that the twin supplies, then with others."""
    sender = SenderProcess(
        tmp_path,
        "edge-1",
        iot_hub.device_connection_string(MODULE),
        "",
        EDGE_UPLINK="iot",
        EDGE_TWIN="true",
        EDGE_CA_FILE=str(iot_hub.ca_file),
    )

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
    first, second, third = [line for line in sender.log_path.read_text().splitlines() if " started: " in line]
    assert (
        f", {iot_hub.options.host}, {', '.join(MODULE.split('/'))}); sources none yet: the twin must supply them; " in first
    )
    assert first.endswith("; settings from the environment")
    assert "; sources a (synthetic, identity sequence); " in second
    assert "; sources b (synthetic, identity sequence); " in third
    assert all(line.endswith("; settings from the environment and the twin (sources)") for line in (second, third))
