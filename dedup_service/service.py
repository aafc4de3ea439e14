"""The life of the service: it waits for what it needs, owns partitions, answers over HTTP, and leaves in order."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from dedup_service import __version__
from dedup_service.api.app import ApiServer, create_app
from dedup_service.api.listening import listen
from dedup_service.api.tls import ServedCertificate
from dedup_service.config.config import Config
from dedup_service.config.settings import PREFIX, example
from dedup_service.config.summary import summary
from dedup_service.core.clean_retention import short_retentions
from dedup_service.core.groups import Groups, written_partitions
from dedup_service.core.incarnations import Incarnations
from dedup_service.core.leases import NewestSample
from dedup_service.core.markers import Memory
from dedup_service.core.outgoing import OutputPolicy
from dedup_service.errors import Dependency, DependencyKind, UnavailableError
from dedup_service.observability.fleet import Fleet
from dedup_service.observability.metrics import create_registry
from dedup_service.observability.status import Status
from dedup_service.observability.timeline import TimelineKeeper
from dedup_service.partitions.consumer import InputConsumer
from dedup_service.partitions.input_ports import InputPorts
from dedup_service.ports.accounting import Ledger
from dedup_service.ports.claims import Extractor
from dedup_service.ports.hubs import Publisher
from dedup_service.ports.pods import PodBoard, TimelineStore
from dedup_service.processing.admission import Admission
from dedup_service.processing.shared import Shared, SharedPorts
from dedup_service.rebuild.kept import ages_of_oldest
from dedup_service.rebuild.making import RebuildPorts, make_memory, make_rebuilder
from dedup_service.rebuild.published import PublishedReader
from dedup_service.rebuild.rebuilder import Rebuilder
from dedup_service.telemetry import log
from dedup_service.waiting import StartupWait

REDIS_CONNECTION = Dependency(DependencyKind.REDIS_CONNECTION)
PING_SECONDS = 1.0
CLOSE_SECONDS = 6.0
READY_GRACE_SECONDS = {
    DependencyKind.REDIS: 0.0,
    DependencyKind.REDIS_CONNECTION: 0.0,
    DependencyKind.CHECKPOINTS: float("inf"),
}
"""How long a dependency may be unavailable before the pod is not ready; work continues without the checkpoint store."""
DEFAULT_READY_GRACE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class ServicePorts:
    inputs: Sequence[InputPorts]
    shared: SharedPorts
    ledger: Ledger
    board: PodBoard
    timeline: TimelineStore
    check_claims: Callable[[], Awaitable[None]]
    extractor: Extractor
    codec: str
    """What decodes and encodes events, for the log."""
    close: Callable[[], Awaitable[None]]
    """Closes what the ports share, after they are closed."""


class Service:
    def __init__(self, config: Config, ports: ServicePorts, pod_id: str) -> None:
        settings = config.settings
        self._config = config
        self._settings = settings
        self._ports = ports
        self._telemetry = ports.shared.telemetry
        self._pod_id = pod_id
        self._stop = asyncio.Event()
        self._startup = StartupWait(ports.shared.clock, self._telemetry, self._stop)
        self._consumers: list[InputConsumer] = []
        self._rebuilder: Rebuilder | None = None
        self._fleet = Fleet(
            ports.ledger,
            ports.board,
            ports.timeline,
            namespace=config.namespace,
            partitions_of=self._partitions,
            is_counting=settings.accounting,
        )
        keeper = TimelineKeeper(pod_id, ports.timeline, self._fleet, time.monotonic)
        self._status = Status(pod_id, ports.board, self._fleet, self._telemetry, keeper)
        self.http_port = settings.http_port
        self._certificate: ServedCertificate | None = None
        if settings.http_certificate is not None and settings.http_private_key is not None:
            self._certificate = ServedCertificate(settings.http_certificate, settings.http_private_key)

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Runs until `stop`. Raises ConfigurationError when a setting turns out to be wrong."""
        server, serving = await self._serve()
        background = [asyncio.create_task(self._ping()), asyncio.create_task(self._status.run())]
        if self._certificate is not None:
            background.append(asyncio.create_task(self._certificate.watch()))
        try:
            self._consumers = await self._connect()
            if self._consumers:
                about = {
                    "version": __version__,
                    "pod": self._pod_id,
                    "codec": self._ports.codec,
                    "http_port": self.http_port,
                }
                log.info("started", **about, **summary(self._config))
                self._warn()
                background.append(asyncio.create_task(self._warn_of_retention()))
            await self._consume()
        finally:
            self._stop.set()
            for task in background:
                task.cancel()
            server.should_exit = True
            await asyncio.wait({serving, *background}, timeout=CLOSE_SECONDS)
            await self._status.leave()
            await self._close()
            log.info("stopped", pod=self._pod_id)

    async def _consume(self) -> None:
        """Runs all inputs until `stop`, or until one of them is refused; then the others leave in order, too."""
        running = [asyncio.create_task(consumer.run(self._startup, self._stop)) for consumer in self._consumers]
        if self._rebuilder is not None:
            running.append(asyncio.create_task(self._rebuilder.run(self._stop)))
        try:
            await asyncio.gather(*running)
        finally:
            self._stop.set()
            await asyncio.gather(*running, return_exceptions=True)

    def _warn(self) -> None:
        for warning in self._config.warnings:
            place = {"place": warning.place} if warning.place else {}
            log.warning(warning.name, setting=warning.setting, **place, effect=warning.effect)

    async def _warn_of_retention(self) -> None:
        """Beside the work, which does not wait for it."""
        tail, groups = self._ports.shared.tail, self._fleet.groups
        if tail is None or self._settings.on_redis_loss != "rebuild":
            return
        try:
            ages_ms = await ages_of_oldest(tail, written_partitions(groups), self._ports.shared.clock)
        except UnavailableError as error:  # the rebuild itself would say so again
            self._telemetry.failed(error.dependency)
            log.info("clean_retention_unknown", problem=str(error))
            return
        except Exception as error:  # noqa: BLE001  # a defect here must not be silent, and must not end the work
            self._telemetry.worker_failed("retention", error)
            return
        for short in short_retentions(ages_ms, groups):
            self._telemetry.clean_retention_short(short)

    async def _close(self) -> None:
        shared = self._ports.shared
        closing = [shared.claims.close()]
        for source in self._ports.inputs:
            closing += [source.hub.close(), *(store.close() for store in source.stores)]
        closing += [port.close() for port in (shared.clean, shared.tail, shared.dead_letters) if port is not None]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.gather(*closing, return_exceptions=True)
                await self._ports.close()

    # --- HTTP

    async def _serve(self) -> tuple[ApiServer, asyncio.Task[None]]:
        settings = self._settings
        listening = await listen(settings.http_host, settings.http_port)
        self.http_port = listening.getsockname()[1]
        token = settings.api_token.get_secret_value() if settings.api_token else None
        registry = create_registry(self._telemetry, lambda: self._status.overview)
        app = create_app(
            registry, self._fleet, alive=self.is_alive, not_ready=self.not_ready, token=token, remark=self._remark
        )
        server = ApiServer(app, None if self._certificate is None else self._certificate.context)
        return server, asyncio.create_task(server.serve(sockets=[listening]))

    def _partitions(self) -> list[str]:
        return [partition for consumer in self._consumers for partition in consumer.partitions]

    def is_alive(self) -> bool:
        return self._stop.is_set() or all(consumer.is_working for consumer in self._consumers)

    def not_ready(self) -> str | None:
        if self._stop.is_set():
            return "stopping"
        now = time.monotonic()
        for dependency, pause in self._telemetry.paused.items():
            if now - pause.since >= READY_GRACE_SECONDS.get(dependency.kind, DEFAULT_READY_GRACE_SECONDS):
                return f"{dependency}: {pause.problem}"
        is_running = any(consumer.is_running for consumer in self._consumers)
        return None if is_running else "waiting for the hubs and Redis"

    def _remark(self) -> str:
        """A pod that waits for a rebuild is ready: it takes its part in it, and another pod in its place would wait, too. If
        it were not, `kubectl drain` and a rollout would wait as well. So is one that waits for pods of another
        configuration, since a rollout ends those only once this one is ready."""
        rebuild, others = self._telemetry.rebuild, self._telemetry.waits_for
        if others is not None:
            return f"this pod takes no partition while there are {others}"
        return "" if rebuild is None else f"claims that Redis lacks are read back from the clean stream: {rebuild}"

    async def _ping(self) -> None:
        """Lets an idle service notice, too, that Redis is unavailable."""
        while not self._stop.is_set():
            try:
                await self._ports.shared.claims.ping()
            except UnavailableError as error:
                self._telemetry.unavailable(REDIS_CONNECTION, error.problem)
            else:
                self._telemetry.available(REDIS_CONNECTION)
            await self._ports.shared.clock.sleep(PING_SECONDS)

    # --- start

    async def _connect(self) -> list[InputConsumer]:
        """Waits for Redis and the hubs that are written to. Returns nothing when stopped meanwhile."""
        ports, shared = self._ports, self._ports.shared
        await self._available("redis_url", ports.check_claims)
        for source in ports.inputs:
            await self._available("checkpoint_url", source.checkpoints.load)
        clean = await self._partition_ids("output_connection_string", shared.clean)
        dead_letters = await self._partition_ids("dead_letter_connection_string", shared.dead_letters)
        if shared.clean is not None:  # before this pod takes partitions from working pods
            await asyncio.gather(shared.clean.open(written_partitions(self._config.groups(clean))), self._try_tail())
        if self._stop.is_set():
            return []
        return self._make_consumers(clean, dead_letters)

    async def _try_tail(self) -> None:
        """The tail is first needed after a crash, which is no time to learn that it can't be read."""
        tail = self._ports.shared.tail
        if tail is None:
            return
        setting = "output_consumer_group"
        shut_out = await self._startup.available(PREFIX + setting.upper(), example(setting), tail.try_reading)
        for group in shut_out or []:
            log.warning(
                "shared_consumer_group",
                setting=PREFIX + setting.upper(),
                effect=f"other readers have {group}, and are disconnected after a crash; give it a group of its own",
            )

    async def _available(self, name: str, operation: Callable[[], Awaitable[object]]) -> None:
        await self._startup.available(PREFIX + name.upper(), example(name), operation)

    async def _partition_ids(self, name: str, publisher: Publisher | None) -> list[str]:
        if publisher is None:
            return []
        return await self._startup.available(PREFIX + name.upper(), example(name), publisher.partition_ids) or []

    def _make_consumers(self, clean: list[str], dead_letters: list[str]) -> list[InputConsumer]:
        self._fleet.groups = self._config.groups(clean)
        settings, ports = self._settings, self._ports
        own = [name for name in clean if ":" not in name]
        forward_to = OutputPolicy(own, settings.partition_by, "", settings.kept_property_names) if own else None
        incarnations, newest_sample = Incarnations(source.config.name for source in ports.inputs), NewestSample()
        memory, admissions = (
            make_memory(settings, clean),
            [self._admission(clean, source.config.name) for source in ports.inputs],
        )
        of_inputs = [
            Shared(
                ports=ports.shared,
                admission=admission,
                forward_to=forward_to,
                dead_letter_partitions=dead_letters,
                incarnations=incarnations,
                newest_sample=newest_sample,
                clean_partitions=clean,
                memory=memory,
                limits=settings.limits,
            )
            for admission in admissions
        ]
        self._rebuilder = self._make_rebuilder(memory, clean, incarnations, [admission.groups for admission in admissions])
        return [
            InputConsumer(settings, source, shared, self._pod_id)
            for source, shared in zip(ports.inputs, of_inputs, strict=True)
        ]

    def _admission(self, clean: list[str], input_name: str) -> Admission:
        settings, groups = self._settings, Groups(self._config.groups(clean, input_name))
        return Admission(groups, self._ports.extractor, settings.unmatched, settings.kept_property_names)

    def _make_rebuilder(
        self, memory: Memory, clean: list[str], incarnations: Incarnations, groups_of_inputs: Sequence[Groups]
    ) -> Rebuilder | None:
        shared = self._ports.shared
        if shared.markers is None or shared.tail is None:
            return None
        ports = RebuildPorts(shared.tail, shared.claims, shared.markers, shared.clock, self._telemetry)
        names = [source.config.name for source in self._ports.inputs]
        by_input = dict(zip(names, groups_of_inputs, strict=True))
        published = PublishedReader(by_input, incarnations, self._ports.extractor, self._config.namespace)
        return make_rebuilder(
            self._pod_id,
            self._settings,
            ports,
            memory,
            published,
            groups_of_inputs[0].groups,
            lambda: self._status.spread_ms,
            clean,
            self._has_worked,
        )

    async def _has_worked(self) -> bool:
        """The first checkpoint of a partition is written before anything of it is processed, unless work began at a time."""
        if isinstance(self._settings.start_position, int):
            return True
        loaded = await asyncio.gather(*(store.load() for source in self._ports.inputs for store in source.stores))
        return any(loaded)
