"""`edge-sender try`: readings exactly as `run` would send them, and nothing is sent, kept or left behind."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from edge_sender.bootstrap import make_sender
from edge_sender.config.settings import SettingsError, load
from tests.doubles.uplink import ListUplink
from tests.support.commands import command
from tests.support.senders import document, until

LINES = """time,tag,value
2026-01-31T06:00:00Z,a,1.5
2026-01-31T06:00:01.123456789Z,b 1,text
never,a,2
2026-01-31T06:00:02Z,a,3
"""


@pytest.fixture
def file(tmp_path: Path) -> dict[str, Any]:
    (path := tmp_path / "export.csv").write_text(LINES)
    how = {"kind": "file", "format": "csv", "uri": "urn:{tag}", "time": "time"}
    return {"name": "history", "path": str(path), "identity": "source-time", **how}


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing that only sending needs is set; the spool's folder is there."""
    (folder := tmp_path / "spool").mkdir()
    monkeypatch.setenv("EDGE_SPOOL_PATH", str(folder / "spool.db"))
    return folder


async def test_events_are_byte_for_byte_those_that_run_sends(
    file: dict[str, Any], spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_SOURCES", document(file))
    printed = await command("try", "--seconds", "30", "--json")  # ends when the file is read
    settings = load(spool_path="memory", http_port=0, uplink="iot", connection_string="x")
    sender, stop = make_sender(settings, settings.sources_document(), uplink := ListUplink()), asyncio.Event()
    running = asyncio.create_task(sender.run(stop))
    await until(lambda: sender.counters.sent_readings == 3, "run does not send")
    stop.set()
    await running
    sent = b"".join(message.body[1:-1] for message in uplink.messages)
    tried = ",".join(line[line.index('"event":') + 8 : -1] for line in printed.lines if '"event":' in line)
    assert tried.encode() == sent
    assert printed.status == 0
    assert not list(spool.iterdir())


async def test_the_text_has_a_line_for_each_reading_and_says_at_the_end_what_became_of_all(
    file: dict[str, Any], spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_time = {**file, "name": "timeless", "time": None}
    monkeypatch.setenv("EDGE_SOURCES", document(file, without_time))
    printed = await command("try", "--seconds", "30")
    readings = [line for line in printed.lines if line.startswith("history  ")]
    event = (await command("try", "--seconds", "30", "--json")).events()[1]
    assert f"history  2026-01-31T06:00:01.123456789Z  {event['id']}  urn:b%201  " in readings[1]
    assert readings[1].endswith(json.dumps(event["data"], separators=(",", ":")))
    assert "3 readings would have been sent; nothing was" in printed.lines
    assert "  history (file, identity source-time): 3 readings of 2 sources" in printed.lines
    assert "    no readings: 1 line" in printed.lines
    assert "  timeless (file, identity source-time): 0 readings of 2 sources" in printed.lines
    assert sum("DROPPED, no id: " in line for line in printed.lines) == 4
    assert any(line.startswith("    DROPPED: 4 without an id: ") and line.endswith(" (4)") for line in printed.lines)


async def test_a_limit_bounds_what_is_printed_of_each_source_and_not_what_is_counted(
    file: dict[str, Any], spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_SOURCES", document(file))
    printed = await command("try", "--seconds", "30", "--limit", "1")
    assert [line[:7] for line in printed.lines].count("history") == 1
    assert "3 readings would have been sent; nothing was" in printed.lines


async def test_a_source_that_does_not_work_is_named_with_its_reason(
    file: dict[str, Any], spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_SOURCES", document({**file, "path": "/nowhere/export.csv"}))
    printed = await command("try", "--seconds", "0.5")
    assert printed.status == 1
    assert any("PROBLEM: " in line and "/nowhere" in line for line in printed.lines)


async def test_what_can_be_no_event_is_told_all_the_same(
    spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path := tmp_path / "odd.jsonl").write_text('{"t": 99999999999999, "v": "\\ud800"}\n{"t": 1, "v": "\\ud800"}\n')
    source = {
        "name": "odd",
        "kind": "file",
        "format": "jsonl",
        "path": str(path),
        "uri": "urn:odd",
        "identity": "source-time",
    }
    monkeypatch.setenv("EDGE_SOURCES", document({**source, "time": "t", "time_format": "s"}))
    text = await command("try", "--seconds", "30")
    told = [json.loads(line) for line in (await command("try", "--seconds", "30", "--json")).lines]
    assert text.text.encode()
    assert "0 readings would have been sent" in text.text
    assert [line["event"]["source"] for line in told if "dropped" in line] == ["urn:odd"] * (len(told) - 2)


@pytest.mark.parametrize("words", [("try",), ("browse",)])
async def test_only_what_sources_need_must_be_right(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of what only sending needs is asked for; what sources need is."""
    monkeypatch.setenv("EDGE_UPLINK", "no such thing")
    monkeypatch.setenv("EDGE_HA", "active-passive")
    with pytest.raises(SettingsError) as caught:
        await command(*words)
    assert caught.value.problems == (
        "EDGE_SOURCES_FILE: is required, or EDGE_SOURCES, for example EDGE_SOURCES_FILE=/etc/edge/sources.yaml",
    )
    monkeypatch.setenv("EDGE_REPLICA", "a b")
    with pytest.raises(SettingsError, match="EDGE_REPLICA"):
        await command(*words)
