"""`edge-sender browse`, `validate --connect` and `try` against real peers: OPC UA servers, a broker, a hub and a file."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from edge_sender.config.names import client_id_of
from edge_sender.config.settings import SettingsError
from edge_sender.config.sources import check_sources
from edge_sender.counters import SourceTally
from edge_sender.ports import Source
from edge_sender.sources.make import make_source
from edge_sender.sources.opcua import redundancy
from edge_sender.survey import SurveyError
from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.peers.processes import free_port
from tests.doubles.intake import ListIntake
from tests.integration.edge.opcua.test_security import PASSWORD, config, files
from tests.integration.edge.opcua.test_security import plc as secure_plc
from tests.support.commands import command
from tests.support.mosquitto import Mosquitto
from tests.support.plc import NAMESPACE, SERVER_URI, Plc, plc
from tests.support.senders import document, until

__all__ = ["files"]
PRESS = f"nsu={NAMESPACE};s=press-1"


def plant(server: Plc, **given: Any) -> dict[str, Any]:
    source = {"name": "presses", "kind": "opcua", "endpoint": server.endpoint, "namespace_uri": NAMESPACE}
    return {**source, "identity": "source-time", "publishing_ms": 50, **given}


async def machines(server: Plc) -> None:
    line = await server.folder("Line 1")
    await server.add("press-1", 21.5, below=line, at_ms=250)
    await server.add("press-2", ua.Variant([1, 2], ua.VariantType.UInt16), below=line)
    await server.add("off", None, below=line)
    await server.add("serial", "X\x1b[2J" + "9" * 100)


def line_of(lines: list[str], name: str) -> str:
    (found,) = [line for line in lines if line.strip().startswith(f"{name}  ")]
    return found


async def test_browse_shows_a_server_by_its_address_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_UPLINK", "nothing of this is needed")
    async with plc(machines) as server:
        printed = await command("browse", server.endpoint)
        assert await _is_left(server)
    assert printed.status == 0
    assert printed.lines[0].startswith(f"{server.endpoint}  {SERVER_URI}: 4 variables among ")
    assert line_of(printed.lines, "Line 1") == f"  Line 1  nsu={NAMESPACE};s=Line 1"
    shown = '{"value": 21.5, "status": 0}  2026-01-31T06:00:00.250000Z  every 100 ms instead of 0'
    assert line_of(printed.lines, "press-1") == f"    press-1  {PRESS}  Number  {shown}"
    assert '{"value": [1, 2], "status": 0}' in line_of(printed.lines, "press-2")
    assert '{"value": null, "status": 0}' in line_of(printed.lines, "off")
    assert r"X\\u001b[2J999" in line_of(printed.lines, "serial").replace("\\", "\\\\")
    assert "9" * 60 not in printed.text


async def _is_left(server: Plc) -> bool:
    """Neither a session nor a subscription stays behind."""
    await until(lambda: not server.subscriptions, "a subscription is left behind")
    return True


async def test_browse_shows_a_source_as_it_would_subscribe(monkeypatch: pytest.MonkeyPatch) -> None:
    async with plc(machines) as server:
        # What this server grants is the publishing interval.
        overrides = [{"node": f"nsu={NAMESPACE};s=press-2", "sampling_ms": 700, "publishing_ms": 700}]
        source = plant(server, sampling_ms=50, nodes={"include": [{"path": "/Line 1/press-*"}], "overrides": overrides})
        monkeypatch.setenv("EDGE_SOURCES", document(source, {"name": "t", "kind": "synthetic", "identity": "sequence"}))
        printed = await command("browse")
        named = await command("browse", "presses", "--under", "/Line 1", "--depth", "0")
    assert "; 2 chosen" in printed.lines[0]
    assert line_of(printed.lines, "press-1").endswith("  every 50 ms")
    assert line_of(printed.lines, "press-2").endswith("  every 700 ms")
    assert line_of(printed.lines, "serial").endswith("  not chosen")
    assert named.lines[1:] == [f"Line 1  nsu={NAMESPACE};s=Line 1  (+3 below)"]


async def test_browse_prints_json_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    async with plc(machines) as server:
        monkeypatch.setenv(
            "EDGE_SOURCES", document(plant(server, nodes={"include": [{"path": "/Line 1/press-*"}]}, events={}))
        )
        printed = await command("browse", "--json", "--under", "/Line 1")
        refused = await command("browse", "--json", "--limit", "1")
    [line] = printed.lines
    found = json.loads(line)
    assert (found["server_uri"], found["variables"], found["chosen"], found["more"]) == (SERVER_URI, 4, 2, 0)
    line_1, press, *_ = found["tree"]
    assert line_1 == {"level": 0, "name": "Line 1", "node": f"nsu={NAMESPACE};s=Line 1", "hidden": 0}
    assert press == {
        "level": 1,
        "name": "press-1",
        "node": PRESS,
        "hidden": 0,
        "type": "Number",
        "data": {"value": 21.5, "status": 0},
        "time": "2026-01-31T06:00:00.250000Z",
        "unreadable": None,
        "is_chosen": True,
        "asked_ms": 0,
        "granted_ms": 50,
        "refused": None,
    }
    server_object = {"name": "Server", "node": "nsu=http://opcfoundation.org/UA/;i=2253", "is_chosen": True, "refused": None}
    assert found["events"] == [server_object]
    assert json.loads(refused.lines[0])["more"] > 0


async def test_browse_shows_the_objects_whose_events_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def prepare(server: Plc) -> None:
        await machines(server)
        for name in ("oven", "mill"):
            await server.server.get_event_generator(emitting_node=await server.folder(name))

    async with plc(prepare) as server:
        events = {"notifiers": [{"path": "/oven"}]}
        monkeypatch.setenv("EDGE_SOURCES", document(plant(server, events=events)))
        printed = await command("browse")
        monkeypatch.setenv("EDGE_SOURCES", document(plant(server, events={"types": ["nsu=urn:none;i=1"]})))
        odd = await command("browse")
        alone = await command("browse", server.endpoint)
        assert await _is_left(server)
    oven, mill = f"events of oven  nsu={NAMESPACE};s=oven  ", f"events of mill  nsu={NAMESPACE};s=mill  "
    assert {f"{oven}chosen", f"{mill}not chosen"} <= set(printed.lines)
    assert "left out: events: they can't be subscribed to: the server has no namespace urn:none" in odd.lines
    assert {f"{oven}not chosen", f"{mill}not chosen"} <= set(alone.lines)


async def test_browse_shows_names_and_uris_of_types_and_what_has_no_value() -> None:
    async def prepare(server: Plc) -> None:
        await machines(server)
        encoding = await server.structure("Recipe", {"speed": ua.VariantType.Double})
        assert encoding
        types = await server.server.get_node(ua.NodeId(ua.ObjectIds.Structure)).get_children()
        own = next(node for node in types if node.nodeid.NamespaceIndex == server.index())
        objects = server.server.nodes.objects
        await objects.add_variable(ua.NodeId("recipe", 2), "recipe", None, datatype=own.nodeid)
        level = await objects.add_variable(ua.NodeId("level", 2), "level", 1.5)
        await server.show(level, 1.5, at_ms=0, status=ua.StatusCodes.BadSensorFailure)

    async with plc(prepare) as server:
        printed = await command("browse", server.endpoint)
    assert re.search(rf"  Recipe nsu={NAMESPACE};i=\d+  ", line_of(printed.lines, "recipe"))
    assert f'  Double  {{"value": null, "status": {ua.StatusCodes.BadSensorFailure}}}  ' in line_of(printed.lines, "level")


async def test_browse_does_not_flood_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    async def prepare(server: Plc) -> None:
        for number in range(300):
            await server.add(f"v{number}", number)

    async with plc(prepare) as server:
        printed = await command("browse", server.endpoint)
        some = await command("browse", server.endpoint, "--limit", "10")
        assert max(server.sizes["monitor"]) <= 200  # what is not shown is not subscribed to
    assert len(printed.lines) == 203
    assert re.fullmatch(r"… and 10\d more: narrow it down with --under or --depth, or raise --limit", printed.lines[-1])
    assert "300 variables" in printed.lines[0]
    assert len(some.lines) == 13


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["opc.tcp://127.0.0.1:1"], "opc.tcp://127.0.0.1:1 can't be read: "),
        (["ENDPOINT", "--under", "/nowhere"], "/nowhere: the server has no such node below Objects"),
    ],
)
async def test_browse_says_why_it_can_not(words: list[str], message: str) -> None:
    async with plc(machines) as server:
        with pytest.raises(SurveyError, match=message):
            await command("browse", *(word.replace("ENDPOINT", server.endpoint) for word in words))


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("opc.tcp://edge:secret@plc", "^SERVER: write opc.tcp://HOST:PORT, without a user$"),
        ("ovens", "^SERVER: name opc.tcp://HOST:PORT, or one of the configured OPC UA sources, which are: one, two$"),
        (None, "which are: one, two$"),
    ],
)
async def test_browse_names_what_it_can_look_at(server: str | None, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [plant(Plc(), name=name) for name in ("one", "two")]
    monkeypatch.setenv("EDGE_SOURCES", document(*both))
    with pytest.raises(SettingsError, match=message):
        await command("browse", *filter(None, [server]))


def pair(*endpoints: str, **given: Any) -> dict[str, Any]:
    source = {"name": "presses", "kind": "opcua", "endpoints": list(endpoints), "namespace_uri": NAMESPACE}
    return {**source, "identity": "source-time", "publishing_ms": 50, **given}


async def test_browse_shows_the_first_of_redundant_servers_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    away = Plc().endpoint
    async with plc(machines) as server:
        monkeypatch.setenv("EDGE_SOURCES", document(pair(away, server.endpoint, server_uri="urn:test:pair")))
        printed = await command("browse")
    assert printed.lines[0].startswith(f"warning: {away} can't be read: ")
    assert printed.lines[1].startswith(f"{server.endpoint}  urn:test:pair: 4 variables among ")
    with pytest.raises(SurveyError, match=f"{away} can't be read: .*; {server.endpoint} can't be read: "):
        await command("browse")


async def test_browse_shows_the_time_that_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def prepare(server: Plc) -> None:
        node = await server.add("press-1", 1)
        value = ua.DataValue(ua.Variant(1, ua.VariantType.Int32), ServerTimestamp=datetime(2026, 5, 1, 12, tzinfo=UTC))
        await server.server.write_attribute_value(node.nodeid, value)

    async with plc(prepare) as server:
        for choice, shown in (("server", "2026-05-01T12:00:00"), ("source-or-server", "2026-05-01T12:00:00")):
            monkeypatch.setenv("EDGE_SOURCES", document(plant(server, time=choice)))
            assert shown in line_of((await command("browse")).lines, "press-1")
        monkeypatch.setenv("EDGE_SOURCES", document(plant(server)))
        assert "2026-05-01T12:00:00" not in line_of((await command("browse")).lines, "press-1")


async def test_browse_does_not_subscribe_to_what_is_only_read(monkeypatch: pytest.MonkeyPatch) -> None:
    aligned = {"name": "presses", "kind": "opcua", "namespace_uri": NAMESPACE, "identity": "source-time"}
    async with plc(machines) as server:
        source = {**aligned, "endpoint": server.endpoint, "sampling": "aligned", "interval_seconds": 0.5}
        monkeypatch.setenv("EDGE_SOURCES", document(source))
        printed = await command("browse")
        assert "monitor" not in server.sizes
    assert line_of(printed.lines, "press-1").endswith("  every 500 ms")


async def test_try_reads_the_server_of_a_pair_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async with plc(machines) as server:
        monkeypatch.setenv("EDGE_SOURCES", document(pair(Plc().endpoint, server.endpoint)))
        printed = await command("try", "--seconds", "3", "--json")
    assert printed.status == 0
    assert {event["source"] for event in printed.events()} >= {f"{SERVER_URI}#nsu={NAMESPACE};s=press-1"}


def sends_nowhere(monkeypatch: pytest.MonkeyPatch, hub: StandIn, *sources: dict[str, Any]) -> None:
    monkeypatch.setenv("EDGE_SOURCES", document(*sources))
    monkeypatch.setenv("EDGE_UPLINK", "event-hubs")
    monkeypatch.setenv("EDGE_REPLICA", "edge-a")
    monkeypatch.setenv("EDGE_SPOOL_PATH", "memory")
    monkeypatch.setenv("EDGE_CONNECTION_STRING", hub.connection_string("telemetry"))


async def test_validate_connects_to_each_of_redundant_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = StandIn(HubOptions(amqp_port=0, mqtt_port=None))
    await hub.start()
    try:
        async with plc(machines) as one, plc(machines) as two:
            sends_nowhere(monkeypatch, hub, pair(one.endpoint, two.endpoint))
            both = await command("validate", "--connect", "--seconds", "10")
            away = Plc().endpoint
            sends_nowhere(monkeypatch, hub, pair(one.endpoint, away))
            half = await command("validate", "--connect", "--seconds", "8")
    finally:
        await hub.stop()
    assert both.status == 0, both.text
    for name in ("presses", f"presses at {one.endpoint}", f"presses at {two.endpoint}"):
        assert f"source {name}: connected: 4 variables" in both.lines
    assert "source URI" not in both.text  # one source by itself is no namesake of the whole
    assert half.status == 1
    assert "source presses: connected: 4 variables" in half.lines
    assert any(line.startswith(f"source presses at {away}: FAILED within 8 s: ") for line in half.lines)


@pytest.mark.parametrize("look_seconds", [redundancy.LOOK_SECONDS, 0.0], ids=["in-time", "too-late-for-the-source"])
async def test_validate_tells_of_redundant_servers_that_would_give_other_ids(
    monkeypatch: pytest.MonkeyPatch, look_seconds: float
) -> None:
    """Also where the server that is not read answers so late that the source goes on without having heard of it."""
    monkeypatch.setattr(redundancy, "LOOK_SECONDS", look_seconds)
    hub = StandIn(HubOptions(amqp_port=0, mqtt_port=None))
    await hub.start()
    try:
        async with plc(machines) as one, plc(machines, uri="urn:test:another") as two:
            sends_nowhere(monkeypatch, hub, pair(one.endpoint, two.endpoint))
            printed = await command("validate", "--connect", "--seconds", "10")
    finally:
        await hub.stop()
    assert printed.status == 1
    assert any("source presses: FAILED" in line and "set server_uri" in line for line in printed.lines)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    running = Mosquitto(tmp_path)
    await running.start()
    yield running
    running.stop()


def meters(broker: Mosquitto, **given: Any) -> dict[str, Any]:
    source = {"name": "meters", "kind": "mqtt", "host": "127.0.0.1", "port": broker.port, "topics": ["plant/#"]}
    return {**source, "uri_prefix": "mqtt://factory/", "identity": "content", **given}


async def test_try_prints_what_sources_of_all_kinds_deliver_meanwhile(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await broker.publish(("plant/a", b'{"n": 1}'), retain=True)
    (path := tmp_path / "export.jsonl").write_text('{"at": 1, "v": 2}\n')
    file = {"name": "history", "kind": "file", "format": "jsonl", "path": str(path), "uri": "urn:history", "time": "at"}
    async with plc(machines) as server:
        history = {**file, "time_format": "s", "identity": "source-time", "follow": True}
        monkeypatch.setenv("EDGE_SOURCES", document(plant(server), meters(broker), history))
        trying = asyncio.create_task(command("try", "--seconds", "5", "--json"))
        await until(lambda: bool(server.subscriptions), "try does not subscribe")
        await server.show(server.server.get_node(ua.NodeId("press-1", 2)), 22.5, at_ms=500)
        printed = await trying
    assert printed.status == 0
    events = [(event["source"].rpartition("=")[2], event["data"]) for event in printed.events()]
    assert ("press-1", {"value": 21.5, "status": 0}) in events
    assert ("press-1", {"value": 22.5, "status": 0}) in events
    assert ("mqtt://factory/plant/a", {"n": 1}) in events
    assert ("urn:history", {"at": 1, "v": 2}) in events
    summary = {entry["name"]: entry for entry in json.loads(printed.lines[-1])["summary"]}
    assert {name: entry["sources"] for name, entry in summary.items()} == {"presses": 4, "meters": 1, "history": 1}
    assert "sampling_ms" in str(summary["presses"]["notices"])


async def test_try_takes_nothing_from_the_sender_that_runs_here(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the broker keeps for the sender while it is away is still there when it comes back."""
    monkeypatch.setenv("EDGE_SOURCES", document(meters(broker)))
    monkeypatch.setenv("EDGE_REPLICA", "edge-a")
    source = check_sources({"sources": [meters(broker)]}).sources[0]
    for expected in ([], [{"n": 2}]):
        assert await delivered(make_source(source, client_id_of("edge-a", "meters"), SourceTally()), expected) == expected
        await broker.publish(("plant/a", b'{"n": 2}'))
        assert (await command("try", "--seconds", "1")).status == 0


