"""The service processes of a chaos run. Each has a way of its own to the input hub, and one to the clean hub."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from sandbox.hub.stand_in import StandIn
from sandbox.peers.links import Link
from sandbox.peers.processes import Child, ProcessError, free_port

GROUP = "dedup"
ANSWER_SECONDS = 60.0
POLL_SECONDS = 0.2


@dataclass
class Pod:
    name: str
    input: Link
    """Its way to the input hub, and to nothing else."""
    clean_port: int
    """The stand-in's port through which this pod, and nobody else, reaches the clean hub."""
    environment: dict[str, str]
    folder: Path
    child: Child | None = None

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    async def start(self) -> None:
        self.child = await Child.start(self.name, ["dedup_service", "run"], self.environment, self.folder)

    async def kill(self) -> None:
        if self.child is not None:
            await self.child.kill()

    def is_meant_by(self, pod_id: str) -> bool:
        """Whether the service calls this process so."""
        return self.child is not None and f"-{self.child.pid}-" in pod_id


@dataclass
class Pods:
    """All pods; any of them answers for the whole deployment."""

    http: aiohttp.ClientSession
    all: list[Pod] = field(default_factory=list)

    async def add(self, name: str, stand_in: StandIn, redis_url: str, folder: Path) -> None:
        """Starts one more pod. It connects elsewhere than the connection strings say, because they are what identifies the
        hubs, and must be the same for all pods."""
        link = await Link("127.0.0.1", stand_in.amqp_port).start()
        clean_port = await stand_in.listen_also()
        environment = {
            "DEDUP_INPUT_CONNECTION_STRING": stand_in.connection_string("telemetry"),
            "DEDUP_INPUT_ENDPOINT_ADDRESS": f"{link.host}:{link.port}",
            "DEDUP_INPUT_CONSUMER_GROUP": GROUP,
            "DEDUP_OUTPUT_CONNECTION_STRING": stand_in.connection_string("clean"),
            "DEDUP_OUTPUT_ENDPOINT_ADDRESS": f"127.0.0.1:{clean_port}",
            "DEDUP_OUTPUT_CONSUMER_GROUP": GROUP,
            "DEDUP_DEAD_LETTER_CONNECTION_STRING": stand_in.connection_string("dead-letter"),
            "DEDUP_REDIS_URL": redis_url,
            "DEDUP_CHECKPOINT_URL": f"sqlite:///{folder / 'checkpoints.db'}",
            "DEDUP_HTTP_HOST": "127.0.0.1",
            "DEDUP_HTTP_PORT": str(free_port()),
        }
        pod = Pod(name, link, clean_port, environment, folder)
        self.all.append(pod)
        await pod.start()

    async def stop(self) -> None:
        await asyncio.gather(*(pod.kill() for pod in self.all))
        await asyncio.gather(*(pod.input.stop() for pod in self.all))

    def trouble(self, problem: str) -> ProcessError:
        child = self.all[0].child
        return ProcessError(f"{problem}\n{child.log_tail() if child is not None else ''}")

    async def ask(self, what: str) -> Any:
        """The answer of the first that answers, since some may be starting. Raises ProcessError."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            for pod in self.all:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    url = f"http://127.0.0.1:{pod.environment['DEDUP_HTTP_PORT']}/v1/{what}"
                    async with self.http.get(url) as response:
                        if response.status == HTTPStatus.OK:
                            return await response.json()
            await asyncio.sleep(POLL_SECONDS)
        raise self.trouble("no service answered")

    async def partitions_of(self, pod: Pod) -> list[str]:
        reported = (await self.ask("stats"))["pods"]
        return [partition for item in reported if pod.is_meant_by(item["pod"]) for partition in item["partitions"]]

    async def until_processing(self) -> None:
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            if (await self.ask("stats"))["totals"]["input_events"]:
                return
            await asyncio.sleep(POLL_SECONDS)
        raise self.trouble("no service started processing")

    async def until_finished(self, ends: Mapping[str, int], partitions: Iterable[str], seconds: float) -> None:
        """Waits until these input partitions are finished up to their `ends`. Raises ProcessError."""
        wanted = {partition: ends[partition] for partition in partitions if ends[partition] >= 0}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            finished = {item["partition"]: item["sequence_number"] for item in await self.ask("partitions")}
            if all(finished.get(partition, -1) >= end for partition, end in wanted.items()):
                return
            await asyncio.sleep(POLL_SECONDS)
        raise self.trouble(f"the services did not finish partitions {sorted(wanted)} within {seconds:.0f} s")
