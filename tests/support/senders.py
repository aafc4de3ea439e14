"""Edge senders for tests, in the test process or as processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub import EventData

from edge_sender.bootstrap import make_sender, make_uplink
from edge_sender.config.settings import load
from edge_sender.ports import Uplink
from edge_sender.sender import Sender
from sandbox.peers.processes import free_port
from sandbox.plant.machine_server import NAMESPACE_URI
from sandbox.plant.server import Plant
from tests.support import hub
from tests.support.processes import DEADLINE_SECONDS

Reading = tuple[str, str, dict[str, Any]]
"""(source, id, data)"""


def plant_source(endpoint: str, identity: str, **given: Any) -> dict[str, Any]:
    source = {"name": "plant", "kind": "opcua", "endpoint": endpoint, "namespace_uri": NAMESPACE_URI}
    return {**source, "payload": "json", "identity": identity, **given}


def document(*sources: dict[str, Any]) -> str:
    return json.dumps({"sources": sources})


def sources(plant: Plant, identity: str) -> str:
    return document(plant_source(plant.endpoint, identity))


def make(**given: Any) -> Sender:
    """A sender without spool on disk, health endpoint and identity check, unless `given` turns them on."""
    settings = load(**{"spool_path": "memory", "flush_seconds": 10, "http_port": 0, "identity_check_seconds": 0, **given})
    return make_sender(settings, settings.sources_document(), make_uplink(settings))


@asynccontextmanager
async def running_sender(source: dict[str, Any], uplink: Uplink, **given: Any) -> AsyncIterator[Sender]:
    """A sender of this source in the test process, without spool on disk and identity check unless they are `given`."""
    usual = {"sources": document(source), "spool_path": "memory", "http_port": 0, "identity_check_seconds": 0}
    settings = load(**{**usual, **given})
    sender, stop = make_sender(settings, settings.sources_document(), uplink), asyncio.Event()
    running = asyncio.create_task(sender.run(stop))
    try:
        yield sender
    finally:
        stop.set()
        await running


@asynccontextmanager
async def meanwhile(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def readings_of(event: EventData) -> list[Reading]:
    """The readings of an input or clean event, single or batched."""
    if event.content_type == hub.BATCH:
        return [(part["source"], part["id"], part["data"]) for part in hub.elements(event)]
    properties = hub.properties(event)
    data: dict[str, Any] = event.body_as_json()
    return [(_text(properties["cloudEvents_source"]), _text(properties["cloudEvents_id"]), data)]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def device_of(event: EventData) -> str:
    return _text(event.system_properties.get(b"iothub-connection-device-id", b""))


async def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            pytest.fail(what)
        await asyncio.sleep(0.05)


async def ask_until(condition: Callable[[], bool], late: Callable[[], str] | str | None) -> None:
    """For a condition that asks processes: in a thread, since their hub runs in this loop and would stand still with it.

    `late` says what did not come. Without it, the caller judges what has come: a lost reading is not late."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not await asyncio.to_thread(condition):
        if time.monotonic() >= deadline:
            if late is None:
                return
            pytest.fail(late if isinstance(late, str) else late())
        await asyncio.sleep(0.05)


def status(port: int) -> dict[str, Any] | None:
    """The status of a sender process; None while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/status", timeout=5) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except (OSError, urllib.error.URLError):
        return None


class SenderProcess:
    """An `edge-sender run` process with the Event Hubs uplink."""

    def __init__(
        self,
        folder: Path,
        replica: str,
        connection_string: str,
        sources_text: str,
        clock: Path | None = None,
        **overrides: str,
    ) -> None:
        """`clock`: by how much its wall clock is wrong, see sandbox/peers/moved_clock.py."""
        self._command = [] if clock is None else ["sandbox.peers.moved_clock", str(clock)]
        self.port = free_port()
        self.spool = folder / f"{replica}.db"
        self.log_path = folder / f"{replica}.log"
        self.environment = {
            "PATH": os.defpath,
            "EDGE_SOURCES": sources_text,
            "EDGE_REPLICA": replica,
            "EDGE_UPLINK": "event-hubs",
            "EDGE_CONNECTION_STRING": connection_string,
            "EDGE_SEND_TIMEOUT_SECONDS": "2",
            "EDGE_SPOOL_PATH": str(self.spool),
            "EDGE_IDENTITY_CHECK_SECONDS": "0",
            "EDGE_HTTP_HOST": "127.0.0.1",
            "EDGE_HTTP_PORT": str(self.port),
            **overrides,
        }
        self.start()

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            command = [sys.executable, "-m", *self._command, "edge_sender", "run"]
            self.process = subprocess.Popen(command, env=self.environment, stderr=log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def status(self) -> dict[str, Any] | None:
        return status(self.port)

    async def answered_status(self) -> dict[str, Any]:
        """Its status, once it answers."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (found := await asyncio.to_thread(self.status)) is None:
                await asyncio.sleep(0.05)
            return found

    def log_tail(self) -> str:
        return self.log_path.read_text()[-2000:]


@asynccontextmanager
async def until_running(work: Coroutine[Any, Any, None]) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Run this alongside, and end it afterwards; what it raises fails the test. Yields `until`."""
    task = asyncio.create_task(work)
    try:
        yield until
        assert not task.done() or task.exception() is None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
