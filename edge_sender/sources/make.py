"""From a source's configuration to the source. Libraries are imported where they are used: a gateway loads no others."""

from __future__ import annotations

import os
import ssl

from edge_sender.ports import Source
from edge_sender.source_config import (
    FileConfig,
    MqttConfig,
    OpcUaConfig,
    SourceConfig,
    SourceConfigError,
    SyntheticConfig,
)


def make_source(config: SourceConfig, client_id: str) -> Source:
    """Raises SourceConfigError."""
    return _make(config, config.name, client_id, is_probe=False)


def make_probe(config: SourceConfig, client_id: str) -> Source:
    """Another subscription to the same source, which leaves no trace at the server. Raises SourceConfigError."""
    return _make(config, f"{config.name} (check)", f"{client_id}-check", is_probe=True)


def _make(config: SourceConfig, name: str, client_id: str, *, is_probe: bool) -> Source:
    match config:
        case OpcUaConfig():
            return _opcua(config, name)
        case MqttConfig():
            return _mqtt(config, name, client_id, keep_session=not is_probe)
        case FileConfig():
            return _file(config, name)
        case SyntheticConfig():
            return _synthetic(config, name)


def _opcua(config: OpcUaConfig, name: str) -> Source:
    from edge_sender.sources.opcua import OpcUaSource

    return OpcUaSource(
        name,
        config.endpoint,
        config.namespace_uri,
        payload=config.payload,
        publishing_ms=config.publishing_ms,
        queue_size=config.queue_size,
    )


def _mqtt(config: MqttConfig, name: str, client_id: str, *, keep_session: bool) -> Source:
    from edge_sender.sources.mqtt import MqttBroker, MqttFormat, MqttSource

    password = None
    if config.password_env is not None and (password := os.environ.get(config.password_env)) is None:
        raise SourceConfigError(f"source {config.name}: the environment variable {config.password_env} is not set")
    try:
        tls = ssl.create_default_context(cafile=config.ca_file) if config.tls else None
    except OSError as error:
        raise SourceConfigError(f"source {config.name}: {config.ca_file} can't be used as ca_file: {error}") from None
    broker = MqttBroker(config.host, config.port, tls, config.username, password)
    form = MqttFormat(config.topics, config.uri_prefix, config.time, config.time_format)
    return MqttSource(name, broker, form, client_id, keep_session=keep_session)


def _file(config: FileConfig, name: str) -> Source:
    from edge_sender.sources.file import FileFormat, FileSource

    form = FileFormat(config.format, config.uri, config.time, config.time_format)
    return FileSource(name, config.path, form, follow=config.follow)


def _synthetic(config: SyntheticConfig, name: str) -> Source:
    from edge_sender.sources.synthetic import SyntheticSource

    return SyntheticSource(name, config.uri_prefix, config.count, config.interval_seconds)
