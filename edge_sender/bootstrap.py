"""The composition root of the edge: the only module that knows all adapters (sources/make.py knows the sources)."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from edge_sender.buffering.batcher import BatchLimits
from edge_sender.buffering.inbox import IntakeOptions
from edge_sender.buffering.salvage import SpoolFile
from edge_sender.buffering.spool_file import why_unusable
from edge_sender.buffering.spool_values import SpoolLimits
from edge_sender.clocks import system_clocks
from edge_sender.config.edgehub import EdgeHubConfig
from edge_sender.config.names import client_id_of, replica_name, secret
from edge_sender.config.opcua import OpcUaConfig
from edge_sender.config.settings import IN_MEMORY, EdgeSettings, SettingsError, SettingsProblems
from edge_sender.config.sources import NO_SOURCES, SourceConfig, SourcesDocument, is_probed
from edge_sender.counters import SourceTally
from edge_sender.election import ElectionOptions
from edge_sender.identity.check import IdentityCheck
from edge_sender.namesakes import Namesakes
from edge_sender.peers.beats import Beats
from edge_sender.peers.network import PeerNetwork
from edge_sender.ports import Inputs, Receiving, SourceConfigError, Uplink, UplinkError, Witness
from edge_sender.sender import ConfiguredSource, Sender, SenderOptions
from edge_sender.sources.make import certificates, make_probe, make_source, make_trial, survey, unlike_servers
from edge_sender.survey import Asked, Survey
from edge_sender.turns import TurnsOptions
from edge_sender.uplinks.network import Network

if TYPE_CHECKING:
    from edge_sender.uplinks.iot import IotUplink
    from edge_sender.uplinks.logins import Login

WITNESS_TIMEOUT_SECONDS = 4.0
OF_THE_RUNTIME = {
    f"IOTEDGE_{name}"
    for name in (
        "IOTHUBHOSTNAME",
        "GATEWAYHOSTNAME",
        "DEVICEID",
        "MODULEID",
        "MODULEGENERATIONID",
        "WORKLOADURI",
        "APIVERSION",
    )
}
OF_ITS_DEBUGGER = {"EdgeHubConnectionString", "EdgeModuleCACertificateFile"}
"""Variables by which a module finds the runtime; without them its SDK does not begin."""


def make_sender(
    settings: EdgeSettings, sources: SourcesDocument, uplink: Uplink, namesakes: Namesakes | None = None
) -> Sender:
    """`namesakes` is needed by `change`. Raises SettingsError."""
    options, configured = sender_options(settings), configured_sources(settings, sources, namesakes or Namesakes(), uplink)
    clocks = system_clocks()
    spool = SpoolFile(spool_path(settings), options.spool, clocks)
    return Sender(options, configured, spool, uplink, clocks, _witness(settings), _peers(settings))


def configured_sources(
    settings: EdgeSettings, sources: SourcesDocument, namesakes: Namesakes, uplink: Uplink | None = None
) -> list[ConfiguredSource]:
    """Raises SettingsError."""
    _check_inputs(settings, sources)
    inputs = uplink.inputs if isinstance(uplink, Receiving) else None
    return [_configured_source(settings, source, namesakes, inputs) for source in sources.sources]


def _check_inputs(settings: EdgeSettings, sources: SourcesDocument) -> None:
    """Raises SettingsError for sources of other modules' messages, if this is no module."""
    is_module = settings.uplink == "iot-edge" or (settings.uplink == "iot" and "ModuleId=" in secret(settings))
    for config in sources.sources:
        if isinstance(config, EdgeHubConfig) and not is_module:
            raise SettingsError(
                f"EDGE_UPLINK: source {config.name} is of kind edgehub, and only a module has inputs: use "
                "EDGE_UPLINK=iot-edge, or iot with the connection string of a module"
            )


async def change(
    sender: Sender, uplink: IotUplink, settings: EdgeSettings, sources: SourcesDocument, namesakes: Namesakes
) -> None:
    """Make a running sender go on with these. `namesakes`: those with which it was made.

    Raises SettingsError, after which all is as before.
    """
    configured = configured_sources(settings, sources, namesakes, uplink)
    with _source_errors():
        await sender.change(sender_options(settings), configured)
    namesakes.keep({item.name for item in configured})
    uplink.timeout_seconds = settings.send_timeout_seconds


