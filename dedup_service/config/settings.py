"""The service's settings: environment variables with the prefix DEDUP_. One place for every name and default."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from dedup_service.config.urls import (
    PERCENT_ENCODE,
    HostAndPort,
    check_redis_url,
    check_sqlite_url,
    split_url,
    url_host,
)
from dedup_service.core.accounting import MAX_SOURCES
from dedup_service.core.claims import MAX_SHARDS
from dedup_service.core.limits import Limits
from dedup_service.core.times import source_time_ms
from dedup_service.errors import ConfigurationProblems
from wire.times import FIRST_NS, LAST_NS, parse_rfc3339

PREFIX = "DEDUP_"
HUB_EXAMPLE = "Endpoint=sb://….servicebus.windows.net/;SharedAccessKeyName=…;SharedAccessKey=…;EntityPath=hub"
ENTRA_HUB_EXAMPLE = "Endpoint=sb://….servicebus.windows.net/;EntityPath=hub"
CLUSTER_SHARDS = 16
MISSING_OUTPUT_GROUP = (
    "is missing: the clean hub needs a consumer group that only this service reads, to look up after a crash what was "
    "published; other readers of the same group shut it out, or are ended by it. `$Default` is possible if it is named here"
)
DISCARD = "discard"


def _endpoint(hub: str) -> Any:
    return Field(
        None,
        description=f"Connect to the {hub} hub at this address instead of its namespace: a private endpoint, or a gateway.",
        examples=["hub.plant.example:443"],
    )


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", hide_input_in_errors=True)

    input_connection_string: SecretStr | None = Field(
        None,
        description="The input hub: IoT Hub's Event Hub-compatible endpoint, or an Event Hub. Without a SharedAccessKey, "
        "Entra ID is used, which IoT Hub's endpoint does not support. Needed unless the file names inputs.",
        examples=[HUB_EXAMPLE, ENTRA_HUB_EXAMPLE],
    )
    input_consumer_group: str | None = Field(
        None,
        description="Consumer group of the input hub, which no other reader may use. Needed unless the file names inputs.",
        examples=["dedup"],
        min_length=1,
    )
    output_connection_string: SecretStr | None = Field(
        None,
        description="The clean hub. Without a SharedAccessKey, Entra ID is used. Needed unless the mode is `observe`.",
        examples=[HUB_EXAMPLE, ENTRA_HUB_EXAMPLE],
    )
    output_consumer_group: str | None = Field(
        None,
        description="Consumer group of the clean hub, to look up what was published; no other reader may use it. `$Default` "
        "only if it is named here. Needed with DEDUP_OUTPUT_CONNECTION_STRING.",
        examples=["dedup"],
        min_length=1,
    )
    dead_letter_connection_string: SecretStr | None = Field(
        None,
        description="The dead-letter hub, or the word `discard`: then what can't be processed is counted and dropped.",
        examples=[HUB_EXAMPLE, ENTRA_HUB_EXAMPLE, DISCARD],
    )
    input_endpoint_address: HostAndPort | None = _endpoint("input")
    output_endpoint_address: HostAndPort | None = _endpoint("clean")
    dead_letter_endpoint_address: HostAndPort | None = _endpoint("dead-letter")
    transport: Literal["amqp", "websocket"] = Field(
        "amqp", description="How to reach the hubs: port 5671, or WebSocket on port 443.", examples=["websocket"]
    )
    http_proxy: SecretStr | None = Field(
        None,
        description="Proxy for the hubs (then over WebSocket), blobs and Entra ID; not for Redis.",
        examples=["http://user:password@proxy.example:3128"],
    )
    ca_file: Path | None = Field(
        None,
        description="PEM file of the certificate authorities to trust instead of the public ones, for all TLS connections.",
        examples=["/etc/dedup/ca.pem"],
    )
    redis_url: SecretStr = Field(
        description="Redis 6 or newer, or Valkey; rediss:// means TLS. Contains the password, unless Entra ID is used.",
        examples=["rediss://:password@cache.example:6380/0", "redis://localhost:6379/0"],
    )
    redis_auth: Literal["url", "entra"] = Field(
        "url", description="`url`: with the URL's password; `entra`: with a token from Entra ID.", examples=["entra"]
    )
    redis_cluster: bool = Field(
        False,
        description="Redis is clustered (Redis Cluster, Azure Managed Redis with the OSS policy).",
        examples=["true"],
    )
    redis_timeout_seconds: float = Field(2.0, gt=0, description="Limit for one call to Redis.", examples=["2"])
    allow_eviction: bool = Field(
        False, description="Start even though Redis may evict claims; duplicates are then possible.", examples=["true"]
    )
    namespace: str | None = Field(
        None,
        description="Prefix of this deployment's keys in Redis; by default derived from the input hub, its consumer group "
        "and the clean hub. Set it, so that it stays when one of them gets another name.",
        examples=["plant-7"],
        max_length=64,
    )
    shards: int | None = Field(
        None,
        ge=1,
        le=MAX_SHARDS,
        description=f"Shards of the claims: {CLUSTER_SHARDS} when Redis is clustered, else 1. After a change the claims are "
        "read back from the clean stream, once all pods with the former number have gone.",
        examples=["16"],
    )
    checkpoint_url: SecretStr = Field(
        description="For one machine a file: sqlite:////FOLDER/FILE, with four slashes, since three of them begin a path "
        "that is relative to the working directory. For AKS a blob container: its URL (Entra ID is used without a SAS), or "
        "a storage connection string followed by ;ContainerName=NAME.",
        examples=["https://account.blob.core.windows.net/dedup-checkpoints", "sqlite:////var/lib/dedup/checkpoints.db"],
    )
    checkpoint_interval_seconds: float = Field(
        10.0,
        gt=0,
        description="Interval of checkpoints; one is also written when a partition goes idle or is left. They are read "
        "where Redis was lost, and by KEDA.",
        examples=["1"],
    )
    lease_interval_seconds: float = Field(
        0.5, gt=0, description="Interval of renewals of this pod's leases.", examples=["0.5"]
    )
    lease_seconds: float = Field(
        5.0, gt=0, description="A pod that did not renew for this long has lost its partitions.", examples=["5"]
    )
    partition_check_seconds: float = Field(
        60.0,
        gt=0,
        description="Interval of checks whether the input hub has got more partitions.",
        examples=["60"],
    )
    sample_interval_seconds: float = Field(
        3.0,
        gt=0,
        description="Interval of samples of the clean hub's end, which limit how much is read back after a crash.",
        examples=["3"],
    )
    on_redis_loss: Literal["rebuild", "continue"] = Field(
        "rebuild",
        description="When Redis has forgotten claims: `rebuild` them from the clean stream before anything is published, or "
        "`continue` at once; then copies of what was published come again.",
        examples=["rebuild"],
    )
    rebuild_horizon_seconds: float | None = Field(
        None,
        gt=0,
        description="Back to how long ago the clean stream is read before live data goes on; by default four times the "
        "observed spread of copies, between two and 15 minutes.",
        examples=["300"],
    )
    clock_error_seconds: float = Field(
        60.0,
        ge=0,
        description="How far the clock that stamps readings may be ahead: while claims are rebuilt, a reading counts as "
        "measured so much earlier.",
        examples=["60"],
    )
    window_seconds: int = Field(14_400, gt=0, description="How long a published key is remembered.", examples=["14400"])
    input_retention_seconds: int = Field(
        86_400, gt=0, description="The input hub's retention, which the service can't read.", examples=["86400"]
    )
    start_at: str = Field(
        "earliest",
        description="Where to start without a checkpoint: `earliest`, `latest`, or a time (RFC 3339, with offset). If it is "
        "not set, publishing after `observe` starts with what arrived since pods last observed.",
        examples=["earliest", "2026-01-31T06:00:00Z"],
    )
    mode: Literal["drop", "mark", "observe"] = Field(
        "drop",
        description="`drop` duplicates, `mark` and publish them, or `observe`: publish nothing, only measure.",
        examples=["drop"],
    )
    config_file: Path | None = Field(
        None,
        description="YAML file with the redundancy groups; without it, all devices are one group.",
        examples=["/etc/dedup/groups.yaml"],
    )
    max_sources: int = Field(
        MAX_SOURCES,
        ge=1,
        le=1_000_000,
        description="How many sources of each group are counted and listed one by one; those beyond are counted together.",
        examples=["100000"],
    )
    max_readings_per_second: float = Field(
        10_000.0,
        gt=0,
        description="How many readings one replica may send in each partition: the average over a minute, by the hub's "
        "clock.",
        examples=["2000"],
    )
    max_readings_in_window: int = Field(
        50_000_000,
        gt=0,
        description="How many readings one replica may send in each partition within its group's window. `plan` shows what "
        "fits.",
        examples=["20000000"],
    )
    beyond_limits: Literal["hold", "dead-letter"] = Field(
        "hold",
        description="What happens to a replica's readings beyond these limits: `hold` reads its partition no faster than "
        "they allow, so that nothing is refused, but what is behind waits; `dead-letter` refuses them.",
        examples=["dead-letter"],
    )
    accounting: bool = Field(True, description="Count the redundancy in Redis, which /v1/groups shows.", examples=["true"])
    unmatched: Literal["ignore", "forward", "dead-letter"] = Field(
        "ignore",
        description="What happens to events that are not telemetry, or come from a device in no group.",
        examples=["ignore"],
    )
    partition_by: Literal["source", "group"] = Field(
        "source",
        description="`source`: a source's readings stay on one output partition, and batches are split where necessary; "
        "`group`: everything goes to one output partition.",
        examples=["source"],
    )
    kept_properties: str = Field(
        "",
        description="Property names, separated by commas, that devices may use although they control Azure Data Explorer's "
        "ingestion.",
        examples=["Table,Format"],
    )
    max_decompressed_bytes: int = Field(
        4 * 1024 * 1024,
        gt=0,
        description="A gzip body that decompresses to more goes to the dead letters.",
        examples=["4194304"],
    )
    prefetch: int = Field(
        3000,
        ge=1,
        description="Events that are read ahead for each partition. A batch is also bounded by its bytes (4 MiB), but not "
        "over WebSocket: lower this there for large events.",
        examples=["300"],
    )
    batch_size: int = Field(1000, ge=1, description="Events handled at once for each partition.", examples=["300"])
    send_timeout_seconds: float = Field(
        3.0, gt=0, description="Limit for one send to a hub; well below the lease.", examples=["3"]
    )
    check_connection_string: SecretStr | None = Field(
        None,
        description="The input hub (an Event Hub) with the right to send, which only `check --round-trip` needs.",
        examples=[HUB_EXAMPLE, ENTRA_HUB_EXAMPLE],
    )
    http_host: str = Field("0.0.0.0", description="Where the REST API listens.", examples=["127.0.0.1"])
    http_port: int = Field(8000, ge=0, le=65_535, description="Port of the REST API; 0 takes a free one.", examples=["8000"])
    http_certificate: Path | None = Field(
        None,
        description="A certificate with its chain, PEM: the REST API then is HTTPS. A renewed one is taken within a minute.",
        examples=["/etc/dedup-tls/tls.crt"],
    )
    http_private_key: Path | None = Field(
        None, description="The certificate's private key, PEM, not encrypted.", examples=["/etc/dedup-tls/tls.key"]
    )
    api_token: SecretStr | None = Field(
        None,
        min_length=1,
        description="If set, everything but health and metrics needs `Authorization: Bearer …`.",
        examples=["a-long-secret"],
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="`json` for machines, `console` for people.", examples=["console"]
    )

    @field_validator("start_at")
    @classmethod
    def _start_at(cls, value: str) -> str:
        if value not in ("earliest", "latest"):
            time_ns = parse_rfc3339(value)
            if time_ns is None or not FIRST_NS <= time_ns <= LAST_NS:
                raise ValueError("is neither earliest nor latest nor a time by RFC 3339, which has an offset from UTC, or Z")
        return value

    @field_validator("checkpoint_url")
    @classmethod
    def _checkpoint_url(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text.startswith("sqlite:"):
            check_sqlite_url(text)
        elif not text.startswith(("https://", "http://")) and "AccountName=" not in text:
            raise ValueError("is neither sqlite:////FOLDER/FILE nor a blob container")
        return value

    @field_validator("http_proxy")
    @classmethod
    def _http_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parts = split_url(value.get_secret_value())
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"is not http://HOST:PORT; {PERCENT_ENCODE}")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: SecretStr) -> SecretStr:
        check_redis_url(value.get_secret_value())
        return value

    @field_validator("http_host")
    @classmethod
    def _http_host(cls, value: str) -> str:
        return value[1:-1] if value.startswith("[") and value.endswith("]") else value

    @field_validator("api_token")
    @classmethod
    def _api_token(cls, value: SecretStr | None) -> SecretStr | None:
        """Clients encode anything else differently, or strip it, and their requests would be refused (RFC 6750, 2.1)."""
        if value is not None and not re.fullmatch("[!-~]+", value.get_secret_value()):
            raise ValueError("may have only visible ASCII characters, and no space or line break around them")
        return value

    @field_validator("ca_file")
    @classmethod
    def _ca_file(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                ssl.create_default_context(cafile=str(value))
            except OSError as error:  # a missing file, or one without certificates
                raise ValueError(f"{value} can't be read as PEM certificates ({error.strerror or error})") from None
        return value

    def note_contradictions(self, problems: ConfigurationProblems) -> None:
        """Rules about several settings."""
        if self.mode != "observe" and self.config_file is None:
            for name in ("output_connection_string", "dead_letter_connection_string"):
                if getattr(self, name) is None:
                    text = f"is missing, but mode {self.mode} needs it ({PREFIX}MODE=observe does not)"
                    problems.note(f"{PREFIX}{name.upper()}", text, example(name))
            if self.output_connection_string is None and self.output_consumer_group is None:
                problems.note(f"{PREFIX}OUTPUT_CONSUMER_GROUP", MISSING_OUTPUT_GROUP, example("output_consumer_group"))
        for name, other in (("http_certificate", "http_private_key"), ("http_private_key", "http_certificate")):
            if getattr(self, name) is None and getattr(self, other) is not None:
                problems.note(f"{PREFIX}{name.upper()}", f"is missing, and {PREFIX}{other.upper()} needs it", example(name))
        if self.lease_seconds < self.send_timeout_seconds + 2 * self.lease_interval_seconds:
            text = (
                f"is too short: a send of {self.send_timeout_seconds} s and two renewals of {self.lease_interval_seconds} s "
                "must fit into it"
            )
            problems.note(f"{PREFIX}LEASE_SECONDS", text, example("lease_seconds"))

    @property
    def start_position(self) -> str | int:
        """`earliest`, `latest`, or milliseconds since the epoch."""
        at_ms = source_time_ms(self.start_at)
        return self.start_at if at_ms is None else at_ms

    @property
    def local_url(self) -> str:
        """Where a process on this machine reaches the REST API."""
        local = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
        scheme = "http" if self.http_certificate is None else "https"
        return f"{scheme}://{url_host(local.get(self.http_host, self.http_host))}:{self.http_port}"

    @property
    def shard_count(self) -> int:
        if self.shards is not None:
            return self.shards
        return CLUSTER_SHARDS if self.redis_cluster else 1

    @property
    def limits(self) -> Limits:
        return Limits(self.max_readings_per_second, self.max_readings_in_window, self.beyond_limits)

    @property
    def kept_property_names(self) -> frozenset[str]:
        """Lower-case."""
        return frozenset(name.strip().lower() for name in self.kept_properties.split(",") if name.strip())

    @property
    def discards_dead_letters(self) -> bool:
        secret = self.dead_letter_connection_string
        return secret is None or secret.get_secret_value() == DISCARD


def example(name: str) -> str:
    examples = Settings.model_fields[name].examples
    return str(examples[0]) if examples else ""
