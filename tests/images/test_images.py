"""The images, as far as they can be tested without a container engine.

The Dockerfile's steps are repeated in a clean folder, and what was installed is started as a container starts it, as an
unprivileged user.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.hub.stand_in import StandIn
from sandbox.peers.processes import free_port
from tests.support.dockerfile import ROOT, Image, stages
from tests.support.processes import DEADLINE_SECONDS, ServiceProcess

TARGETS = ("service", "edge", "sandbox")
BUILD_SECONDS = 600


def as_nobody(image: Image) -> dict[str, Any]:
    """Options of a process that can't write to the image's files, as on a read-only file system.

    Empty where that can't be tested: without root, or where other users may not run this Python.
    """
    user, group = (int(part) for part in image.user.split(":"))
    options: dict[str, Any] = {"user": user, "group": group, "extra_groups": []}
    if os.geteuid() != 0:
        return {}
    python = image.inside("/opt/venv") / "bin" / "python"
    try:
        subprocess.run([str(python), "-c", ""], check=True, cwd="/", **options)
    except PermissionError:
        return {}
    return options


class Images:
    """By target, each built once per test process, where any user may read."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._built: dict[str, Image] = {}

    def of(self, target: str) -> Image:
        if target not in self._built:
            root = Path(tempfile.mkdtemp(prefix=target, dir=self._root))
            root.chmod(0o755)
            image = Image(root, target)
            image.build()
            self._built[target] = image
        return self._built[target]


@pytest.fixture(scope="module")
def images() -> Iterator[Images]:
    """Not in pytest's folders, which are closed to other users, again and again."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Images(Path(folder))


def test_hadolint_has_no_complaints() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([str(hadolint), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_starts_its_program_directly_and_as_an_unprivileged_user(target: str) -> None:
    stage = stages()[target]
    steps = dict(stage.steps)
    assert steps["ENTRYPOINT"].startswith("[")  # no shell in between: signals reach the process
    assert dict(stages()[stage.parent].steps)["USER"] == "10001:10001"
    assert not any(name in ("ADD", "VOLUME") for name, _ in stage.steps)


def test_everything_is_installed_by_its_hash() -> None:
    for stage in stages().values():
        for instruction, line in stage.steps:
            if instruction == "RUN" and "pip install" in line:
                assert "--require-hashes --only-binary :all:" in line or "--no-deps --no-index" in line, line


def test_the_build_sees_only_what_it_needs() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    copied = {
        word
        for stage in stages().values()
        for i, rest in stage.steps
        if i == "COPY" and "--from" not in rest
        for word in rest.split()[:-1]
    }
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert {word if not word.startswith("requirements/") else "requirements/*.txt" for word in copied} == allowed


@pytest.mark.timeout(BUILD_SECONDS)
async def test_the_service_starts_works_and_stops(
    images: Images,
    stand_in: StandIn,
    redis_url: str,
    namespace: str,
    azurite: str,
) -> None:
    image = await asyncio.to_thread(images.of, "service")
    port = free_port()
    settings = ServiceProcess.environment_of(stand_in, redis_url, image.root, namespace, port)
    settings["DEDUP_CHECKPOINT_URL"] = f"{azurite};ContainerName=image"
    settings["DEDUP_CHECK_CONNECTION_STRING"] = stand_in.connection_string("telemetry")
    program = str(image.inside("/opt/venv") / "bin" / image.entrypoint[0])
    environment = {**image.variables(), **settings, "PYTHONDONTWRITEBYTECODE": "1"}

    async def run(*arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            program, *arguments, env=environment, cwd="/", stdout=asyncio.subprocess.PIPE, **as_nobody(image)
        )

    async def output(*arguments: str) -> str:
        process = await run(*arguments)
        printed, _ = await process.communicate()
        assert process.returncode == 0, printed
        return printed.decode()

    assert (await output("init")).startswith("the checkpoint container")
    service = await run(*image.command)
    assert image.healthcheck[0] == image.entrypoint[0]
    async with asyncio.timeout(BUILD_SECONDS / 2):
        while await (await run(*image.healthcheck[1:])).wait() != 0 or await (await run("check")).wait() != 0:
            await asyncio.sleep(0.2)
    assert "1 in the clean hub" in await output("check", "--round-trip")
    service.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(service.wait(), DEADLINE_SECONDS) == 0


@pytest.mark.timeout(BUILD_SECONDS)
@pytest.mark.parametrize("target", ["edge", "sandbox"])
def test_the_other_images_start(images: Images, target: str) -> None:
    image = images.of(target)
    program = str(image.inside("/opt/venv") / "bin" / image.entrypoint[0])
    options: dict[str, Any] = {"env": image.variables(), "cwd": "/", **as_nobody(image)}
    if target == "edge":
        done = subprocess.run(
            [program, *image.command], capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False, **options
        )
        assert (done.returncode, "EDGE_SOURCES_FILE: " in done.stderr) == (1, True), done.stderr
        return
    ports = ["--amqp-port", "0", "--mqtt-port", "-1"]
    with subprocess.Popen([program, *image.command, *ports], stdout=subprocess.PIPE, **options) as process:
        assert process.stdout is not None
        described = json.loads(process.stdout.readline())
        assert described["connection_strings"]["telemetry"].startswith("Endpoint=sb://localhost:")
        process.terminate()
        assert process.wait(DEADLINE_SECONDS) == 0