def sender_options(settings: EdgeSettings) -> SenderOptions:
    overlap = settings.overlap_seconds if settings.ha == "active-passive" else 0.0
    return SenderOptions(
        intake=IntakeOptions(settings.memory_readings, settings.spool_when_full, overlap, settings.memory_bytes),
        spool=SpoolLimits(settings.spool_max_bytes, settings.spool_max_age_seconds, settings.spool_when_full),
        commit_seconds=settings.spool_commit_seconds,
        batch=BatchLimits(settings.batch_max_readings, settings.batch_max_bytes, settings.batch_max_seconds),
        max_in_flight=settings.max_in_flight,
        flush_seconds=settings.flush_seconds,
        election=None if settings.ha == "duplicate" else _election(settings),
        replica=settings.replica or "",
        turns=TurnsOptions(settings.heartbeat_ms / 1000, settings.lease_seconds) if settings.peers else None,
    )


def _election(settings: EdgeSettings) -> ElectionOptions:
    return ElectionOptions(settings.lease_seconds, settings.poll_seconds, settings.without_witness == "send")


def spool_path(settings: EdgeSettings) -> Path | None:
    """The spool's file; None keeps the spool in memory."""
    return None if settings.spool_path == IN_MEMORY else Path(settings.spool_path)


def try_out(sources: SourcesDocument) -> None:
    """Check that the sources can be made on this gateway, with its files and its environment. Raises SettingsError, which
    tells of all that can't."""
    problems = SettingsProblems()
    for config in sources.sources:
        with problems.noted(), _source_errors():
            make_source(config, "edge-sender-trial", SourceTally())
    problems.raise_all()


async def try_out_all(settings: EdgeSettings, problems: SettingsProblems) -> SourcesDocument:
    """Note what `run` would find wrong on this gateway, and return the sources, as far as they can be read. Reaches nothing
    over a network, and opens no spool."""
    sources = NO_SOURCES
    if settings.has_sources or not settings.twin:
        with problems.noted():
            sources = settings.sources_document()
            try_out(sources)
    with problems.noted():
        _check_inputs(settings, sources)
    with problems.noted():
        await _try_out_uplink(settings)
    with problems.noted():
        _witness(settings)
    path = spool_path(settings)
    if path is not None and not os.access(path if path.exists() else path.parent, os.W_OK):
        problems.note(why_unusable(path, "it is not there, or not writable"))
    return sources


async def _try_out_uplink(settings: EdgeSettings) -> None:
    """Raises SettingsError."""
    if settings.uplink != "iot-edge":
        await make_uplink(settings).close()
    else:
        _require_runtime()


def make_trials(settings: EdgeSettings, sources: SourcesDocument) -> list[ConfiguredSource]:
    """The sources as `run` has them, except that they leave no trace on their servers, and are nobody else's clients: what a
    broker keeps for the sender that runs here, it keeps. Raises SettingsError."""
    trials, tried_by, namesakes = [], uuid.uuid4().hex[:8], Namesakes()
    for config in sources.sources:
        client_id, tally = f"{client_id_of(replica_name(settings), config.name)}-{tried_by}", SourceTally()
        with _source_errors():
            source = make_trial(config, client_id, tally, namesakes)
        trials.append(ConfiguredSource(source, config.rules, config.event_type, None, tally))
    return trials


async def look_at(config: OpcUaConfig, asked: Asked) -> Survey:
    """What a source's server has, of several the first that can be read. Raises SettingsError and SurveyError."""
    with _source_errors():
        return await survey(config, asked)


def why_unlike(config: SourceConfig, alone: Iterable[ConfiguredSource]) -> str | None:
    """What is wrong with a source's redundant servers, each of which was read alone, if ids depend on which one is read."""
    return unlike_servers(config, [item.source for item in alone])


def certificates_of(config: SourceConfig) -> list[str]:
    """Raises SettingsError."""
    with _source_errors():
        return certificates(config)


@contextmanager
def _source_errors() -> Iterator[None]:
    try:
        yield
    except SourceConfigError as error:
        raise SettingsError(str(error)) from None


def _configured_source(
    settings: EdgeSettings, config: SourceConfig, namesakes: Namesakes, inputs: Inputs | None
) -> ConfiguredSource:
    client_id, tally = client_id_of(replica_name(settings), config.name), SourceTally()
    with _source_errors():
        source = make_source(config, client_id, tally, namesakes, inputs)
    check = None
    if settings.identity_check_seconds and is_probed(config):
        check = IdentityCheck(
            source,
            partial(make_probe, config, client_id, source),
            config.rules,
            time.monotonic,
            seconds=settings.identity_check_seconds,
            every_seconds=settings.identity_check_every_seconds,
        )
    kept = tally if config.kind == "opcua" else None
    return ConfiguredSource(
        source, config.rules, config.event_type, check, kept, made_from=config, resumes=config.kind == "file"
    )


