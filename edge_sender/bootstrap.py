"""The composition root of the edge: the only module that knows all adapters (sources/make.py knows the sources)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge_sender.buffering.batcher import BatchLimits
from edge_sender.buffering.inbox import IntakeOptions
from edge_sender.buffering.spool import Spool, SpoolLimits, SpoolUnusableError, open_spool
from edge_sender.config.settings import IN_MEMORY, EdgeSettings, SettingsError
from edge_sender.config.sources import PROBED_KINDS, SourceConfig, SourcesDocument
from edge_sender.counters import SourceTally
from edge_sender.election import ElectionOptions
from edge_sender.identity.check import IdentityCheck
from edge_sender.ports import Clocks, SourceConfigError, Uplink, Witness
from edge_sender.sender import ConfiguredSource, Sender, SenderOptions
from edge_sender.sources.make import make_probe, make_source
from edge_sender.sources.namesakes import Namesakes

if TYPE_CHECKING:
    from edge_sender.uplinks.iot import IotUplink

WITNESS_TIMEOUT_SECONDS = 4.0


def make_sender(settings: EdgeSettings, sources: SourcesDocument, uplink: Uplink) -> Sender:
    """Raises SettingsError."""
    namesakes = Namesakes()
    configured = [_configured_source(settings, source, namesakes) for source in sources.sources]
    return Sender(
        _options(settings), configured, _spool(settings), uplink, Clocks(time.monotonic, time.time), _witness(settings)
    )


def _options(settings: EdgeSettings) -> SenderOptions:
    overlap = settings.overlap_seconds if settings.ha == "active-passive" else 0.0
    return SenderOptions(
        intake=IntakeOptions(settings.memory_readings, settings.spool_when_full, overlap),
        spool=_spool_limits(settings),
        commit_seconds=settings.spool_commit_seconds,
        batch=BatchLimits(settings.batch_max_readings, settings.batch_max_bytes, settings.batch_max_seconds),
        max_in_flight=settings.max_in_flight,
        flush_seconds=settings.flush_seconds,
        election=None if settings.ha == "duplicate" else _election(settings),
    )


def _election(settings: EdgeSettings) -> ElectionOptions:
    return ElectionOptions(settings.lease_seconds, settings.poll_seconds, settings.without_witness == "send")


def _spool_limits(settings: EdgeSettings) -> SpoolLimits:
    return SpoolLimits(settings.spool_max_bytes, settings.spool_max_age_seconds, settings.spool_when_full)


def spool_path(settings: EdgeSettings) -> Path | None:
    """The spool's file; None keeps the spool in memory."""
    return None if settings.spool_path == IN_MEMORY else Path(settings.spool_path)


def _spool(settings: EdgeSettings) -> Spool:
    try:
        return open_spool(spool_path(settings), _spool_limits(settings), time.time)
    except SpoolUnusableError as error:
        raise SettingsError(str(error)) from None


def try_out(sources: SourcesDocument) -> None:
    """Check that the sources can be made on this gateway, with its files and its environment. Raises SettingsError."""
    try:
        for config in sources.sources:
            make_source(config, "edge-sender-trial", SourceTally())
    except SourceConfigError as error:
        raise SettingsError(str(error)) from None


def replica_name(settings: EdgeSettings) -> str:
    """A name that no other gateway has, even if none is configured: the hub knows no two devices with one name, and no two
    modules of a device."""
    if settings.replica:
        return settings.replica
    if device := os.environ.get("IOTEDGE_DEVICEID"):
        return f"{device}/{os.environ.get('IOTEDGE_MODULEID', '')}"
    text = _secret(settings) if settings.uplink != "event-hubs" else ""
    parts = dict(part.partition("=")[::2] for part in text.split(";"))
    return f"{parts['DeviceId']}/{parts.get('ModuleId', '')}" if parts.get("DeviceId") else socket.gethostname()


def client_id_of(replica: str, source: str) -> str:
    """The same for a source of a replica after every restart, since its session has that name, and no other's: names are
    shortened to what every broker accepts, and a hash tells apart what then looks the same."""
    digest = hashlib.sha256(json.dumps([replica, source]).encode()).hexdigest()[:12]
    return f"edge-sender-{_plain(replica)}-{_plain(source)}-{digest}"


def _plain(name: str) -> str:
    return re.sub("[^A-Za-z0-9]+", "-", name)[:24].strip("-")


def _configured_source(settings: EdgeSettings, config: SourceConfig, namesakes: Namesakes) -> ConfiguredSource:
    client_id, tally = client_id_of(replica_name(settings), config.name), SourceTally()
    try:
        source = make_source(config, client_id, tally, namesakes)
    except SourceConfigError as error:
        raise SettingsError(str(error)) from None
    check = None
    if settings.identity_check_seconds and config.kind in PROBED_KINDS:
        check = IdentityCheck(
            source,
            partial(make_probe, config, client_id, source),
            config.rules,
            time.monotonic,
            seconds=settings.identity_check_seconds,
            every_seconds=settings.identity_check_every_seconds,
        )
    return ConfiguredSource(source, config.rules, config.event_type, check, tally if config.kind == "opcua" else None)


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
        )
    except ValueError:  # its message may contain the key
        raise SettingsError(
            "EDGE_WITNESS: must be a container's URL with a signature or a connection string with ContainerName, "
            "for example EDGE_WITNESS=https://account.blob.core.windows.net/witness?sv=…&sig=…"
        ) from None


def make_uplink(settings: EdgeSettings) -> Uplink:
    """SDKs are imported only when chosen, since a gateway needs just one of them in memory. Raises SettingsError."""
    if settings.uplink != "event-hubs":
        return make_iot_uplink(settings)
    from edge_sender.uplinks.eventhubs import EventHubsUplink

    with _connection_string_errors():
        return EventHubsUplink(_secret(settings), settings.replica or "", timeout_seconds=settings.send_timeout_seconds)


def make_iot_uplink(settings: EdgeSettings) -> IotUplink:
    """Raises SettingsError."""
    from azure.iot.device.exceptions import ClientError

    from edge_sender.uplinks.iot import IotUplink

    timeout = settings.send_timeout_seconds
    if settings.uplink == "iot-edge":
        try:
            return IotUplink.from_edge_environment(timeout)
        except (OSError, ClientError) as error:
            raise SettingsError(
                f"EDGE_UPLINK: the IoT Edge runtime's environment can't be used ({error}); "
                "outside the runtime use EDGE_UPLINK=iot with EDGE_CONNECTION_STRING"
            ) from None
    try:
        ca_pem = settings.ca_file.read_text() if settings.ca_file else None
    except OSError as error:
        raise SettingsError(
            f"EDGE_CA_FILE: can't be read ({error.strerror}), for example EDGE_CA_FILE=/etc/edge/ca.pem"
        ) from None
    with _connection_string_errors():
        return IotUplink.from_connection_string(_secret(settings), ca_pem, timeout)


def _secret(settings: EdgeSettings) -> str:
    return settings.connection_string.get_secret_value() if settings.connection_string else ""


@contextmanager
def _connection_string_errors() -> Iterator[None]:
    try:
        yield
    except ValueError:  # its message may contain the key
        raise SettingsError(
            "EDGE_CONNECTION_STRING: is not a connection string, for example "
            "EDGE_CONNECTION_STRING=HostName=hub.azure-devices.net;DeviceId=edge-a;SharedAccessKey=…"
        ) from None
