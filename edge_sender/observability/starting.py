"""The line in the log that says with what a sender has started. Nothing secret is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import version

from edge_sender.config.settings import EdgeSettings
from edge_sender.config.sources import SourcesDocument
from edge_sender.sender import Sender

MAX_SOURCES = 20
NAMES = ("Endpoint", "EntityPath", "HostName", "GatewayHostName", "DeviceId", "ModuleId")
"""The members of a connection string that say where it leads; the others are secret, or may be."""
OF_THE_RUNTIME = ("IOTEDGE_IOTHUBHOSTNAME", "IOTEDGE_GATEWAYHOSTNAME", "IOTEDGE_DEVICEID", "IOTEDGE_MODULEID")


def started(
    settings: EdgeSettings,
    sources: SourcesDocument,
    sender: Sender,
    environment: Mapping[str, str],
    *,
    replica: str,
    port: int,
    from_twin: tuple[str, ...],
) -> str:
    """`from_twin`: names of the settings that the twin gives."""
    parts = [
        f"version {version('redundant-edge-dedup')}",
        f"replica {replica} ({settings.ha})",
        f"uplink {settings.uplink} ({', '.join(_destination(settings, environment)) or 'nowhere named'})",
        f"sources {', '.join(_sources(sources)) or 'none yet: the twin must supply them'}",
        f"spool {settings.spool_path} holds {sender.store.readings:,} readings",
        f"health on {settings.http_host} port {port}" if port else "no health port",
        _origin(from_twin),
    ]
    return f"started: {'; '.join(parts)}"


def changed(sources: SourcesDocument, from_twin: tuple[str, ...]) -> str:
    """The line that says with what a running sender goes on."""
    return f"changed: sources {', '.join(_sources(sources)) or 'none'}; {_origin(from_twin)}"


def _origin(from_twin: tuple[str, ...]) -> str:
    by_twin = f" and the twin ({', '.join(from_twin)})" if from_twin else ""
    return f"settings from the environment{by_twin}"


def _destination(settings: EdgeSettings, environment: Mapping[str, str]) -> Iterator[str]:
    if settings.dps_id_scope is not None:
        yield from (settings.dps_host, settings.dps_id_scope, settings.dps_registration_id or "")
        return
    if settings.connection_string is None:
        yield from (environment[name] for name in OF_THE_RUNTIME if name in environment)
        return
    members = (part.partition("=") for part in settings.connection_string.get_secret_value().split(";"))
    values = {name.strip().lower(): value.strip() for name, _, value in members}
    yield from (values[name.lower()] for name in NAMES if name.lower() in values)


def _sources(document: SourcesDocument) -> Iterator[str]:
    for source in document.sources[:MAX_SOURCES]:
        yield f"{source.name} ({source.kind}, identity {source.identity})"
    if len(document.sources) > MAX_SOURCES:
        yield f"and {len(document.sources) - MAX_SOURCES} more"
