"""The composition root: the only module that knows every adapter."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from azure.eventhub import parse_connection_string
from azure.eventhub.aio import CheckpointStore, EventHubConsumerClient
from redis.asyncio import Redis

from dedup_service.adapters.eventhub_input import EventHubInput
from dedup_service.adapters.eventhub_publisher import EventHubPublisher
from dedup_service.adapters.eventhub_tail import EventHubTail
from dedup_service.adapters.redis_accounts import RedisAccounts
from dedup_service.adapters.redis_board import RedisBoard
from dedup_service.adapters.redis_calls import connect
from dedup_service.adapters.redis_claims import RedisClaims, check_eviction
from dedup_service.adapters.redis_leases import RedisLeases
from dedup_service.adapters.routed_hubs import RoutedPublisher, RoutedTail
from dedup_service.adapters.sdk_checkpoints import SdkCheckpoints
from dedup_service.adapters.sqlite_checkpoints import SqliteCheckpoints
from dedup_service.core.extract import CloudEventsExtractor
from dedup_service.deployment import Deployment
from dedup_service.errors import ConfigurationError
from dedup_service.grouping import configured, make_group, only_observes
from dedup_service.hubs import Input, Output, configured_inputs, configured_outputs
from dedup_service.intake import InputPorts, SharedPorts
from dedup_service.ports import Checkpoints
from dedup_service.service import Service, ServicePorts
from dedup_service.settings import HUB_EXAMPLE, PREFIX, SQLITE_SCHEME, Settings, example
from dedup_service.telemetry import Telemetry

DEFAULT_CONTAINER = "dedup-checkpoints"
BLOB_OPTIONS: dict[str, Any] = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 5}
"""By default one call to a store that is away takes a minute and a half; this service does its own retrying."""


class SystemClock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def build(settings: Settings, telemetry: Telemetry) -> Service:
    """Raises ConfigurationError."""
    groups, inputs, redis = configured(settings), configured_inputs(settings), _redis(settings)
    outputs, is_observing = configured_outputs(settings), only_observes(groups, settings)
    clock, namespace = SystemClock(), key_namespace(settings)
    _require_different(inputs)
    shared = SharedPorts(
        claims=RedisClaims(redis, namespace=namespace, accounting=settings.accounting),
        clean=None if is_observing else RoutedPublisher({item.name: _publisher(item, settings) for item in outputs}),
        tail=None if is_observing else RoutedTail({item.name: _tail(item, settings) for item in outputs}),
        dead_letters=None if is_observing else _dead_letters(settings),
        clock=clock,
        telemetry=telemetry,
    )
    ports = ServicePorts(
        inputs=[_input_ports(item, settings, redis, namespace, clock, single=len(inputs) == 1) for item in inputs],
        shared=shared,
        accounts=RedisAccounts(redis, namespace=namespace, shards=settings.shards),
        board=RedisBoard(redis, namespace=namespace),
        check_claims=partial(check_eviction, redis, allowed=settings.allow_eviction),
        extractor=CloudEventsExtractor(settings.max_decompressed_bytes),
    )
    return Service(settings, groups, ports, f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")


def _require_different(inputs: list[Input]) -> None:
    """Two inputs on one hub would share its leases, and each take them all."""
    seen: dict[tuple[str, str], Input] = {}
    for item in inputs:
        name = _hub_name(item.setting, item.connection_string.get_secret_value())
        if name in seen:
            problem = f"names the hub of input {seen[name].name} once more ({'/'.join(name)})"
            raise ConfigurationError(item.setting, problem, HUB_EXAMPLE)
        seen[name] = item


def _input_ports(
    item: Input, settings: Settings, redis: Redis, namespace: str, clock: SystemClock, *, single: bool
) -> InputPorts:
    secret = item.connection_string.get_secret_value()
    hub_name = _hub_name(item.setting, secret)

    def make_leases(partition_ids: list[str]) -> RedisLeases:
        return RedisLeases(
            redis,
            namespace=namespace,
            scope="/".join(hub_name),
            partition_ids=partition_ids,
            ttl_seconds=settings.lease_seconds,
            monotonic=clock.monotonic,
        )

    return InputPorts(
        name=item.name,
        consumer_group=item.consumer_group,
        setting=item.setting,
        example=HUB_EXAMPLE,
        hub=EventHubInput.from_connection_string(
            secret,
            item.consumer_group,
            "the input hub" if single else f"the input hub {item.name}",
            prefetch=settings.prefetch,
            batch_size=settings.batch_size,
        ),
        checkpoints=make_checkpoints(settings, *hub_name, item.consumer_group),
        make_leases=make_leases,
        retention_ms=item.retention_ms,
        label="" if single else f"{item.name}/",
    )


@asynccontextmanager
async def build_deployment(settings: Settings) -> AsyncIterator[Deployment]:
    """What is counted in Redis, without a service. Raises ConfigurationError."""
    groups, redis, namespace = configured(settings), _redis(settings), key_namespace(settings)
    deployment = Deployment(
        RedisAccounts(redis, namespace=namespace, shards=settings.shards),
        RedisBoard(redis, namespace=namespace),
        [make_group(group, settings, ["0"]) for group in groups],
    )
    try:
        yield deployment
    finally:
        await redis.aclose()


def _redis(settings: Settings) -> Redis:
    try:
        return connect(settings.redis_url.get_secret_value(), settings.redis_timeout_seconds)
    except ValueError:  # its message may hold the password
        problem = "is no Redis URL; characters of the password such as / # @ must be percent-encoded"
        raise ConfigurationError(f"{PREFIX}REDIS_URL", problem, example("redis_url")) from None


def _secret(settings: Settings, name: str) -> str | None:
    secret = getattr(settings, name)
    return None if secret is None else str(secret.get_secret_value())


def _hub_name(setting: str, connection_string: str) -> tuple[str, str]:
    """(namespace, hub) of a connection string. Raises ConfigurationError."""
    try:
        parsed = parse_connection_string(connection_string)
    except ValueError:  # its message may hold the key
        problem = "is no connection string with Endpoint, SharedAccessKeyName and SharedAccessKey"
        raise ConfigurationError(setting, problem, HUB_EXAMPLE) from None
    if not parsed.eventhub_name:
        raise ConfigurationError(setting, "does not name the hub (EntityPath)", HUB_EXAMPLE)
    return parsed.fully_qualified_namespace, parsed.eventhub_name


def _publisher(output: Output, settings: Settings) -> EventHubPublisher:
    secret = output.connection_string.get_secret_value()
    _hub_name(output.setting, secret)
    what = f"the clean hub {output.name}".rstrip()
    return EventHubPublisher.from_connection_string(secret, what, send_timeout_seconds=settings.send_timeout_seconds)


def _tail(output: Output, settings: Settings) -> EventHubTail:
    secret = output.connection_string.get_secret_value()
    client = EventHubConsumerClient.from_connection_string(secret, output.consumer_group, retry_total=0)
    return EventHubTail(client, timeout_seconds=settings.lease_seconds)


def _dead_letters(settings: Settings) -> EventHubPublisher | None:
    if settings.discards_dead_letters:
        return None
    secret = _secret(settings, "dead_letter_connection_string") or ""
    _hub_name(f"{PREFIX}DEAD_LETTER_CONNECTION_STRING", secret)
    timeout = settings.send_timeout_seconds
    return EventHubPublisher.from_connection_string(secret, "the dead-letter hub", send_timeout_seconds=timeout)


def key_namespace(settings: Settings) -> str:
    """Two deployments on one Redis must never read each other's claims as their own."""
    if settings.namespace:
        return settings.namespace
    (source,) = configured_inputs(settings)
    output = _secret(settings, "output_connection_string")
    clean = "" if output is None else "/".join(_hub_name(f"{PREFIX}OUTPUT_CONNECTION_STRING", output))
    text = f"{source.consumer_group}|{clean}".lower()
    return f"dd{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"


