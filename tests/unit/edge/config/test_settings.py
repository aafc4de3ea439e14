"""The edge's settings, sources' document and twin: errors name what is wrong, and secrets stay secret."""

from __future__ import annotations

from typing import Any

import pytest

from edge_sender.bootstrap import sender_options
from edge_sender.config.opcua import OpcUaConfig
from edge_sender.config.settings import TWIN_SETTINGS, EdgeSettings, SettingsError, load, with_twin
from edge_sender.config.sources import check_sources
from edge_sender.ports import SourceConfigError

SOURCES = "{sources: [{name: a, kind: synthetic, identity: sequence}]}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"uplink": "iot"}, "EDGE_CONNECTION_STRING: is required"),
        ({"uplink": "event-hubs", "connection_string": "x"}, "EDGE_REPLICA: is required"),
        ({"ha": "active-passive"}, "EDGE_WITNESS: is required with EDGE_HA=active-passive.*example"),
        ({"spool_when_full": "explode"}, "EDGE_SPOOL_WHEN_FULL: .*example"),
        (
            {"ha": "active-passive", "replica": "a", "witness": "x", "overlap_seconds": 5},
            "EDGE_OVERLAP_SECONDS: must be longer",
        ),
    ],
)
def test_the_edge_names_the_setting_that_is_wrong(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(**given)


def test_all_that_is_wrong_is_said_at_once() -> None:
    given = {"uplink": "event-hubs", "twin": True, "ha": "active-passive", "overlap_seconds": 5, "http_port": "x"}
    with pytest.raises(SettingsError) as caught:
        load(**given)
    heading, *lines = str(caught.value).splitlines()
    assert heading == "6 settings are missing or wrong:"
    assert {line.partition(":")[0] for line in lines} == {
        f"EDGE_{name}" for name in ("HTTP_PORT", "CONNECTION_STRING", "REPLICA", "UPLINK", "WITNESS", "OVERLAP_SECONDS")
    }
    assert all(", for example EDGE_" in line for line in lines)


def test_any_number_of_wrong_settings_is_one_message() -> None:
    with pytest.raises(SettingsError) as caught:
        load(**{name: object() for name in EdgeSettings.model_fields})
    for name in EdgeSettings.model_fields:
        assert f"EDGE_{name.upper()}: " in str(caught.value)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (None, "EDGE_SOURCES_FILE: is required.*example EDGE_SOURCES_FILE="),
        ("sources: [", "EDGE_SOURCES: not valid YAML in line 1"),
        ("{sources: []}", "EDGE_SOURCES: sources"),
        (SOURCES.replace("sequence", "guid"), r"sources\[0\].synthetic.identity: 'guid' is not one of source-time"),
        (SOURCES.replace("name: a", "name: a, sped: 3"), r"sources\[0\].synthetic.sped: Extra"),
        (
            "{sources: [{name: a, kind: synthetic, identity: content}, {name: a, kind: synthetic, identity: content}]}",
            "twice",
        ),
        (SOURCES.replace("name: a", "name: a, sequence: {counter: n}"), "sequence.counter: 'n' is no JSON pointer"),
        (SOURCES.replace("name: a", 'name: a, sequence: {epoch: ""}'), "sequence.epoch: must name a member"),
        (SOURCES.replace("name: a", "name: a, sequence: {counter: /epoch}"), "must be different members"),
        (
            SOURCES.replace("name: a", "name: a, sequence: {restarts: ignore}"),
            "sequence.restarts: .*'report' or 'new-epoch'",
        ),
        (
            "{sources: [{name: a, kind: file, path: a.csv, format: csv, uri: 'urn:a', identity: sequence, "
            "sequence: {restarts: new-epoch}}]}",
            "restarts: new-epoch needs source times: set time",
        ),
    ],
)
def test_the_sources_document_names_the_place_that_is_wrong(sources: str | None, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load(sources=sources).sources_document()


ALIGNED = {
    "name": "a",
    "kind": "opcua",
    "endpoint": "opc.tcp://plc:4840",
    "namespace_uri": "urn:m",
    "identity": "source-time",
    "sampling": "aligned",
    "interval_seconds": 1,
}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"interval_seconds": None}, "aligned needs interval_seconds, for example"),
        ({"sampling": "subscription"}, "interval_seconds needs sampling: aligned"),
        ({"deadband": 0.5}, "deadband is a setting of subscriptions"),
        ({"time": "server"}, "time: server can't be had with sampling: aligned, where the time is the moment of reading"),
        ({"time": "source-or-server"}, "time: source-or-server can't be had with sampling: aligned"),
        ({"nodes": {"overrides": [{"path": "/a", "sampling_ms": 5}]}}, "nodes.overrides are settings of subscriptions"),
        ({"identity": "*/a=source-time,*=content"}, "can't have the identity content: the values .* may differ"),
        ({"identity": "source-time+value"}, "can't have the identity source-time.value"),
        ({"identity": "time-bucket:1.5"}, "can't have the identity time-bucket: its interval is longer"),
    ],
)
def test_aligned_sampling_takes_only_what_makes_ids_match(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceConfigError, match=rf"sources\[0\].opcua: .*{message}"):
        check_sources({"sources": [{**ALIGNED, **given}]})


