"""Makes sources from their configuration. Libraries are imported only when used, so that a gateway loads no others."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from edge_sender.config.edgehub import EdgeHubConfig
from edge_sender.config.file import FileConfig
from edge_sender.config.mqtt import MqttConfig
from edge_sender.config.opcua import OpcUaConfig
from edge_sender.config.sources import SourceConfig, SyntheticConfig
from edge_sender.counters import SourceTally
from edge_sender.namesakes import Namesakes
from edge_sender.ports import Inputs, Placed, Source, SourceConfigError
from edge_sender.survey import Asked, Survey
from wire.uris import UriTemplate

if TYPE_CHECKING:
    from edge_sender.sources.mqtt.format import MqttFormat
    from edge_sender.sources.mqtt.sparkplug import SparkplugFormat
    from edge_sender.sources.opcua.security import Channel, User
    from edge_sender.sources.opcua.servers import Server


def make_source(
    config: SourceConfig,
    client_id: str,
    tally: SourceTally,
    namesakes: Namesakes | None = None,
    inputs: Inputs | None = None,
) -> Source:
    """`tally` is kept by the source, and `namesakes` by all of a sender. `inputs` are those of this module, if it is one.
    Raises SourceConfigError."""
    if isinstance(config, EdgeHubConfig):
        return _edgehub(config, inputs)
    return _make(config, config.name, client_id, tally, namesakes or Namesakes(), is_probe=False)


def make_probe(config: SourceConfig, client_id: str, source: Source) -> Source:
    """A second subscription to the same source, which leaves no trace on the server: of several servers, to the one that the
    source reads now. Raises SourceConfigError."""
    if isinstance(config, OpcUaConfig) and isinstance(source, Placed):
        config = config.only(config.servers.index(source.place))
    return _make(config, f"{config.name} (check)", f"{client_id}-check", SourceTally(), Namesakes(), is_probe=True)


def make_trial(config: SourceConfig, client_id: str, tally: SourceTally, namesakes: Namesakes) -> Source:
    """The source as `make_source` makes it, except that it leaves no trace on the server. Raises SourceConfigError."""
    return _make(config, config.name, client_id, tally, namesakes, is_probe=True)


def unlike_servers(config: SourceConfig, alone: Iterable[Source]) -> str | None:
    """Why ids depend on which of a source's redundant servers is read. `alone`: sources that have read one of them each."""
    if not isinstance(config, OpcUaConfig) or config.server_uri is not None:
        return None
    from edge_sender.sources.opcua.servers import unlike
    from edge_sender.sources.opcua.source import OpcUaSource

    return unlike([source.server for source in alone if isinstance(source, OpcUaSource)])


async def survey(config: OpcUaConfig, asked: Asked) -> Survey:
    """What the source's server has, of several the first that can be read. Raises SourceConfigError and SurveyError."""
    from edge_sender.sources.opcua.surveying import survey

    return await survey(_servers(config), _user(config), config, asked)


def certificates(config: SourceConfig) -> list[str]:
    """Which certificates an OPC UA source uses, and until when they are valid. Raises SourceConfigError."""
    servers = _servers(config) if isinstance(config, OpcUaConfig) else []
    lines = [line for server in servers if server.channel is not None for line in server.channel.describe()]
    return list(dict.fromkeys(lines))


def _make(
    config: SourceConfig, name: str, client_id: str, tally: SourceTally, namesakes: Namesakes, *, is_probe: bool
) -> Source:
    match config:
        case OpcUaConfig():
            return _opcua(config, name, tally, namesakes)
        case MqttConfig():
            return _mqtt(config, name, client_id, keep_session=not is_probe)
        case FileConfig():
            return _file(config, name)
        case EdgeHubConfig():
            return _edgehub(config, None)
        case SyntheticConfig():
            return _synthetic(config, name)


def _opcua(config: OpcUaConfig, name: str, tally: SourceTally, namesakes: Namesakes) -> Source:
    from edge_sender.sources.opcua.redundancy import Redundancy
    from edge_sender.sources.opcua.source import OpcUaSource

    redundancy = Redundancy(_servers(config), _user(config), is_named=config.server_uri is not None)
    return OpcUaSource(name, config, tally, redundancy, namesakes)


def _user(config: OpcUaConfig) -> User | None:
    from edge_sender.sources.opcua.security import User

    password = _password(config.name, config.password_env)
    return None if config.username is None or password is None else User(config.username, password)