def make_checkpoints(settings: Settings, namespace: str, hub: str, group: str) -> Checkpoints:
    """Raises ConfigurationError."""
    url = settings.checkpoint_url.get_secret_value()
    try:
        if url.startswith(SQLITE_SCHEME):
            return SqliteCheckpoints(Path(url.removeprefix(SQLITE_SCHEME)), namespace, hub, group)
        return SdkCheckpoints(_blob_store(url), namespace, hub, group)
    except OSError as error:
        raise ConfigurationError(f"{PREFIX}CHECKPOINT_URL", str(error), example("checkpoint_url")) from None
    except ValueError:  # its message may hold the signature
        problem = "names no blob container that can be opened (https://ACCOUNT.blob.core.windows.net/CONTAINER?SAS)"
        raise ConfigurationError(f"{PREFIX}CHECKPOINT_URL", problem, example("checkpoint_url")) from None


def _blob_store(url: str) -> CheckpointStore:
    from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

    if url.startswith(("https://", "http://")):
        address, _, signature = url.partition("?")
        account, _, container = address.rstrip("/").rpartition("/")
        if not container or account.endswith(":/"):
            raise ValueError("no container")
        return BlobCheckpointStore(f"{account}?{signature}" if signature else account, container, **BLOB_OPTIONS)
    parts = [part for part in url.split(";") if part]
    names = [part.partition("=")[2] for part in parts if part.startswith("ContainerName=")]
    connection_string = ";".join(part for part in parts if not part.startswith("ContainerName="))
    container = names[0] if names else DEFAULT_CONTAINER
    return BlobCheckpointStore.from_connection_string(connection_string, container, **BLOB_OPTIONS)
