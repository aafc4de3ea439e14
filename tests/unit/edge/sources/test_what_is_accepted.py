"""What a sources' document is accepted with can be run: every setting with extreme values, each of which is refused or runs.
No server answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from edge_sender.bootstrap import configured_sources
from edge_sender.buffering.inbox import Inbox, IntakeOptions
from edge_sender.config.settings import SettingsError, load
from edge_sender.config.sources import SourcesDocument, check_sources
from edge_sender.counters import Counters
from edge_sender.namesakes import Namesakes
from edge_sender.ports import SourceConfigError
from sandbox.peers.processes import free_port

NUMBERS = (0, -1, 1, 1e-10, 1e-9, 1e300, 10**30, float("inf"), float("nan"))
TEXTS = ("", " ", "\0", "a b", "-", "x" * 5000, "é", "*", "{", "/")
IDENTITIES = ("time-bucket:inf", "time-bucket:1e-10", "time-bucket:1e300", "time-bucket:nan", "time-bucket:1+1e300")
COMMON = {"name": "a", "identity": "source-time"}


def usual(folder: str) -> list[dict[str, Any]]:
    port = free_port()
    return [
        {**COMMON, "kind": "synthetic"},
        {**COMMON, "kind": "mqtt", "host": "127.0.0.1", "port": port, "topics": ["a"], "uri_prefix": "x:"},
        {**COMMON, "kind": "file", "path": f"{folder}/a.csv", "format": "csv", "uri": "urn:{a}", "time": "a"},
        {**COMMON, "kind": "edgehub", "input": "plant", "format": "opc-publisher"},
        {**COMMON, "kind": "opcua", "endpoint": f"opc.tcp://127.0.0.1:{port}", "namespace_uri": "urn:n"},
    ]


def extremes(folder: str) -> list[dict[str, Any]]:
    found = []
    for source in usual(folder):
        (model,) = (item for item in KINDS if item.model_fields["kind"].annotation.__args__ == (source["kind"],))
        for name in model.model_fields.keys() - {"kind", "name", "sequence"}:
            found += [{**source, name: value} for value in (*NUMBERS, *TEXTS, [], ["a"], None, True)]
        found += [{**source, "identity": identity} for identity in IDENTITIES]
    return found


def kinds() -> tuple[Any, ...]:
    union = SourcesDocument.model_fields["sources"].annotation
    assert union is not None
    kinds: tuple[Any, ...] = union.__args__[0].__origin__.__args__
    return kinds


KINDS = kinds()


async def run(source: Any) -> None:
    """Raises what the source fails with."""
    counters = Counters()
    inbox = Inbox(IntakeOptions(100_000, "drop-newest", 0.0), counters, time.monotonic)
    running = asyncio.create_task(source.source.run(source.intake(inbox)))
    await asyncio.wait([running], timeout=0.3)
    if running.done():
        running.result()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_whatever_is_accepted_can_be_run(tmp_path: Any) -> None:
    (tmp_path / "a.csv").write_text("a,b\n2026-01-01T00:00:00Z,1\n")
    settings = load(replica="r", uplink="iot", connection_string="HostName=h;DeviceId=d;ModuleId=m;SharedAccessKey=a")
    accepted, refused = [], 0
    for document in extremes(str(tmp_path)):
        try:
            accepted += [
                (document, source)
                for source in configured_sources(settings, check_sources({"sources": [document]}), Namesakes())
            ]
        except (SourceConfigError, SettingsError):
            refused += 1
    assert refused > 300
    assert len(accepted) > 50
    for start in range(0, len(accepted), 100):
        part = accepted[start : start + 100]
        results = await asyncio.gather(*(run(source) for _, source in part), return_exceptions=True)
        assert [(document, result) for (document, _), result in zip(part, results, strict=True) if result is not None] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {**COMMON, "kind": "mqtt", "host": "", "topics": ["a"], "uri_prefix": "x:"},
        {**COMMON, "kind": "synthetic", "interval_seconds": 1e-10},
        {**COMMON, "kind": "synthetic", "identity": "time-bucket:inf"},
        {
            **COMMON,
            "kind": "mqtt",
            "host": "b",
            "topics": ["a"],
            "uri_prefix": "x:",
            "password_env": "EDGE_CONNECTION_STRING",
        },
    ],
)
def test_what_was_seen_to_end_senders_or_to_give_away_secrets_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SourceConfigError):
        check_sources({"sources": [wrong]})