def _witness(settings: EdgeSettings) -> Witness | None:
    if settings.ha == "duplicate" or settings.witness is None:
        return None
    from edge_sender.witnesses.blob import BlobWitness

    # Without overlap a restarted replica gets its lease back at once, which keeps the gap as short as possible. With overlap
    # it must not, because another replica still holds what was read in the meantime.
    life = f"/{uuid.uuid4()}" if settings.overlap_seconds else ""
    try:
        return BlobWitness.from_setting(
            settings.witness.get_secret_value(),
            settings.witness_blob,
            f"{settings.replica}{life}",
            lease_seconds=settings.lease_seconds,
            timeout_seconds=WITNESS_TIMEOUT_SECONDS,
            network=_network(settings).of_blobs(),
        )
    except ValueError:  # its message may contain the key
        raise SettingsError(
            "EDGE_WITNESS: must be a container's URL with a signature or a connection string with ContainerName, "
            "for example EDGE_WITNESS=https://account.blob.core.windows.net/witness?sv=…&sig=…"
        ) from None


def _peers(settings: EdgeSettings) -> PeerNetwork | None:
    if not settings.peers or settings.peers_key is None:
        return None
    key, session = settings.peers_key.get_secret_value().encode(), uuid.uuid4().hex
    beats = Beats(key, settings.witness_blob, settings.replica or "", session)
    listen = settings.peers_host, settings.peers_port
    return PeerNetwork(beats, listen, settings.peer_addresses(), settings.heartbeat_ms / 1000)


def make_uplink(settings: EdgeSettings) -> Uplink:
    """SDKs are imported only when chosen, since a gateway needs just one of them in memory. Raises SettingsError."""
    if settings.uplink != "event-hubs":
        return make_iot_uplink(settings)
    from edge_sender.uplinks.eventhubs import EventHubsUplink

    with _connection_string_errors():
        return EventHubsUplink(
            secret(settings),
            settings.replica or "",
            timeout_seconds=settings.send_timeout_seconds,
            network=_network(settings),
        )


def _network(settings: EdgeSettings) -> Network:
    proxy = _text(settings.http_proxy)
    return Network(settings.transport == "websocket" or proxy is not None, proxy, settings.ca_file)


def make_iot_uplink(settings: EdgeSettings) -> IotUplink:
    """Raises SettingsError."""
    from edge_sender.uplinks.iot import IotUplink

    login = _login(settings)
    is_runtimes = settings.uplink == "iot-edge" and os.environ.keys() >= OF_THE_RUNTIME
    made = None if login.is_assigned or is_runtimes else _first_client(login)
    return IotUplink(login, timeout_seconds=settings.send_timeout_seconds, made=made)


def _login(settings: EdgeSettings) -> Login:
    """Raises SettingsError."""
    from edge_sender.uplinks.logins import ConnectionStringLogin, KeyPair, ProvisionedLogin, RuntimeLogin, key_in_group

    network = _network(settings)
    if settings.uplink == "iot-edge":
        _require_runtime()
        return RuntimeLogin(network)
    pair = None
    if settings.certificate is not None and settings.private_key is not None:
        pair = KeyPair(settings.certificate, settings.private_key)
        try:
            pair.check()
        except ValueError as error:
            raise SettingsError(f"EDGE_CERTIFICATE: {error}") from None
    if settings.dps_id_scope is None:
        return ConnectionStringLogin(secret(settings), network, pair)
    key, registration = _text(settings.dps_key), settings.dps_registration_id or ""
    if settings.dps_group_key is not None:
        key = key_in_group(settings.dps_group_key.get_secret_value(), registration)
    return ProvisionedLogin(settings.dps_host, settings.dps_id_scope, registration, key, network, pair)


def _first_client(login: Login) -> Any:
    """Made at once, so that what is wrong stops the start. Raises SettingsError."""
    try:
        with _connection_string_errors():
            return login.make()
    except UplinkError as error:
        raise SettingsError(_no_runtime(error)) from None


def _text(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _require_runtime() -> None:
    """Raises SettingsError if the runtime's variables are not there. Whether it answers shows when the uplink connects."""
    if not (os.environ.keys() >= OF_THE_RUNTIME or os.environ.keys() >= OF_ITS_DEBUGGER):
        raise SettingsError(_no_runtime("its variables, such as IOTEDGE_WORKLOADURI, are not set"))


def _no_runtime(why: object) -> str:
    return (
        f"EDGE_UPLINK: the IoT Edge runtime's environment can't be used ({why}); "
        "outside the runtime use EDGE_UPLINK=iot with EDGE_CONNECTION_STRING"
    )


@contextmanager
def _connection_string_errors() -> Iterator[None]:
    try:
        yield
    except ValueError:  # its message may contain the key
        raise SettingsError(
            "EDGE_CONNECTION_STRING: is not a connection string, for example "
            "EDGE_CONNECTION_STRING=HostName=hub.azure-devices.net;DeviceId=edge-a;SharedAccessKey=…"
        ) from None