async def delivered(sender: Source, expected: list[Any]) -> list[Any]:
    """What the sender gets when it comes back, as soon as it is as much as expected."""
    intake = ListIntake()
    running = asyncio.create_task(sender.run(intake))
    await until(lambda: sender.is_up, "the sender does not connect")
    await until(lambda: len(intake.samples) >= len(expected), "a message is lost")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return [sample.data for sample in intake.samples]


async def test_two_gateways_that_read_one_server_match_and_two_servers_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with plc(machines) as one, plc(machines) as two:
        for name, server in (("a", one), ("b", one), ("c", two)):
            if server is two:
                await two.show(two.server.get_node(ua.NodeId("press-1", 2)), 99.0, at_ms=250)
            monkeypatch.setenv("EDGE_SOURCES", document(plant(server)))
            printed = await command("try", "--seconds", "2", "--json")
            (tmp_path / f"{name}.jsonl").write_text(printed.text)
    same = await command("try", "--compare", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl"))
    other = await command("try", "--compare", str(tmp_path / "a.jsonl"), str(tmp_path / "c.jsonl"))
    assert (same.status, same.lines[0]) == (0, "a.jsonl and b.jsonl: 4 of 4 sources match")
    assert (other.status, other.lines[0]) == (1, "a.jsonl and c.jsonl: 3 of 4 sources match")
    assert "DIFFERENT" in other.lines[1]
    assert "press-1" in other.lines[1]
    assert "differ in data.value (1)" in other.text


async def test_validate_connects_to_everything_and_says_what_it_found(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = StandIn(HubOptions(amqp_port=0, mqtt_port=None))
    await stand_in.start()
    try:
        async with plc(machines) as server, secure_plc(files) as endpoint:
            monkeypatch.setenv("EDGE_SECRET_PLC", PASSWORD)
            secured = json.loads(config(endpoint, files, name="secured").model_dump_json(exclude_unset=True))
            monkeypatch.setenv("EDGE_SOURCES", document(plant(server, events={}), secured))
            monkeypatch.setenv("EDGE_UPLINK", "event-hubs")
            monkeypatch.setenv("EDGE_REPLICA", "edge-a")
            monkeypatch.setenv("EDGE_SPOOL_PATH", str(tmp_path / "spool.db"))
            monkeypatch.setenv("EDGE_CONNECTION_STRING", stand_in.connection_string("telemetry"))
            printed = await command("validate", "--connect")
            telemetry = stand_in.namespace.hubs["telemetry"].partitions
            assert not any(partition.entries for partition in telemetry)
    finally:
        await stand_in.stop()
    assert printed.status == 0, printed.text
    assert "source presses: connected: 4 variables and the events of 1 object" in printed.lines
    assert "source secured: connected: 1 variable" in printed.lines
    assert "uplink event-hubs: connected" in printed.lines
    assert any(line.startswith("    the server granted sampling_ms 100 instead of 0") for line in printed.lines)
    assert any(line.startswith(f"    own certificate {files['client']} is valid until 20") for line in printed.lines)
    assert any(line.startswith(f"    server certificate {files['server']} is valid until 20") for line in printed.lines)
    assert sum(line.startswith("    first reading: ") for line in printed.lines) == 2
    assert PASSWORD not in printed.text
    assert not (tmp_path / "spool.db").exists()


async def test_validate_says_what_can_not_be_reached_or_would_be_dropped(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await broker.publish(("plant/a", b'{"n": 1}'), retain=True)
    sources = (
        {**plant(Plc()), "name": "away"},
        meters(broker, name="silent", topics=["nothing"]),
        meters(broker, name="timeless", identity="source-time"),
    )
    monkeypatch.setenv("EDGE_SOURCES", document(*sources))
    monkeypatch.setenv("EDGE_UPLINK", "event-hubs")
    monkeypatch.setenv("EDGE_REPLICA", "edge-a")
    monkeypatch.setenv("EDGE_SPOOL_PATH", "memory")
    secret = "c2VjcmV0LW9mLXRoaXM="
    hub = f"Endpoint=sb://127.0.0.1:{free_port()};SharedAccessKeyName=a;SharedAccessKey={secret};EntityPath=x"
    monkeypatch.setenv("EDGE_CONNECTION_STRING", f"{hub};UseDevelopmentEmulator=true")
    printed = await command("validate", "--connect", "--seconds", "3")
    assert printed.status == 1
    assert any(re.match(r"source away: FAILED within 3 s: .*Connect call failed", line) for line in printed.lines)
    assert "source silent: connected" in printed.lines
    assert "    no reading yet, which is no fault of a source that is silent" in printed.lines
    assert "source timeless: FAILED" in printed.lines
    assert any(line.startswith("    readings get no id, and would be dropped: ") for line in printed.lines)
    assert any(line.startswith("uplink event-hubs: FAILED: ") for line in printed.lines)
    assert secret not in printed.text


TRIAL = document({"name": "trial", "kind": "synthetic", "identity": "sequence", "interval_seconds": 0.01})


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("validate", 1, "edge-sender: 2 settings are missing or wrong:\n"),
        ("browse opc.tcp://127.0.0.1:1", 1, "edge-sender: opc.tcp://127.0.0.1:1 can't be read: "),
        ("try --compare a b", 1, "edge-sender: a can't be read: No such file or directory\n"),
        ("try --seconds 0.5", 0, ""),
    ],
)
def test_the_program_ends_with_a_status_and_a_message(words: str, status: int, said: str, tmp_path: Path) -> None:
    done = _run(words, tmp_path)
    assert (done.returncode, done.stderr[: len(said)]) == (status, said)
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_ends_it() -> None:
    command = [sys.executable, "-m", "edge_sender", "try", "--seconds", "60"]
    trying = subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert trying.stdout
    assert trying.stderr
    assert trying.stdout.readline().startswith(b"trial  ")
    trying.stdout.close()
    assert trying.wait(50) == 1
    assert b"Traceback" not in trying.stderr.read()


def _run(words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_sender", *words.split()]
    return subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=60, check=False)


def _environment() -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.getcwd(),
        "EDGE_SOURCES": TRIAL,
        "EDGE_SPOOL_PATH": "/nowhere/spool.db",
    }
