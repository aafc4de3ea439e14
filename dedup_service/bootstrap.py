"""The composition root: the only module that knows every adapter."""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from redis.exceptions import RedisError

from dedup_service.adapters.azure_clients import AzureClients, Network
from dedup_service.adapters.checkpoints.blobs import SdkCheckpoints, create_container
from dedup_service.adapters.checkpoints.observing import SUFFIX as OBSERVING
from dedup_service.adapters.checkpoints.observing import ObservingCheckpoints
from dedup_service.adapters.checkpoints.sqlite import SqliteCheckpoints
from dedup_service.adapters.eventhubs.below_sdk.native import CODEC
from dedup_service.adapters.eventhubs.input import RETRY_INTERVAL_SECONDS, EventHubInput
from dedup_service.adapters.eventhubs.publisher import EventHubPublisher
from dedup_service.adapters.eventhubs.routed import RoutedPublisher, RoutedTail
from dedup_service.adapters.eventhubs.tail import EventHubTail
from dedup_service.adapters.redis.board import RedisPodBoard
from dedup_service.adapters.redis.calls import RedisClient, connect
from dedup_service.adapters.redis.claims import RedisClaims, check_clustering, check_eviction
from dedup_service.adapters.redis.entra import EntraCredentials
from dedup_service.adapters.redis.leases import RedisLeases
from dedup_service.adapters.redis.ledger import RedisLedger
from dedup_service.adapters.redis.marked import Generations
from dedup_service.adapters.redis.markers import RedisMarkers
from dedup_service.adapters.redis.namespaces import check_former_namespace
from dedup_service.adapters.redis.precedence import RedisPrecedence
from dedup_service.adapters.redis.timeline import RedisTimelineStore
from dedup_service.commands.capture import chosen_input
from dedup_service.commands.check import CheckFailedError, RoundTripPorts, refusal
from dedup_service.config.addresses import HubAddress
from dedup_service.config.config import Config
from dedup_service.config.hubs import InputConfig, OutputConfig
from dedup_service.config.settings import HUB_EXAMPLE, PREFIX, Settings, example
from dedup_service.config.urls import SQLITE_SCHEME
from dedup_service.core.clean_retention import short_retentions
from dedup_service.core.extract import CloudEventsExtractor
from dedup_service.core.groups import written_partitions
from dedup_service.core.retention import Retention
from dedup_service.errors import ConfigurationError, Dependency, DependencyKind, UnavailableError
from dedup_service.observability.fleet import Fleet
from dedup_service.partitions.input_ports import InputPorts
from dedup_service.ports.clock import Clock
from dedup_service.ports.hubs import InputHub
from dedup_service.ports.ownership import Checkpoints
from dedup_service.processing.shared import SharedPorts
from dedup_service.rebuild.kept import ages_of_oldest
from dedup_service.service import Service, ServicePorts
from dedup_service.telemetry import Telemetry

