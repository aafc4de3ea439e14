"""`edge-sender validate`: all that is wrong at once, without a network, a spool or a secret."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from edge_sender.bootstrap import OF_THE_RUNTIME
from edge_sender.config.settings import SettingsError
from tests.support.commands import command
from tests.support.senders import document

SECRET = "c2VjcmV0LW9mLXRoaXM="
DEVICE = f"HostName=hub.example;DeviceId=edge-a;SharedAccessKey={SECRET}"
HUB = f"Endpoint=sb://hub.example;SharedAccessKeyName=a;SharedAccessKey={SECRET};EntityPath=telemetry"
TRIAL = {"name": "trial", "kind": "synthetic", "identity": "sequence"}
PRESSES = {"name": "presses", "kind": "opcua", "endpoint": "opc.tcp://plc-1.example", "nodes": {}, "identity": "source-time"}
BROKER = {
    "name": "meters",
    "kind": "mqtt",
    "host": "broker.example",
    "topics": ["a"],
    "uri_prefix": "urn:",
    "identity": "content",
}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was used")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def given(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"EDGE_{name.upper()}", value)


@pytest.mark.parametrize(
    "uplink",
    [{"uplink": "iot", "connection_string": DEVICE}, {"uplink": "event-hubs", "replica": "a", "connection_string": HUB}, {}],
    ids=["iot", "event-hubs", "iot-edge"],
)
async def test_what_is_right_is_listed_and_nothing_is_reached_or_made(
    uplink: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in () if uplink else OF_THE_RUNTIME:
        monkeypatch.setenv(name, "https://runtime.example")
    given(monkeypatch, spool_path=str(tmp_path / "spool.db"), sources=document(TRIAL, PRESSES, BROKER), **uplink)
    given(monkeypatch, ha="active-passive", replica="a", witness="https://a.blob.core.windows.net/w?sig=" + SECRET)
    printed = await command("validate")
    assert printed.status == 0
    assert [line.partition(" (")[0] for line in printed.lines] == [
        "settings: ok",
        "source trial: ok",
        "source presses: ok",
        "source meters: ok",
    ]
    assert SECRET not in printed.text
    assert not list(tmp_path.iterdir())


async def test_all_problems_are_one_message_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    without_password = {"username": "edge", "password_env": "PASSWORD_THAT_IS_NOT_SET"}
    files = {name: f"/nowhere/{name}" for name in ("certificate", "private_key", "server_certificate")}
    sources = (
        {**PRESSES, "security_policy": "Basic256Sha256", **files},
        {**BROKER, **without_password},
        TRIAL,
    )
    given(monkeypatch, uplink="iot", connection_string=f"nonsense {SECRET}", spool_path="/nowhere/spool.db", http_port="x")
    given(monkeypatch, ha="active-passive", replica="a", witness=SECRET, sources=document(*sources))
    with pytest.raises(SettingsError) as caught:
        await command("validate")
    assert {problem.partition(":")[0] for problem in caught.value.problems} == {
        "EDGE_HTTP_PORT",
        "EDGE_CONNECTION_STRING",
        "EDGE_SPOOL_PATH",
        "EDGE_WITNESS",
        "source presses",
        "source meters",
    }
    assert SECRET not in str(caught.value)


async def test_a_runtime_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, spool_path="memory", sources=document(TRIAL))
    with pytest.raises(SettingsError, match=r"EDGE_UPLINK: the IoT Edge runtime.*IOTEDGE_WORKLOADURI.*not set"):
        await command("validate")


async def test_sources_of_the_twin_are_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, spool_path="memory", uplink="iot", connection_string=DEVICE, twin="true")
    printed = await command("validate")
    assert "settings and sources of the twin are not known here" in printed.text
    given(monkeypatch, sources="sources: [")
    with pytest.raises(SettingsError, match="EDGE_SOURCES: not valid YAML"):
        await command("validate")
