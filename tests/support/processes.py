"""The dedup service as a process of its own, as an orchestrator runs it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from dedup_service.__main__ import HUNG, SHUTDOWN_SECONDS
from sandbox.hub.stand_in import StandIn
from sandbox.peers.processes import free_port

DEADLINE_SECONDS = 90.0
"""Of one wait: well below the time-out of a test, so that the wait that failed is named."""
HTTP_SECONDS = 30.0
"""Of one answer; where nothing listens, that is known at once."""
NO_ANSWER = 0
MINIMAL = {"PATH": os.defpath}


class ServiceProcess:
    """A `dedup-service run` process."""

    def __init__(self, stand_in: StandIn, redis_url: str, folder: Path, namespace: str, **overrides: str) -> None:
        self.port = free_port()
        self.environment = {**self.environment_of(stand_in, redis_url, folder, namespace, self.port), **overrides}
        self._log = (folder / f"service-{self.port}.log").open("wb")
        self.log_path = Path(self._log.name)
        self.start()

    @staticmethod
    def environment_of(stand_in: StandIn, redis_url: str, folder: Path, namespace: str, port: int) -> dict[str, str]:
        return {
            **MINIMAL,
            "DEDUP_INPUT_CONNECTION_STRING": stand_in.connection_string("telemetry"),
            "DEDUP_INPUT_CONSUMER_GROUP": "dedup",
            "DEDUP_OUTPUT_CONNECTION_STRING": stand_in.connection_string("clean"),
            "DEDUP_OUTPUT_CONSUMER_GROUP": "dedup",
            "DEDUP_DEAD_LETTER_CONNECTION_STRING": stand_in.connection_string("dead-letter"),
            "DEDUP_REDIS_URL": redis_url,
            "DEDUP_NAMESPACE": namespace,
            "DEDUP_CHECKPOINT_URL": f"sqlite:///{folder / 'checkpoints.db'}",
            "DEDUP_HTTP_HOST": "127.0.0.1",
            "DEDUP_HTTP_PORT": str(port),
        }

    def start(self) -> None:
        command = [sys.executable, "-m", "dedup_service", "run"]
        self.process = subprocess.Popen(command, env=self.environment, stderr=self._log)

    def ask(self, path: str) -> Any:
        """The API's answer as JSON, or an empty list while it does not answer."""
        try:
            return self._json(path)
        except OSError:
            return []

    async def answer(self, path: str) -> Any:
        """The API's answer as JSON, once there is one."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                try:
                    return await asyncio.to_thread(self._json, path)
                except OSError:
                    await asyncio.sleep(0.2)

    def _json(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v1/{path}", timeout=HTTP_SECONDS) as response:
            return json.load(response)

    def all_stats(self) -> dict[str, Any]:
        try:
            stats: dict[str, Any] = self._json("stats")
        except OSError:
            return {"totals": {"input_events": -1, "clean_readings": -1}, "pods": []}
        return stats

    def stats(self) -> dict[str, int]:
        totals: dict[str, int] = self.all_stats()["totals"]
        return totals

    async def partitions(self) -> set[str]:
        stats = await asyncio.to_thread(self.all_stats)
        mine = [pod for pod in stats["pods"] if f"-{self.process.pid}-" in pod["pod"]]
        return {partition for pod in mine for partition in pod["partitions"]}

    def status(self, path: str) -> int:
        """HTTP status, or NO_ANSWER."""
        try:
            return int(urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=HTTP_SECONDS).status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return NO_ANSWER

    async def until_ready(self) -> None:
        await self._until_ok("/readyz")

    async def until_alive(self) -> None:
        await self._until_ok("/healthz")

    async def _until_ok(self, path: str) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await asyncio.to_thread(self.status, path) != 200:
                await asyncio.sleep(0.05)

    async def until(self, what: str, count: int) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await asyncio.to_thread(self.stats))[what] < count:
                await asyncio.sleep(0.05)

    async def until_finished(self, stand_in: StandIn) -> None:
        """Waits until everything that is in the input hub now is finished."""
        ends = {p.id: p.next_sequence_number - 1 for p in stand_in.namespace.hubs["telemetry"].partitions}
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                partitions = await asyncio.to_thread(self.ask, "partitions")
                if partitions and all(item["sequence_number"] >= ends[item["partition"]] for item in partitions):
                    return
                await asyncio.sleep(0.2)

    async def wait(self) -> int:
        """Its exit status. Raises TimeoutError where it could not leave in order in the time that it has."""
        code = await asyncio.to_thread(self.process.wait, DEADLINE_SECONDS)
        if code == HUNG:
            raise TimeoutError(f"it had not left after {SHUTDOWN_SECONDS:.0f} s")
        return code