def _servers(config: OpcUaConfig) -> list[Server]:
    from edge_sender.sources.opcua.servers import Server

    return [
        Server(url, _channel(config, certificate))
        for url, certificate in zip(config.servers, config.server_certificates, strict=True)
    ]


def _channel(config: OpcUaConfig, server_certificate: Path | None) -> Channel | None:
    from edge_sender.sources.opcua.security import Channel

    if config.certificate is None or config.private_key is None or server_certificate is None:
        return None
    channel = Channel(
        config.security_policy, config.security_mode, config.certificate, config.private_key, server_certificate
    )
    try:
        channel.check()
    except ValueError as error:
        raise SourceConfigError(f"source {config.name}: {error}") from None
    return channel


def _password(name: str, variable: str | None) -> str | None:
    if variable is not None and not os.environ.get(variable):
        raise SourceConfigError(f"source {name}: the environment variable {variable} is not set, or empty")
    return None if variable is None else os.environ[variable]


def _mqtt(config: MqttConfig, name: str, client_id: str, *, keep_session: bool) -> Source:
    from edge_sender.sources.mqtt.client import MqttBroker
    from edge_sender.sources.mqtt.source import MqttSource

    password = _password(config.name, config.password_env)
    broker = MqttBroker(
        config.host,
        config.port,
        _tls(config) if config.tls else None,
        config.username,
        password,
        config.version,
        config.websocket_path,
        config.session_expiry_seconds,
    )
    return MqttSource(
        name, broker, _mqtt_format(config, asks=keep_session), client_id, keep_session=keep_session, retained=config.retained
    )


def _mqtt_format(config: MqttConfig, *, asks: bool) -> MqttFormat | SparkplugFormat:
    """`asks`: whether it may ask edge nodes for something, if the configuration says so."""
    from edge_sender.sources.mqtt.format import MqttFormat

    if config.payload == "json":
        return MqttFormat(config.topics, config.uri_prefix, config.time, config.time_format)
    from edge_sender.sources.mqtt.sparkplug import SparkplugFormat

    return SparkplugFormat(config.topics, config.uri_prefix, time.monotonic, asks=asks and config.rebirth)


def _tls(config: MqttConfig) -> ssl.SSLContext:
    try:
        tls = ssl.create_default_context(cafile=config.ca_file)
    except OSError as error:
        raise SourceConfigError(f"source {config.name}: {config.ca_file} can't be used as ca_file: {error}") from None
    if config.certificate is not None and config.private_key is not None:
        try:
            tls.load_cert_chain(config.certificate, config.private_key, password=_no_passphrase)
        except (OSError, ValueError) as error:
            files = f"{config.certificate} and {config.private_key}"
            raise SourceConfigError(
                f"source {config.name}: {files} can't be used as certificate and private_key: {error}"
            ) from None
    return tls


def _no_passphrase() -> str:
    """Otherwise the library would ask on the terminal."""
    raise ValueError("the key is encrypted")


def _file(config: FileConfig, name: str) -> Source:
    from edge_sender.sources.files.format import CsvDialect, FileFormat
    from edge_sender.sources.files.source import FileSource
    from edge_sender.sources.plant_times import PlantTimes

    zone = None if config.time_zone is None else ZoneInfo(config.time_zone)
    dialect = CsvDialect(config.delimiter, config.quote, config.decimal, config.header, config.columns)
    form = FileFormat(
        UriTemplate(config.uri),
        config.time,
        PlantTimes(config.time_format, zone, config.ambiguous_time),
        config.encoding,
        dialect if config.format == "csv" else None,
    )
    return FileSource(name, config.path, form, follow=config.follow, rotated=config.rotated)


def _edgehub(config: EdgeHubConfig, inputs: Inputs | None) -> Source:
    from edge_sender.sources.edgehub.format import ModuleFormat
    from edge_sender.sources.edgehub.source import EdgeHubSource

    form = ModuleFormat(config.format, config.options, config.uri_prefix, config.data)
    return EdgeHubSource(config.name, config.input, form, inputs)


def _synthetic(config: SyntheticConfig, name: str) -> Source:
    from edge_sender.sources.synthetic import SyntheticSource

    return SyntheticSource(name, config.uri_prefix, config.count, config.interval_seconds)