CAPTURE_PREFETCH = 100
"""Events of each partition: only a few are wanted."""
SUSPENDING_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Includes the time for which the machine was suspended, where the system can tell: a lease runs out meanwhile."""
        return time.clock_gettime(SUSPENDING_CLOCK)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def build(settings: Settings, telemetry: Telemetry) -> Service:
    """Raises ConfigurationError."""
    config, azure, clock = Config(settings), AzureClients(_network(settings)), SystemClock()
    publishes, inputs, outputs = not config.only_observes, config.inputs, config.outputs
    redis, namespace = _redis(settings, azure), config.namespace
    generations = Generations(namespace, settings.shard_count) if publishes else None
    shared = SharedPorts(
        claims=RedisClaims(
            redis,
            namespace=namespace,
            shards=settings.shard_count,
            accounting=settings.accounting,
            max_sources=settings.max_sources,
            report=telemetry.unreadable,
            generations=generations,
        ),
        clean=RoutedPublisher({o.name: _clean(o, settings, azure) for o in outputs}) if publishes else None,
        tail=RoutedTail({o.name: _tail(o, settings, azure) for o in outputs}) if publishes else None,
        dead_letters=_dead_letters(config, azure) if publishes else None,
        clock=clock,
        telemetry=telemetry,
        markers=None if generations is None else _markers(redis, generations, config, telemetry),
    )
    ports = ServicePorts(
        inputs=[_input_ports(item, config, azure, redis, clock, telemetry, generations) for item in inputs],
        shared=shared,
        ledger=RedisLedger(redis, namespace=namespace, shards=settings.shard_count, report=telemetry.unreadable),
        board=RedisPodBoard(redis, namespace=namespace, report=telemetry.unreadable),
        timeline=RedisTimelineStore(redis, namespace=namespace, report=telemetry.unreadable),
        check_claims=partial(_check_redis, redis, config),
        extractor=CloudEventsExtractor(settings.max_decompressed_bytes),
        codec="native" if CODEC.is_native else "python",
        close=azure.close,
    )
    return Service(config, ports, f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")


def _network(settings: Settings) -> Network:
    proxy = settings.http_proxy.get_secret_value() if settings.http_proxy is not None else None
    return Network(settings.transport == "websocket", proxy, settings.ca_file)


async def _check_redis(redis: RedisClient, config: Config) -> None:
    await check_clustering(redis, config.namespace)
    await check_eviction(redis, allowed=config.settings.allow_eviction)
    await _check_namespace(redis, config)


async def _check_namespace(redis: RedisClient, config: Config) -> None:
    if config.former_namespace is not None:
        await check_former_namespace(
            redis,
            former=config.former_namespace,
            present=config.namespace,
            hub="/".join(config.inputs[0].address.name),
            live_seconds=config.settings.lease_seconds,
        )


def _markers(redis: RedisClient, generations: Generations, config: Config, telemetry: Telemetry) -> RedisMarkers:
    return RedisMarkers(
        redis,
        generations,
        namespace=config.namespace,
        rebuilds=config.settings.on_redis_loss == "rebuild",
        report=telemetry.unreadable,
        configuration=config.common_ground,
        lease_seconds=config.settings.lease_seconds,
    )


def _input_ports(
    item: InputConfig,
    config: Config,
    azure: AzureClients,
    redis: RedisClient,
    clock: Clock,
    telemetry: Telemetry,
    generations: Generations | None,
) -> InputPorts:
    settings, observes = config.settings, config.only_observes
    name = item.name if len(config.inputs) > 1 else ""
    hub = "/".join(item.address.name)
    checkpoints, observed = _checkpoints(item, settings, azure, observes=observes)

    def make_leases(partition_ids: list[str]) -> RedisLeases:
        return RedisLeases(
            redis,
            namespace=config.namespace,
            scope=hub + OBSERVING if observes else hub,
            partition_ids=partition_ids,
            ttl_seconds=settings.lease_seconds,
            monotonic=clock.monotonic,
            report=telemetry.unreadable,
            generations=generations,
            configuration="" if observes else config.common_ground,
        )

    connect_to = partial(azure.consumer, item.address, item.consumer_group, load_balancing_interval=RETRY_INTERVAL_SECONDS)
    return InputPorts(
        config=item,
        hub=EventHubInput(
            connect_to, item.address.namespace, name, prefetch=settings.prefetch, batch_size=settings.batch_size
        ),
        checkpoints=checkpoints,
        observed=observed,
        make_leases=make_leases,
        precedence=RedisPrecedence(
            redis,
            reads=f"{hub}/{item.consumer_group}",
            publishes=not observes,
            ttl_seconds=settings.lease_seconds,
            now_ms=clock.now_ms,
        ),
        retention=Retention(item.retention_ms),
        label=f"{name}/" if name else "",
    )


def _checkpoints(
    item: InputConfig, settings: Settings, azure: AzureClients, *, observes: bool
) -> tuple[Checkpoints, Checkpoints | None]:
    """Those of this input, and those of pods that observed before, where publishing begins behind them."""
    make, group = partial(make_checkpoints, settings, azure, *item.address.name), item.consumer_group
    if observes:
        return ObservingCheckpoints(make(group + OBSERVING), published=make(group)), None
    return make(group), None if "start_at" in settings.model_fields_set else make(group + OBSERVING)


@asynccontextmanager
async def build_fleet(settings: Settings) -> AsyncIterator[Fleet]:
    """Reads what is counted in Redis, without a service. Raises ConfigurationError, or UnavailableError."""
    config, azure = Config(settings), AzureClients(_network(settings))
    groups, redis = config.groups(clean_partitions=["0"]), _redis(settings, azure)
    fleet = Fleet(
        RedisLedger(redis, namespace=config.namespace, shards=settings.shard_count),
        RedisPodBoard(redis, namespace=config.namespace),
        RedisTimelineStore(redis, namespace=config.namespace),
        groups,
        namespace=config.namespace,
    )
    try:
        await _check_namespace(redis, config)
        yield fleet
    finally:
        await redis.aclose()
        await azure.close()


@asynccontextmanager
async def build_round_trip(settings: Settings) -> AsyncIterator[RoundTripPorts]:
    """Raises ConfigurationError, or CheckFailedError where no group would publish what is sent."""
    config, azure = Config(settings), AzureClients(_network(settings))
    address = config.check_address
    if len(config.inputs) > 1:
        problem = "names one of several inputs, whose partitions `check --round-trip` can't tell apart"
        raise ConfigurationError(f"{PREFIX}CHECK_CONNECTION_STRING", problem, HUB_EXAMPLE)
    outputs = [item for item in config.outputs if not item.name]
    if not outputs:
        raise ConfigurationError(f"{PREFIX}OUTPUT_CONNECTION_STRING", "is missing, so nothing would come out", HUB_EXAMPLE)
    if (refused := refusal(config.groups(clean_partitions=["0"]))) is not None:
        raise CheckFailedError(refused)
    publisher = _publisher(azure, address, Dependency(DependencyKind.INPUT_HUB_SENDING), settings)
    ports = RoundTripPorts(publisher, _clean(outputs[0], settings, azure), _tail(outputs[0], settings, azure))
    try:
        yield ports
    finally:
        await asyncio.gather(ports.input.close(), ports.clean.close(), ports.tail.close(), return_exceptions=True)
        await azure.close()


@asynccontextmanager
async def build_capture(settings: Settings, name: str | None, consumer_group: str) -> AsyncIterator[tuple[str, InputHub]]:
    """What is read, for messages, and the input hub, read in this consumer group. Raises ConfigurationError, or
    CaptureFailedError."""
    # Whoever runs it need not know the consumer group of `run`, nor the name of what is kept in Redis.
    known = {"input_consumer_group": settings.input_consumer_group or "", "namespace": settings.namespace or "capture"}
    item = chosen_input(Config(settings.model_copy(update=known)).inputs, name, consumer_group)
    azure = AzureClients(_network(settings))
    connect_to = partial(azure.consumer, item.address, consumer_group, load_balancing_interval=RETRY_INTERVAL_SECONDS)
    hub = EventHubInput(connect_to, item.address.namespace, "", prefetch=CAPTURE_PREFETCH, batch_size=CAPTURE_PREFETCH)
    try:
        yield "/".join(item.address.name), hub
    finally:
        await hub.close()
        await azure.close()


async def check_start(settings: Settings) -> list[str]:
    """Tries what `run` tries at its start and needs later, without a running service. Returns what is wrong but does not
    prevent the start. Raises ConfigurationError, or UnavailableError."""
    config, azure = Config(settings), AzureClients(_network(settings))
    redis = _redis(settings, azure)
    tail = RoutedTail({o.name: _tail(o, settings, azure) for o in ([] if config.only_observes else config.outputs)})
    try:
        await _check_redis(redis, config)
        return [f"other readers have {group}, which must be this service's own" for group in await tail.try_reading()]
    finally:
        await asyncio.gather(redis.aclose(), tail.close(), return_exceptions=True)
        await azure.close()


async def retention_warnings(settings: Settings) -> list[str]:
    """What `run` finds out beside its work, of clean hubs that keep less than the window. Raises ConfigurationError, or
    UnavailableError."""
    config, azure = Config(settings), AzureClients(_network(settings))
    if config.only_observes or settings.on_redis_loss != "rebuild":
        return []
    clean = RoutedPublisher({o.name: _clean(o, settings, azure) for o in config.outputs})
    tail = RoutedTail({o.name: _tail(o, settings, azure) for o in config.outputs})
    try:
        groups = config.groups(await clean.partition_ids())
        ages_ms = await ages_of_oldest(tail, written_partitions(groups), SystemClock())
        return [str(short) for short in short_retentions(ages_ms, groups)]
    finally:
        await asyncio.gather(clean.close(), tail.close(), return_exceptions=True)
        await azure.close()


async def create_checkpoint_container(settings: Settings) -> str:
    """Creates the container if checkpoints are in blobs, and returns what was done. Raises ConfigurationError."""
    azure, url = AzureClients(_network(settings)), settings.checkpoint_url.get_secret_value()
    if url.startswith(SQLITE_SCHEME):
        return "checkpoints are in a file, which is created at the first start"
    try:
        return await create_container(azure.blob_store(url))
    except (UnavailableError, ValueError) as error:
        problem = error.problem if isinstance(error, UnavailableError) else "names no blob container"
        raise ConfigurationError(f"{PREFIX}CHECKPOINT_URL", problem, example("checkpoint_url")) from None
    finally:
        await azure.close()


def _redis(settings: Settings, azure: AzureClients) -> RedisClient:
    credentials = EntraCredentials(azure.credential()) if settings.redis_auth == "entra" else None
    try:
        return connect(
            settings.redis_url.get_secret_value(),
            settings.redis_timeout_seconds,
            is_cluster=settings.redis_cluster,
            ca_file=settings.ca_file,
            credentials=credentials,
        )
    except ValueError:  # its message may hold the password
        problem = "is not a Redis URL; characters of the password such as / # @ must be percent-encoded"
        raise ConfigurationError(f"{PREFIX}REDIS_URL", problem, example("redis_url")) from None
    except RedisError as error:
        raise ConfigurationError(f"{PREFIX}REDIS_URL", f"can't be used: {error}", example("redis_url")) from None


def _publisher(azure: AzureClients, address: HubAddress, dependency: Dependency, settings: Settings) -> EventHubPublisher:
    connect_to = partial(azure.producer, address)
    return EventHubPublisher(connect_to, dependency, send_timeout_seconds=settings.send_timeout_seconds)


def _clean(output: OutputConfig, settings: Settings, azure: AzureClients) -> EventHubPublisher:
    return _publisher(azure, output.address, Dependency(DependencyKind.CLEAN_HUB, output.name), settings)


def _tail(output: OutputConfig, settings: Settings, azure: AzureClients) -> EventHubTail:
    connect_to = partial(
        azure.consumer, output.address, output.consumer_group, load_balancing_interval=RETRY_INTERVAL_SECONDS
    )
    return EventHubTail(connect_to, output, timeout_seconds=settings.lease_seconds)


def _dead_letters(config: Config, azure: AzureClients) -> EventHubPublisher | None:
    if config.dead_letters is None:
        return None
    return _publisher(azure, config.dead_letters, Dependency(DependencyKind.DEAD_LETTER_HUB), config.settings)


def make_checkpoints(settings: Settings, azure: AzureClients, namespace: str, hub: str, group: str) -> Checkpoints:
    """Raises ConfigurationError."""
    url = settings.checkpoint_url.get_secret_value()
    try:
        if url.startswith(SQLITE_SCHEME):
            return SqliteCheckpoints(Path(url.removeprefix(SQLITE_SCHEME)), namespace, hub, group)
        return SdkCheckpoints(azure.blob_store(url), namespace, hub, group)
    except OSError as error:
        raise ConfigurationError(f"{PREFIX}CHECKPOINT_URL", str(error), example("checkpoint_url")) from None
    except ValueError:  # its message may hold the signature
        problem = "names no blob container that can be opened (https://ACCOUNT.blob.core.windows.net/CONTAINER)"
        raise ConfigurationError(f"{PREFIX}CHECKPOINT_URL", problem, example("checkpoint_url")) from None
