"""The service as a whole: wait for what it needs, own partitions, answer over HTTP, and leave in order."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from dedup_service.admission import Admission
from dedup_service.api.app import ApiServer, create_app
from dedup_service.assignment import Assignment, AssignmentOptions
from dedup_service.config_file import GroupSettings
from dedup_service.core.groups import Groups
from dedup_service.core.leases import Lease, Samples
from dedup_service.deployment import Deployment
from dedup_service.errors import ConfigurationError, UnavailableError
from dedup_service.grouping import make_group
from dedup_service.metrics import create_registry
from dedup_service.pipeline import Pipeline, PipelineOptions, PipelinePorts, Tenure
from dedup_service.ports import (
    Accounts,
    Board,
    Checkpoints,
    ClaimStore,
    CleanTail,
    Clock,
    Extractor,
    InputHub,
    Leases,
    Publisher,
)
from dedup_service.retrying import Retrying
from dedup_service.settings import PREFIX, Settings, example
from dedup_service.status import Status
from dedup_service.telemetry import Telemetry, log
from dedup_service.worker import PartitionWorker, WorkerOptions, WorkerPorts

T = TypeVar("T")

CONNECT_RETRY_SECONDS = 1.0
PING_SECONDS = 1.0
CLOSE_SECONDS = 6.0
READY_GRACE_SECONDS = {"Redis": 0.0, "the Redis connection": 0.0, "the checkpoint store": float("inf")}
"""How long a dependency may be away before the pod is not ready; work goes on without the checkpoint store."""
DEFAULT_READY_GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ServicePorts:
    hub: InputHub
    claims: ClaimStore
    accounts: Accounts
    board: Board
    check_claims: Callable[[], Awaitable[None]]
    make_leases: Callable[[list[str]], Leases]
    """Of the partitions of the input hub."""
    checkpoints: Checkpoints
    clean: Publisher | None
    tail: CleanTail | None
    dead_letters: Publisher | None
    extractor: Extractor
    clock: Clock
    telemetry: Telemetry


@dataclass(frozen=True, slots=True)
class Topology:
    """What the hubs say about themselves."""

    input_partitions: list[str]
    output_partitions: list[str]
    dead_letter_partitions: list[str]


class Service:
    def __init__(self, settings: Settings, groups: list[GroupSettings], ports: ServicePorts, pod_id: str) -> None:
        self._settings = settings
        self._group_settings = groups
        self._ports = ports
        self._pod_id = pod_id
        self._stop = asyncio.Event()
        self._assignment: Assignment | None = None
        self._samples = Samples()
        self._deployment = Deployment(ports.accounts, ports.board)
        self._status = Status(pod_id, ports.board, self._deployment, ports.telemetry)
        self.http_port = settings.http_port

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Until `stop`. Raises ConfigurationError when a setting turns out to be wrong."""
        server, serving = await self._serve()
        background = [asyncio.create_task(self._ping()), asyncio.create_task(self._status.run())]
        try:
            topology = await self._connect()
            if topology is not None:
                self._assignment = self._assign(topology)
                log.info("started", pod=self._pod_id, http_port=self.http_port, mode=self._settings.mode)
                self._warn()
                await self._assignment.run(self._stop)
        finally:
            self._stop.set()
            for task in background:
                task.cancel()
            server.should_exit = True
            await asyncio.wait({serving, *background}, timeout=CLOSE_SECONDS)
            await self._status.leave()
            await self._close()
            log.info("stopped", pod=self._pod_id)

    def _warn(self) -> None:
        if self._settings.config_file is None:
            log.warning(
                "no_groups",
                setting="DEDUP_CONFIG_FILE",
                effect="all devices are one group: each of them may send, and so suppress, any source",
            )
        if self._settings.input_consumer_group.lower() == "$default":
            log.warning(
                "shared_consumer_group",
                setting="DEDUP_INPUT_CONSUMER_GROUP",
                effect="this service's readers disconnect every other reader of $Default; give it a group of its own",
            )

    async def _close(self) -> None:
        ports = self._ports
        closing = [ports.hub.close(), ports.claims.close(), ports.checkpoints.close()]
        closing += [port.close() for port in (ports.clean, ports.tail, ports.dead_letters) if port is not None]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(*closing, return_exceptions=True)

    # --- HTTP

    async def _serve(self) -> tuple[ApiServer, asyncio.Task[None]]:
        settings = self._settings
        try:
            listening = socket.create_server((settings.http_host, settings.http_port))
        except OSError as error:
            raise ConfigurationError(f"{PREFIX}HTTP_PORT", f"can't listen there ({error})", "8000") from None
        self.http_port = listening.getsockname()[1]
        token = settings.api_token.get_secret_value() if settings.api_token else None
        registry = create_registry(self._ports.telemetry, lambda: self._status.overview)
        app = create_app(registry, self._deployment, alive=self.is_alive, not_ready=self.not_ready, token=token)
        server = ApiServer(app)
        return server, asyncio.create_task(server.serve(sockets=[listening]))

    def is_alive(self) -> bool:
        return self._assignment is None or self._stop.is_set() or self._assignment.is_working

    def not_ready(self) -> str | None:
        if self._stop.is_set():
            return "stopping"
        now = time.monotonic()
        for dependency, pause in self._ports.telemetry.paused.items():
            if now - pause.since >= READY_GRACE_SECONDS.get(dependency, DEFAULT_READY_GRACE_SECONDS):
                return f"{dependency}: {pause.problem}"
        return None if self._assignment is not None else "waiting for the hubs and Redis"

    async def _ping(self) -> None:
        """An idle service notices too that Redis is away."""
        telemetry = self._ports.telemetry
        while not self._stop.is_set():
            try:
                await self._ports.claims.ping()
            except UnavailableError as error:
                telemetry.unavailable("the Redis connection", error.problem)
            else:
                telemetry.available("the Redis connection")
            await self._ports.clock.sleep(PING_SECONDS)

    # --- start

    async def _connect(self) -> Topology | None:
        """Wait for Redis and the hubs; None when stopped meanwhile."""
        ports = self._ports
        await self._available("redis_url", ports.check_claims)
        await self._available("checkpoint_url", ports.checkpoints.load)
        info = await self._available("input_connection_string", ports.hub.info)
        clean = await self._partition_ids("output_connection_string", ports.clean)
        dead_letters = await self._partition_ids("dead_letter_connection_string", ports.dead_letters)
        if self._stop.is_set() or info is None:
            return None
        return Topology(info.partition_ids, clean, dead_letters)

    async def _partition_ids(self, name: str, publisher: Publisher | None) -> list[str]:
        if publisher is None:
            return []
        return await self._available(name, publisher.partition_ids) or []

    async def _unless_stopped(self, operation: Callable[[], Awaitable[T]]) -> T | None:
        running, stopping = asyncio.ensure_future(operation()), asyncio.create_task(self._stop.wait())
        waiting: set[asyncio.Future[Any]] = {running, stopping}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if running.done():
            return running.result()
        running.cancel()
        return None

    async def _available(self, name: str, operation: Callable[[], Awaitable[T]]) -> T | None:
        setting, what = PREFIX + name.upper(), ""
        while not self._stop.is_set():
            try:
                result = await self._unless_stopped(operation)
            except UnavailableError as error:
                if error.refused:
                    raise ConfigurationError(setting, error.problem, example(name)) from None
                what = error.what
                self._ports.telemetry.unavailable(what, error.problem)
                await self._ports.clock.sleep(CONNECT_RETRY_SECONDS)
            else:
                self._ports.telemetry.available(what)
                return result
        return None

    # --- partitions

    def _assign(self, topology: Topology) -> Assignment:
        settings, ports = self._settings, self._ports
        leases = ports.make_leases(topology.input_partitions)
        groups = Groups([make_group(group, settings, topology.output_partitions) for group in self._group_settings])
        self._deployment.groups = groups.groups
        self._deployment.partitions = topology.input_partitions
        admission = Admission(groups, ports.extractor, settings.unmatched, settings.kept_property_names)
        return Assignment(
            self._pod_id,
            topology.input_partitions,
            AssignmentOptions(settings.lease_interval_seconds, settings.sample_interval_seconds),
            leases,
            ports.clean,
            self._samples,
            ports.clock,
            ports.telemetry,
            partial(self._make_worker, self._pipeline_options(topology, groups), admission, leases),
        )

    def _pipeline_options(self, topology: Topology, groups: Groups) -> PipelineOptions:
        settings = self._settings
        return PipelineOptions(
            retention_ms=settings.input_retention_seconds * 1000,
            shards=settings.shards,
            forward_to=groups.groups[0].output,
            dead_letter_partitions=topology.dead_letter_partitions,
        )

    def _make_worker(self, options: PipelineOptions, admission: Admission, leases: Leases, lease: Lease) -> PartitionWorker:
        ports, settings, stopping = self._ports, self._settings, asyncio.Event()
        retrying = Retrying(ports.clock, ports.telemetry, stopping)
        pipeline_ports = PipelinePorts(
            claims=ports.claims,
            clean=ports.clean,
            tail=ports.tail,
            dead_letters=ports.dead_letters,
            admission=admission,
            clock=ports.clock,
            telemetry=ports.telemetry,
            retrying=retrying,
        )

        def make_pipeline(tenure: Tenure) -> Pipeline:
            return Pipeline(options, pipeline_ports, tenure, self._samples, self._lag_spread_ms)

        worker_ports = WorkerPorts(
            hub=ports.hub,
            checkpoints=ports.checkpoints,
            leases=leases,
            clean=ports.clean,
            clock=ports.clock,
            telemetry=ports.telemetry,
            retrying=retrying,
        )
        worker_options = WorkerOptions(settings.start_position, settings.checkpoint_interval_seconds)
        return PartitionWorker(lease, worker_options, worker_ports, make_pipeline, stopping)

    def _lag_spread_ms(self) -> int:
        """How much later the slowest partition of this pod is than the fastest: copies of one reading lie that far apart
        in processing time, on top of what the window allows for."""
        now_ms = self._ports.clock.now_ms()
        figures = self._ports.telemetry.partitions.values()
        lags = [max(0, now_ms - f.enqueued_ms) for f in figures if 0 < f.enqueued_ms < f.last_enqueued_ms]
        return max(lags, default=0)
