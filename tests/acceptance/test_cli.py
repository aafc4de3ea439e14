"""The commands as a person or an orchestrator runs them: real processes, signals and exit statuses."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.hub.stand_in import StandIn
from tests.support import hub
from tests.support.processes import DEADLINE_SECONDS, MINIMAL, NO_ANSWER, ServiceProcess


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env={**MINIMAL, **environment}, timeout=DEADLINE_SECONDS, check=False
    )


@pytest.mark.parametrize("command", ["dedup_service", "dedup_service run", "edge_sender", "edge_sender run", "sandbox hub"])
def test_every_command_explains_itself(command: str) -> None:
    done = run(*command.split(), "--help")
    assert done.returncode == 0
    assert "usage:" in done.stdout


@pytest.mark.parametrize(
    ("module", "settings"),
    [
        ("dedup_service", ["DEDUP_REDIS_URL", "DEDUP_INPUT_CONSUMER_GROUP", "DEDUP_DEAD_LETTER_CONNECTION_STRING"]),
        ("edge_sender", ["EDGE_SOURCES_FILE", "EDGE_UPLINK"]),
    ],
)
def test_settings_that_are_missing_stop_the_start_with_one_message(module: str, settings: list[str]) -> None:
    done = run(module, "run")
    assert done.returncode != 0
    assert [name for name in settings if f"\n{name}: " not in done.stderr] == []
    assert "xample" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def service(stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str) -> Iterator[ServiceProcess]:
    made = ServiceProcess(stand_in, redis_url, tmp_path, namespace)
    yield made
    made.process.kill()
    made.process.wait()


async def clean_ids(stand_in: StandIn) -> list[int]:
    received = await hub.read_all(stand_in.connection_string("clean"))
    return sorted(int(item.properties[b"cloudEvents_id"]) for item in received)


async def test_sigterm_finishes_releases_and_exits_in_order(stand_in: StandIn, service: ServiceProcess) -> None:
    telemetry = stand_in.connection_string("telemetry")
    await hub.send(telemetry, [hub.single(str(n)) for n in range(20)])
    await service.until("input_events", 20)
    service.process.send_signal(signal.SIGTERM)
    assert await service.wait() == 0
    service.start()
    await hub.send(telemetry, [hub.single(str(n)) for n in range(20, 25)])
    await service.until("input_events", 25)
    assert await clean_ids(stand_in) == list(range(25))
    assert (await service.answer("stats"))["totals"]["replays"] == 0


async def test_sigkill_loses_nothing(stand_in: StandIn, service: ServiceProcess) -> None:
    """R3 and R8: whatever the service was doing, each reading is in the clean stream exactly once."""
    telemetry = stand_in.connection_string("telemetry")
    await service.until("input_events", 0)
    for kill in range(3):
        batches = [hub.single(str(kill * 100 + n)) for n in range(100)]
        sending = asyncio.create_task(hub.send(telemetry, batches, str(kill)))
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(await clean_ids(stand_in)) < kill * 100 + 10:
                await asyncio.sleep(0.05)
        service.process.kill()
        await service.wait()
        await sending
        service.start()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while set(await clean_ids(stand_in)) != set(range(300)):
            await asyncio.sleep(0.1)
    assert await clean_ids(stand_in) == list(range(300))


async def test_logs_are_json_lines_without_secrets(stand_in: StandIn, service: ServiceProcess) -> None:
    await service.until_ready()
    service.process.send_signal(signal.SIGTERM)
    await service.wait()
    text = service.log_path.read_text()
    events = [json.loads(line)["event"] for line in text.splitlines()]
    assert next(event for event in events if not event.startswith("dependency_")) == "started"
    assert events[-1] == "stopped"
    assert stand_in.namespace.key not in text


async def test_a_wrong_key_stops_the_start_with_the_name_of_the_setting(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    wrong = stand_in.connection_string("telemetry").replace(stand_in.namespace.key, "wrong")
    service = ServiceProcess(stand_in, redis_url, tmp_path, namespace, DEDUP_INPUT_CONNECTION_STRING=wrong)
    assert await service.wait() == 2
    assert "DEDUP_INPUT_CONNECTION_STRING: " in service.log_path.read_text()


async def test_a_port_that_is_taken_is_named(stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str) -> None:
    taken = str(stand_in.amqp_port)
    service = ServiceProcess(stand_in, redis_url, tmp_path, namespace, DEDUP_HTTP_PORT=taken)
    assert await service.wait() == 2
    assert "DEDUP_HTTP_PORT: " in service.log_path.read_text()


async def test_a_redis_that_is_unavailable_makes_the_service_wait_and_not_fail(
    stand_in: StandIn, tmp_path: Path, namespace: str
) -> None:
    service = ServiceProcess(stand_in, "redis://127.0.0.1:1", tmp_path, namespace)
    await service.until_alive()
    started, answers = time.monotonic(), set()
    while time.monotonic() - started < 3:
        answers.add(tuple([await asyncio.to_thread(service.status, path) for path in ("/healthz", "/readyz")]))
        await asyncio.sleep(0.2)
    assert {both for both in answers if NO_ANSWER not in both} == {(200, 503)}
    service.process.send_signal(signal.SIGTERM)
    assert await service.wait() == 0
    assert len(service.log_path.read_text().splitlines()) < 6
