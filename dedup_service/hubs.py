"""The hubs as they are configured: by the environment, or several by the file."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pydantic import SecretStr

from dedup_service.errors import ConfigurationError
from dedup_service.grouping import config_file
from dedup_service.settings import HUB_EXAMPLE, PREFIX, Settings, example

DEFAULT_INPUT = "default"


@dataclass(frozen=True, slots=True)
class Input:
    name: str
    setting: str
    """Where its connection string stands."""
    connection_string: SecretStr
    consumer_group: str
    retention_ms: int


@dataclass(frozen=True, slots=True)
class Output:
    name: str
    """Nothing: the one that the environment names."""
    setting: str
    connection_string: SecretStr
    consumer_group: str


def configured_outputs(settings: Settings) -> list[Output]:
    """Raises ConfigurationError."""
    file = config_file(settings)
    found = []
    if settings.output_connection_string is not None:
        setting, group = f"{PREFIX}OUTPUT_CONNECTION_STRING", settings.output_consumer_group
        found.append(Output("", setting, settings.output_connection_string, group))
    for item in file.outputs if file is not None else []:
        secret = _from_environment(item.connection_string_env, f"output {item.name}", settings)
        found.append(Output(item.name, item.connection_string_env, secret, item.consumer_group))
    return found


def _from_environment(variable: str, who: str, settings: Settings) -> SecretStr:
    secret = os.environ.get(variable)
    if not secret:
        raise ConfigurationError(variable, f"is missing; {who} in {settings.config_file} names it", HUB_EXAMPLE)
    return SecretStr(secret)


def configured_inputs(settings: Settings) -> list[Input]:
    """Raises ConfigurationError."""
    file = config_file(settings)
    if file is not None and (file.inputs or file.outputs) and settings.namespace is None:
        problem = "is missing; where the file names hubs, the claims need a name that stays when hubs come and go"
        raise ConfigurationError(f"{PREFIX}NAMESPACE", problem, example("namespace"))
    if file is None or not file.inputs:
        return [_by_environment(settings)]
    found = []
    for item in file.inputs:
        secret = _from_environment(item.connection_string_env, f"input {item.name}", settings)
        retention = item.retention_seconds or settings.input_retention_seconds
        found.append(Input(item.name, item.connection_string_env, secret, item.consumer_group, retention * 1000))
    return found


def _by_environment(settings: Settings) -> Input:
    for name in ("input_connection_string", "input_consumer_group"):
        if getattr(settings, name) is None:
            raise ConfigurationError(PREFIX + name.upper(), "is missing", example(name))
    assert settings.input_connection_string is not None
    assert settings.input_consumer_group is not None
    setting, retention_ms = f"{PREFIX}INPUT_CONNECTION_STRING", settings.input_retention_seconds * 1000
    return Input(DEFAULT_INPUT, setting, settings.input_connection_string, settings.input_consumer_group, retention_ms)
