"""`dedup-service check` and `init`, as `helm test`, a container's health check and a person use them."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.hub.stand_in import StandIn
from sandbox.peers.processes import free_port
from tests.support.chart import load_values, of_kind, render
from tests.support.expired import let_expire
from tests.support.processes import DEADLINE_SECONDS, ServiceProcess


@pytest.fixture
async def service(stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str) -> AsyncIterator[ServiceProcess]:
    send = {"DEDUP_CHECK_CONNECTION_STRING": stand_in.connection_string("telemetry"), "DEDUP_API_TOKEN": "hunter2"}
    running = ServiceProcess(stand_in, redis_url, tmp_path, namespace, **send)
    await running.until_ready()
    yield running
    running.process.kill()
    running.process.wait()


async def command(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    started = [sys.executable, "-m", "dedup_service", *arguments]
    done = await asyncio.to_thread(
        subprocess.run, started, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert "hunter2" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


async def check(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    """What `check` says of a service that answers: on a busy machine it may take longer than `check` waits."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            code, printed = await command(environment, "check", *arguments)
            if not re.search(r"/(healthz|readyz|metrics|v1/stats): (no answer|HTTP 503)", printed):
                return code, printed


async def test_a_service_that_is_well_passes(service: ServiceProcess) -> None:
    assert await check(service.environment, "--health") == (0, "healthy\n")
    code, printed = await check(service.environment)
    assert (code, "ready: mode drop, 1 pods" in printed) == (0, True), printed


async def test_a_doubtful_identity_is_warned_about_and_is_no_failure(service: ServiceProcess, tmp_path: Path) -> None:
    options = '{source: ["system:message-id"], time: /ts}'
    (path := tmp_path / "groups.yaml").write_text(f"groups: [{{name: press, format: json, format_options: {options}}}]")
    environment = {**service.environment, "DEDUP_CONFIG_FILE": str(path)}
    code, printed = await check(environment)
    assert code == 0, printed
    warning = "warning: DEDUP_CONFIG_FILE: group press, format_options.source: system:message-id is normally made anew by"
    assert warning in printed
    assert await check(environment, "--health") == (0, "healthy\n")


async def test_a_service_whose_claims_could_not_be_rebuilt_passes_with_a_warning(
    service: ServiceProcess, stand_in: StandIn
) -> None:
    let_expire(stand_in, 3600)
    code, printed = await check({**service.environment, "DEDUP_WINDOW_SECONDS": "7200"})
    assert (code, "warning: the clean hub keeps events for about 36" in printed) == (0, True), printed


async def test_a_reading_makes_the_round_trip(service: ServiceProcess) -> None:
    code, printed = await check(service.environment, "--round-trip")
    assert (code, "3 copies sent, 1 in the clean hub" in printed) == (0, True), printed


@pytest.mark.parametrize(
    ("group", "problem"),
    [
        ("{name: presses, devices: [edge-*]}", "no group has the device dedup-check-0"),
        (
            "{name: presses, sources: ['urn:press-*']}",
            "group presses, .* does not allow the source urn:redundant-edge-dedup:check",
        ),
        (
            "{name: presses, format: json, format_options: {source: [/s], time: /ts}}",
            "group presses, .* does not read CloudEvents",
        ),
        ("{name: presses, mode: observe}", "group presses, .* has mode observe"),
    ],
)
async def test_a_round_trip_that_no_group_would_publish_says_what_is_missing(
    service: ServiceProcess, tmp_path: Path, group: str, problem: str
) -> None:
    (path := tmp_path / "groups.yaml").write_text(f"groups: [{group}]")
    code, printed = await check({**service.environment, "DEDUP_CONFIG_FILE": str(path)}, "--round-trip")
    assert (code, re.search(f"{problem}.*Add this group before all others: {{name: dedup-check", printed) is not None) == (
        1,
        True,
    ), printed


async def test_the_chart_brings_the_group_of_the_round_trip(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    """With groups that filter devices, as the documentation shows them."""
    values = {**load_values("trial"), "config": {"groups": [{"name": "presses", "devices": ["edge-press-*"]}]}}
    (rendered,) = of_kind(render(values), "ConfigMap")
    (path := tmp_path / "groups.yaml").write_text(rendered["data"]["groups.yaml"])
    send = {"DEDUP_CHECK_CONNECTION_STRING": stand_in.connection_string("telemetry"), "DEDUP_CONFIG_FILE": str(path)}
    running = ServiceProcess(stand_in, redis_url, tmp_path, namespace, **send)
    try:
        await running.until_ready()
        code, printed = await check(running.environment, "--round-trip")
        assert (code, "3 copies sent, 1 in the clean hub" in printed) == (0, True), printed
        silent = await running.answer("replicas?state=silent")
        assert silent == []  # nobody is to miss the copies' senders afterwards
    finally:
        running.process.kill()
        running.process.wait()


async def test_a_service_that_publishes_nothing_fails_the_round_trip(service: ServiceProcess, stand_in: StandIn) -> None:
    stand_in.namespace.hubs["clean"].faults.refuse = "com.microsoft:server-busy"
    code, printed = await check(service.environment, "--round-trip", "--timeout", "5")
    assert (code, "did not get through in 5 s" in printed) == (1, True), printed


async def test_a_service_that_does_not_answer_fails(service: ServiceProcess) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    for flags in (["--health"], []):
        code, printed = await command(service.environment, "check", "--url", nobody, *flags)
        assert (code, f"{nobody}/healthz: no answer" in printed) == (1, True), printed
    code, printed = await check({**service.environment, "DEDUP_API_TOKEN": "wrong"})
    assert (code, "/v1/stats: HTTP 401" in printed) == (1, True), printed


async def test_init_creates_the_container_once(service: ServiceProcess, azurite: str, namespace: str) -> None:
    environment = {**service.environment, "DEDUP_CHECKPOINT_URL": f"{azurite};ContainerName={namespace}"}
    assert await command(environment, "init") == (0, "the checkpoint container was created\n")
    assert await command(environment, "init") == (0, "the checkpoint container already exists\n")
    away = azurite.replace(azurite.rpartition("BlobEndpoint=")[2], f"http://127.0.0.1:{free_port()}/a")
    code, printed = await command({**environment, "DEDUP_CHECKPOINT_URL": away}, "init")
    assert (code, printed.startswith("dedup-service: DEDUP_CHECKPOINT_URL: ")) == (2, True), printed