@pytest.mark.parametrize("identity", ["source-time", "time-bucket:1", "time-bucket:0.5+0.1", "sequence"])
def test_aligned_sampling_has_its_interval(identity: str) -> None:
    (source,) = check_sources({"sources": [{**ALIGNED, "identity": identity}]}).sources
    assert isinstance(source, OpcUaConfig)
    assert source.interval_ns == 10**9


def test_a_twin_sets_only_what_it_may() -> None:
    settings = load(sources=SOURCES, connection_string="HostName=x;SharedAccessKey=secret")
    changed, sources = with_twin(settings, {"$version": 3, "batch_max_readings": 7, "overlap_seconds": None})
    assert (changed.batch_max_readings, sources.sources[0].name) == (7, "a")
    assert changed.connection_string == settings.connection_string
    _, other = with_twin(settings, {"sources": [{"name": "b", "kind": "synthetic", "identity": "content"}]})
    assert other.sources[0].name == "b"
    for desired in (
        {"connection_string": "x"},
        {"spool_path": "/x"},
        {"batch_max_readings": 0},
        {"sources": [{"name": "b"}]},
    ):
        with pytest.raises(SettingsError):
            with_twin(settings, desired)


def test_the_memory_is_bounded_in_number_and_bytes() -> None:
    """The twin may set both, and the bound on bytes is there without being set."""
    settings = load(sources=SOURCES, connection_string="HostName=x;SharedAccessKey=secret", memory_bytes=2**21)
    assert sender_options(settings).intake.memory_bytes == 2**21
    usual = load(sources=SOURCES, connection_string="HostName=x;SharedAccessKey=secret")
    assert sender_options(usual).intake.memory_bytes == 64 * 2**20
    assert {"memory_bytes", "memory_readings"} <= TWIN_SETTINGS


def test_the_edge_shows_no_secret() -> None:
    settings = load(uplink="iot", connection_string="SharedAccessKey=hunter2", witness="sig=hunter2")
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(settings.model_dump())


TURNS = {
    "uplink": "event-hubs",
    "connection_string": "Endpoint=sb://h",
    "replica": "edge-a",
    "ha": "active-passive",
    "witness": "https://w/c?sig=x",
    "peers": "edge-b:9465, [fd00::1]:9466",
    "peers_key": "a key of sixteen characters",
}


def test_peers_are_addresses() -> None:
    assert load(**TURNS).peer_addresses() == [("edge-b", 9465), ("fd00::1", 9466)]
    assert load(**{**TURNS, "peers": "", "peers_key": None}).peer_addresses() == []


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"peers": "edge-b"}, "EDGE_PEERS: 'edge-b' is not HOST:PORT"),
        ({"peers": "edge-b:0"}, "EDGE_PEERS: 'edge-b:0' is not HOST:PORT"),
        ({"peers": ":9465"}, "EDGE_PEERS: ':9465' is not HOST:PORT"),
        ({"peers_key": None}, "EDGE_PEERS_KEY: is required with EDGE_PEERS"),
        ({"peers_key": "short"}, "EDGE_PEERS_KEY: is required with EDGE_PEERS, and has at least 16 characters"),
        ({"ha": "duplicate"}, "EDGE_PEERS: only replicas that take turns have peers"),
        ({"without_witness": "stop"}, "EDGE_PEERS: with EDGE_WITHOUT_WITNESS=stop"),
        ({"heartbeat_ms": 10}, "EDGE_HEARTBEAT_MS: "),
    ],
)
def test_peers_that_can_not_be_heard_are_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(**{**TURNS, **wrong})
    assert named in str(error.value)
