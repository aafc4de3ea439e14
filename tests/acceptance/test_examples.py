"""The examples of senders in other languages: two of them, and the real service, make each reading appear once."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sandbox.hub.stand_in import StandIn
from sandbox.peers.node import NODE, NPM, install_node_packages, node_environment
from tests.support import golang, hub
from tests.support.processes import DEADLINE_SECONDS, ServiceProcess
from wire.ids import Sample, SourceTime, reading_id

EXAMPLES = Path(__file__).parents[2] / "examples"
VECTORS = json.loads((EXAMPLES.parent / "tests" / "vectors" / "reading_ids.json").read_text())
START_NS = 1_772_439_300_000_000_000
COUNT = 2400
"""Of some 300 bytes each, so that they do not fit into one message."""

pytestmark = pytest.mark.timeout(golang.BUILD_SECONDS + 120)

Command = list[str]


def readings() -> list[dict[str, Any]]:
    """Of three sources, in steps of 100 ms; also with an offset, and with all nine digits that a time may have."""
    made = []
    for number in range(COUNT):
        second, tenth = divmod(number // 3, 10)
        minute, second = divmod(second, 60)
        form = ("{:02}.{}Z", "{:02}.{}00000000+00:00", "{:02}.{}00000001Z")[number % 3]
        time = f"2026-03-02T08:{15 + minute}:" + form.format(second, tenth)
        made.append({"source": f"urn:press/{number % 3}", "time": time, "data": {"value": number + 0.5, "unit": "°C"}})
    return made


def as_line(reading: dict[str, Any]) -> str:
    """Written as JavaScript writes it: the example in Go sends the data as they are written, and bodies are compared."""
    return json.dumps(reading, ensure_ascii=False, separators=(",", ":"))


def expected_ids() -> Counter[tuple[str, str]]:
    """(source, id) of each reading, once, by the edge sender's own code."""
    ids: Counter[tuple[str, str]] = Counter()
    for number in range(COUNT):
        source = f"urn:press/{number % 3}"
        time_ns = START_NS + number // 3 * 100_000_000 + (number % 3 == 2)
        ids[source, reading_id(source, "source-time", SourceTime().fields(Sample(source, time_ns, None)))] += 1
    return ids


@pytest.fixture(scope="module")
def sender_in(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Command]:
    """The command of the example in a language, installed or built."""

    def command(language: str) -> Command:
        if language == "go":
            return [str(golang.build(golang.EXAMPLE, tmp_path_factory.mktemp("go")))]
        install_node_packages(EXAMPLES / "javascript")
        return [str(NODE), str(EXAMPLES / "javascript" / "send.mjs")]

    return cache(command)


@pytest.fixture
async def service(stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str) -> AsyncIterator[ServiceProcess]:
    process = ServiceProcess(stand_in, redis_url, tmp_path, namespace)
    await process.until_ready()
    yield process
    process.process.terminate()
    assert await process.wait() == 0


def send(command: Command, connection_string: str, replica: str, lines: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input="\n".join([*lines, ""]),
        env={"PATH": os.defpath, "HUB_CONNECTION_STRING": connection_string, "REPLICA": replica},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("languages", [("javascript", "javascript"), ("javascript", "go")], ids="+".join)
async def test_two_replicas_send_and_each_reading_is_in_the_clean_hub_once(
    languages: tuple[str, str], sender_in: Callable[[str], Command], stand_in: StandIn, service: ServiceProcess
) -> None:
    """Also where one of them stopped in the middle and sends everything again, as its message says."""
    telemetry, lines = stand_in.connection_string("telemetry"), [as_line(reading) for reading in readings()]
    a, b = [await asyncio.to_thread(sender_in, language) for language in languages]
    stopped = await asyncio.to_thread(send, b, telemetry, "b", [*lines[:2000], "{"])
    assert stopped.returncode == 1
    assert "Send it again" in stopped.stderr
    begun = sum(len(partition.entries) for partition in stand_in.namespace.hubs["telemetry"].partitions)
    assert 0 < begun < 2000
    both = (asyncio.to_thread(send, command, telemetry, replica, lines) for command, replica in ((a, "a"), (b, "b")))
    for done in await asyncio.gather(*both):
        assert done.returncode == 0, done.stderr
    await service.until_finished(stand_in)
    clean = [hub.properties(event) for event in await hub.read_all(stand_in.connection_string("clean"))]
    found = Counter((one["cloudEvents_source"].decode(), one["cloudEvents_id"].decode()) for one in clean)
    assert found == expected_ids()
    async with asyncio.timeout(DEADLINE_SECONDS):
        figures: list[dict[str, Any]] = []
        while [item["coverage"] for item in figures] != [1, 1]:  # an answer may be older than what is finished
            figures = [item["figures"]["24h"] for item in await service.answer("replicas")]
    assert [item["conflicts"] for item in figures] == [0, 0]


@pytest.mark.parametrize("language", ["javascript", "go"])
@pytest.mark.parametrize("line", ['{"source":"urn:a","data":1}', '{"time":"2026-03-02T08:15:00Z","data":1}', "nonsense"])
async def test_a_reading_that_can_have_no_id_is_not_sent_and_named(
    language: str, line: str, sender_in: Callable[[str], Command], stand_in: StandIn
) -> None:
    command = await asyncio.to_thread(sender_in, language)
    done = await asyncio.to_thread(send, command, stand_in.connection_string("telemetry"), "a", [line])
    assert done.returncode == 1
    assert line in done.stderr
    assert not any(partition.entries for partition in stand_in.namespace.hubs["telemetry"].partitions)


def commands(page: Path) -> str:
    """The indented blocks of a page, as one script."""
    return "".join(line[4:] for line in page.read_text().splitlines(keepends=True) if line.startswith("    "))


@pytest.mark.parametrize("language", ["javascript", "go"])
async def test_the_commands_of_the_pages_do_what_they_say(language: str, stand_in: StandIn, tmp_path: Path) -> None:
    if language == "go" and golang.go() is None:
        pytest.skip("needs Go")
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("node_modules"))
    shutil.copytree(EXAMPLES.parent / "tests" / "vectors", tmp_path / "tests" / "vectors")
    (npm := tmp_path / "npm").write_text(f'#!/bin/sh\nexec {NODE} {NPM} "$@"\n')
    npm.chmod(0o755)
    node = node_environment()
    telemetry, first = stand_in.connection_string("telemetry"), commands(EXAMPLES / "README.md")
    script = first.replace("Endpoint=sb://…;EntityPath=telemetry", telemetry) + commands(EXAMPLES / language / "README.md")
    assert telemetry in script
    done = await asyncio.to_thread(
        subprocess.run,
        ["bash", "-euxc", script],
        cwd=tmp_path / "examples" / language,
        env={**node, "PATH": f"{tmp_path}{os.pathsep}{node['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (event,) = await hub.read_all(telemetry)
    assert hub.properties(event)["cloudEvents_replica"] == {"javascript": b"press-a", "go": b"press-b"}[language]


def test_the_example_in_go_gives_every_golden_vector_its_id() -> None:
    printed = golang.run("test", "-count=1", "-v", "./readingid", folder=golang.EXAMPLE)
    assert printed.count("    --- PASS: TestVectors/") == len(VECTORS["ids"]) + len(VECTORS["samples"])
