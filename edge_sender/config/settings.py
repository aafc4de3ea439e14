"""The edge's settings: environment variables with the prefix EDGE_, some of which the module twin may override."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from edge_sender.config.sources import SourcesDocument, check_sources, parse_sources
from edge_sender.config.uplink import check_authorities, check_key, check_proxy, uplink_contradictions
from edge_sender.ports import SourceConfigError

PREFIX = "EDGE_"
IN_MEMORY = "memory"
LEAST_KEY = 16


class SettingsError(Exception):
    """Settings are missing or wrong: a line for each, which names it and shows an example."""

    def __init__(self, *problems: str) -> None:
        heading = [f"{len(problems)} settings are missing or wrong:"] if len(problems) > 1 else []
        super().__init__("\n".join([*heading, *problems]))
        self.problems = problems


class SettingsProblems:
    """Collects problems, and raises them together, so that whoever starts the sender need not start it once for each."""

    def __init__(self) -> None:
        self._by_setting: dict[str, str] = {}

    def note(self, problem: str) -> None:
        """`problem` begins with the setting's name. Of several about one setting, the first counts."""
        self._by_setting.setdefault(problem.partition(":")[0], problem)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Notes what the block raises, and goes on behind it."""
        try:
            yield
        except SettingsError as error:
            for problem in error.problems:
                self.note(problem)

    def raise_all(self) -> None:
        """Raises SettingsError, if there is one."""
        if self._by_setting:
            raise SettingsError(*self._by_setting.values())

    def raise_those_of(self, *names: str) -> None:
        """Raises SettingsError, if there is one about a setting of these."""
        if found := [problem for setting, problem in self._by_setting.items() if setting in names]:
            raise SettingsError(*found)


class EdgeSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", hide_input_in_errors=True, allow_inf_nan=False)

    sources: str | None = Field(
        None,
        description="The sources' document itself, YAML or JSON.",
        examples=["{sources: [{name: trial, kind: synthetic, identity: sequence}]}"],
    )
    sources_file: Path | None = Field(
        None, description="File that holds the sources' document.", examples=["/etc/edge/sources.yaml"]
    )
    replica: str | None = Field(
        None,
        description="This gateway's name; required with `event-hubs` and `active-passive`.",
        examples=["edge-a"],
        pattern=r"^[A-Za-z0-9._\-]{1,128}$",
    )

    uplink: Literal["iot", "iot-edge", "event-hubs"] = Field(
        "iot-edge",
        description="`iot-edge`: a module of the Edge runtime; `iot`: a device or module by connection string; "
        "`event-hubs`: directly to an Event Hub.",
        examples=["iot"],
    )
    connection_string: SecretStr | None = Field(
        None,
        description="Connection string of the device, the module or the Event Hub; not needed with `iot-edge`, nor with "
        "EDGE_DPS_ID_SCOPE.",
        examples=["HostName=hub.azure-devices.net;DeviceId=edge-a;SharedAccessKey=…"],
    )
    transport: Literal["tcp", "websocket"] = Field(
        "tcp",
        description="`tcp`: MQTT (port 8883) or AMQP (5671) as they are. `websocket`: inside a WebSocket on port 443.",
        examples=["websocket"],
    )
    http_proxy: SecretStr | None = Field(
        None,
        description="HTTP proxy to the hub (then over WebSocket), to the provisioning service and to the witness; with "
        "`iot-edge`, the proxy is edgeHub's.",
        examples=["http://user:password@proxy.plant:3128"],
    )
    ca_file: Path | None = Field(
        None,
        description="PEM file of the certificate authorities to trust instead of the public ones: those of a private "
        "gateway, or of a proxy that opens TLS. It is for hub, provisioning service and witness.",
        examples=["/etc/edge/ca.pem"],
    )
    certificate: Path | None = Field(
        None,
        description="With `iot`: this device's certificate with its chain, PEM, for a connection string with `x509=true` "
        "or for the provisioning service. A renewed one is taken without a restart.",
        examples=["/etc/edge/device.pem"],
    )
    private_key: Path | None = Field(
        None, description="The certificate's private key, PEM, not encrypted.", examples=["/etc/edge/device.key"]
    )
    dps_id_scope: str | None = Field(
        None,
        description="With `iot`, instead of a connection string: the scope of the provisioning service (DPS) that assigns "
        "the hub.",
        examples=["0ne00A1B2C3"],
    )
    dps_registration_id: str | None = Field(
        None,
        description="This device's registration id; with a certificate, the certificate's common name.",
        examples=["edge-a"],
        pattern=r"^[A-Za-z0-9._:\-]{1,128}$",
    )
    dps_key: SecretStr | None = Field(
        None, description="Key of this device's enrollment, or one that was derived for it from its group's.", examples=["…"]
    )
    dps_group_key: SecretStr | None = Field(
        None,
        description="Key of an enrollment group, from which the device's is derived here. Whoever has it can register any "
        "device of the group: prefer EDGE_DPS_KEY.",
        examples=["…"],
    )
    dps_host: str = Field(
        "global.azure-devices-provisioning.net",
        description="The provisioning service's host.",
        examples=["dps-plant.azure-devices-provisioning.net"],
        pattern=r"^[A-Za-z0-9.\-]{1,253}$",
    )
    send_timeout_seconds: float = Field(
        10.0,
        gt=0,
        description="A message is sent again when nothing was acknowledged for this time, and for what its size takes.",
        examples=["10"],
    )
    max_in_flight: int = Field(32, ge=1, description="Messages sent but not yet acknowledged.", examples=["32"])
    twin: bool = Field(
        False,
        description="Also take settings and sources from the module's (or device's) twin; see docs/edge.md.",
        examples=["true"],
    )

    batch_max_readings: int = Field(
        20, ge=1, description="Most readings in one message; 1 sends each reading singly.", examples=["20"]
    )
    batch_max_bytes: int = Field(
        4096, ge=512, le=250_000, description="Size limit of a batch; IoT Hub meters in units of 4 KB.", examples=["4096"]
    )
    batch_max_seconds: float = Field(
        1.0, gt=0, description="Longest time that a batch waits for more readings.", examples=["1"]
    )

    spool_path: str = Field(
        "/var/lib/edge-sender/spool.db",
        description="Where readings are kept until the hub has them, in a folder that outlives the container; "
        "`memory` keeps them in memory only.",
        examples=["/var/lib/edge-sender/spool.db", IN_MEMORY],
    )
    spool_max_bytes: int = Field(
        512 * 1024 * 1024,
        ge=65_536,
        description="Total size of the readings in the spool, counting 64 extra bytes for each.",
        examples=["536870912"],
    )
    spool_max_age_seconds: float = Field(
        10_800.0,
        gt=0,
        description="Older readings are dropped and counted. Keep it below the service's window (4 h by default): "
        "a copy that arrives later is published again.",
        examples=["10800"],
    )
    spool_when_full: Literal["drop-oldest", "drop-newest"] = Field(
        "drop-oldest",
        description="What is dropped when the spool (or the memory in front of it) is full.",
        examples=["drop-newest"],
    )
    spool_commit_seconds: float = Field(
        0.1,
        ge=0,
        description="Shortest time between two commits to disk; a loss of power costs the readings of that time.",
        examples=["0.1"],
    )
    memory_readings: int = Field(
        50_000, ge=1, description="Most readings kept in memory while the disk does not accept them.", examples=["50000"]
    )
    memory_bytes: int = Field(
        64 * 2**20,
        ge=2**20,
        description="Most memory in bytes that these readings take, with about 200 bytes for each besides its contents. A "
        "single reading is kept in any case.",
        examples=["67108864"],
    )
    flush_seconds: float = Field(
        8.0, ge=0, description="How long to go on sending what is kept after SIGTERM.", examples=["8"]
    )

    ha: Literal["duplicate", "active-passive"] = Field(
        "duplicate",
        description="`duplicate`: every replica sends. `active-passive`: one at a time.",
        examples=["active-passive"],
    )
    witness: SecretStr | None = Field(
        None,
        description="Blob container that holds the lease: its URL with a signature, or a connection string with "
        "ContainerName.",
        examples=["https://account.blob.core.windows.net/witness?sv=…&sig=…"],
    )
    witness_blob: str = Field(
        "edge-sender", description="Name of the blob; one for each set of replicas that take turns.", examples=["line-1"]
    )
    lease_seconds: int = Field(15, ge=15, le=60, description="How long a dead replica's lease lasts.", examples=["15"])
    poll_seconds: float = Field(
        1.0, gt=0, le=5, description="Interval at which the other replicas ask for the lease.", examples=["1"]
    )
    overlap_seconds: float = Field(
        30.0,
        ge=0,
        description="How far back the readings reach that a replica sends when it takes over. With 0 it sends none of them, "
        "and the readings between the last sender's end and the takeover are lost.",
        examples=["30"],
    )
    peers: str = Field(
        "",
        description="Addresses of the other replicas that take turns, HOST:PORT separated by commas. They hear each other "
        "on the plant's network, and one takes over when it no longer hears the sender; without, when the lease has ended.",
        examples=["edge-b.plant:9465,10.0.0.3:9465"],
    )
    peers_key: SecretStr | None = Field(
        None, description="The key, shared by all replicas, that signs heartbeats; at least 16 characters.", examples=["…"]
    )
    peers_host: str = Field("0.0.0.0", description="Address on which heartbeats are heard (UDP).", examples=["10.0.0.2"])
    peers_port: int = Field(9465, ge=1, le=65535, description="Port of it.", examples=["9465"])
    heartbeat_ms: int = Field(
        200,
        ge=20,
        le=5000,
        description="Milliseconds between two heartbeats; a replica of which three were not heard is taken for dead.",
        examples=["50"],
    )
    without_witness: Literal["send", "stop"] = Field(
        "send",
        description="What to do while the witness can't be reached: `send` costs bandwidth, `stop` costs readings.",
        examples=["stop"],
    )

    identity_check_seconds: float = Field(
        40.0, ge=0, description="How long a second subscription compares ids; 0 disables the check.", examples=["40"]
    )
    identity_check_every_seconds: float = Field(
        21_600.0, gt=0, description="Pause between two identity checks.", examples=["21600"]
    )

    http_host: str = Field("0.0.0.0", description="Address that serves health and metrics.", examples=["127.0.0.1"])
    http_port: int = Field(
        9464, ge=0, le=65535, description="Port that serves health and metrics; 0 disables both.", examples=["9464"]
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Level of the log.", examples=["WARNING"]
    )

    @field_validator("http_proxy")
    @classmethod
    def _http_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_proxy(value.get_secret_value())
        return value

    @field_validator("dps_key", "dps_group_key")
    @classmethod
    def _dps_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_key(value.get_secret_value())
        return value

    @field_validator("ca_file")
    @classmethod
    def _ca_file(cls, value: Path | None) -> Path | None:
        if value is not None:
            check_authorities(value)
        return value

    def contradictions(self) -> Iterator[str]:
        """Rules about several settings."""
        for name, text in uplink_contradictions(self):
            yield _problem(name, text)
        if self.uplink == "event-hubs" and not self.replica:
            yield _problem("replica", "is required with EDGE_UPLINK=event-hubs")
        if self.uplink == "event-hubs" and self.twin:
            yield _problem("uplink", "an Event Hub has no twin, which EDGE_TWIN=true needs")
        if self.ha == "active-passive":
            yield from self._contradictions_of_turns()
        if self.peers:
            yield from self._contradictions_of_peers()

    def _contradictions_of_turns(self) -> Iterator[str]:
        if not self.replica:
            yield _problem("replica", "is required with EDGE_HA=active-passive")
        if self.witness is None:
            yield _problem("witness", "is required with EDGE_HA=active-passive")
        if 0 < self.overlap_seconds < self.lease_seconds + 2 * self.poll_seconds:
            yield _problem("overlap_seconds", "must be longer than EDGE_LEASE_SECONDS + 2 × EDGE_POLL_SECONDS, or 0")

    def _contradictions_of_peers(self) -> Iterator[str]:
        if self.ha != "active-passive":
            yield _problem("peers", "only replicas that take turns have peers, which needs EDGE_HA=active-passive")
        if self.without_witness == "stop":
            yield _problem(
                "peers", "with EDGE_WITHOUT_WITNESS=stop none may send without the lease, so that hearing peers is of no use"
            )
        if self.peers_key is None or len(self.peers_key.get_secret_value()) < LEAST_KEY:
            yield _problem("peers_key", f"is required with EDGE_PEERS, and has at least {LEAST_KEY} characters")
        try:
            self.peer_addresses()
        except ValueError as error:
            yield _problem("peers", str(error))

    def peer_addresses(self) -> list[tuple[str, int]]:
        """Raises ValueError."""
        found = []
        for part in filter(None, (part.strip() for part in self.peers.split(","))):
            host, colon, port = part.rpartition(":")
            host = host.removeprefix("[").removesuffix("]")
            if not (colon and host and port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
                raise ValueError(f"{part!r} is not HOST:PORT")
            found.append((host, int(port)))
        return found

    @property
    def has_sources(self) -> bool:
        """Whether a document is named or given."""
        return bool(self.sources) or self.sources_file is not None

    def sources_document(self) -> SourcesDocument:
        """Raises SettingsError."""
        name = "EDGE_SOURCES" if self.sources else "EDGE_SOURCES_FILE"
        try:
            if self.sources:
                return parse_sources(self.sources)
            if self.sources_file is not None:
                return parse_sources(self.sources_file.read_text())
        except (OSError, SourceConfigError) as error:
            raise SettingsError(f"{name}: {error}") from None
        raise SettingsError(_problem("sources_file", "is required, or EDGE_SOURCES"))


TWIN_SETTINGS = frozenset(
    name
    for name in EdgeSettings.model_fields
    if name.startswith(("batch_", "spool_max", "spool_when", "spool_commit", "identity_check"))
    or name
    in (
        "overlap_seconds",
        "without_witness",
        "send_timeout_seconds",
        "max_in_flight",
        "memory_readings",
        "memory_bytes",
        "log_level",
    )
)
"""What a twin may set: nothing secret, and nothing that could cut the module off from its twin."""


def read(problems: SettingsProblems, **overrides: Any) -> EdgeSettings:
    """The environment. What is wrong in it is noted, and the settings have their defaults in its place."""
    settings = _read_each(problems, **overrides)
    for problem in settings.contradictions():
        problems.note(problem)
    return settings


def load_sources() -> tuple[EdgeSettings, SourcesDocument]:
    """The environment as far as sources need it: what only sending needs may be missing or wrong. Raises SettingsError."""
    problems = SettingsProblems()
    settings = _read_each(problems)
    problems.raise_those_of("EDGE_SOURCES", "EDGE_SOURCES_FILE", "EDGE_REPLICA")
    return settings, settings.sources_document()


def _read_each(problems: SettingsProblems, **overrides: Any) -> EdgeSettings:
    try:
        return EdgeSettings(**overrides)
    except ValidationError as error:
        wrong = {str(item["loc"][0]): item["msg"].removeprefix("Value error, ") for item in error.errors()}
        for name, text in wrong.items():
            problems.note(_problem(name, text))
        return EdgeSettings(**{**overrides, **{name: EdgeSettings.model_fields[name].default for name in wrong}})


def load(**overrides: Any) -> EdgeSettings:
    """Read the environment. Raises SettingsError with one message about all settings that are missing or wrong."""
    problems = SettingsProblems()
    settings = read(problems, **overrides)
    problems.raise_all()
    return settings


def with_twin(settings: EdgeSettings, desired: Mapping[str, Any]) -> tuple[EdgeSettings, SourcesDocument]:
    """The settings as changed by the twin's desired properties, and the sources. Raises SettingsError."""
    given = {name: value for name, value in desired.items() if not name.startswith("$") and value is not None}
    sources = given.pop("sources", None)
    if unknown := sorted(given.keys() - TWIN_SETTINGS):
        raise SettingsError(
            f"{', '.join(unknown)}: can't be set by a twin; these can: sources, {', '.join(sorted(TWIN_SETTINGS))}"
        )
    changed = load(**{**settings.model_dump(), **given}) if given else settings
    if sources is None:
        return changed, changed.sources_document()
    try:
        return changed, check_sources({"sources": sources})
    except SourceConfigError as error:
        raise SettingsError(str(error)) from None


def http_address() -> tuple[str, int]:
    """Where a sender with this environment serves health, as seen from the same machine. Raises SettingsError."""
    fields = EdgeSettings.model_fields
    host = os.environ.get(f"{PREFIX}HTTP_HOST", fields["http_host"].default)
    port = os.environ.get(f"{PREFIX}HTTP_PORT", str(fields["http_port"].default))
    if not port.isdigit():
        raise SettingsError(_problem("http_port", "must be a number"))
    return ("127.0.0.1" if host == "0.0.0.0" else host), int(port)


def settings_help() -> str:
    """Every setting, for `--help`."""
    lines = []
    for name, item in EdgeSettings.model_fields.items():
        default = "" if item.default is None else f" (default: {item.default})"
        lines.append(f"  {PREFIX}{name.upper()}{default}\n      {item.description}")
    return "\n".join(["settings:", *lines])


def _problem(name: str, text: str) -> str:
    return f"{PREFIX}{name.upper()}: {text}, for example {PREFIX}{name.upper()}={_example(name)}"


def _example(name: str) -> str:
    return str((EdgeSettings.model_fields[name].examples or [""])[0])
