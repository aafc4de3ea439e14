"""The input hubs as they are configured: one by the environment, or several by the file."""

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


def configured_inputs(settings: Settings) -> list[Input]:
    """Raises ConfigurationError."""
    file = config_file(settings)
    if file is None or not file.inputs:
        return [_by_environment(settings)]
    found = []
    for item in file.inputs:
        secret = os.environ.get(item.connection_string_env)
        if not secret:
            problem = f"is missing; input {item.name} in {settings.config_file} names it"
            raise ConfigurationError(item.connection_string_env, problem, HUB_EXAMPLE)
        retention = item.retention_seconds or settings.input_retention_seconds
        found.append(Input(item.name, item.connection_string_env, SecretStr(secret), item.consumer_group, retention * 1000))
    return found


def _by_environment(settings: Settings) -> Input:
    for name in ("input_connection_string", "input_consumer_group"):
        if getattr(settings, name) is None:
            raise ConfigurationError(PREFIX + name.upper(), "is missing", example(name))
    assert settings.input_connection_string is not None
    assert settings.input_consumer_group is not None
    setting, retention_ms = f"{PREFIX}INPUT_CONNECTION_STRING", settings.input_retention_seconds * 1000
    return Input(DEFAULT_INPUT, setting, settings.input_connection_string, settings.input_consumer_group, retention_ms)
