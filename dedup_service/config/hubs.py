"""The hubs as configured: by the environment, or several by the file."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pydantic import SecretStr

from dedup_service.config.addresses import HubAddress, parse_hub_address
from dedup_service.config.file import EXAMPLE as CONFIG_FILE_EXAMPLE
from dedup_service.config.file import SETTING as CONFIG_FILE
from dedup_service.config.file import ConfigFile, InputSettings
from dedup_service.config.settings import HUB_EXAMPLE, MISSING_OUTPUT_GROUP, PREFIX, Settings, example
from dedup_service.errors import ConfigurationError, ConfigurationProblems

DEFAULT_INPUT = "default"


@dataclass(frozen=True, slots=True)
class InputConfig:
    name: str
    address: HubAddress
    consumer_group: str
    retention_ms: int


@dataclass(frozen=True, slots=True)
class OutputConfig:
    name: str
    """Empty for the one that the environment names."""
    address: HubAddress
    consumer_group: str

    @property
    def reading(self) -> str:
        """What is read to look up what was published, for messages."""
        return f"the consumer group {self.consumer_group} of {'/'.join(self.address.name)}"

    @property
    def group_setting(self) -> tuple[str, str]:
        """The setting that names the consumer group, and an example of it."""
        if self.name:
            return CONFIG_FILE, CONFIG_FILE_EXAMPLE
        return f"{PREFIX}OUTPUT_CONSUMER_GROUP", example("output_consumer_group")


def configured_outputs(settings: Settings, file: ConfigFile | None) -> list[OutputConfig]:
    """Raises ConfigurationError."""
    outputs, problems = [], ConfigurationProblems()
    if settings.output_connection_string is not None:
        if settings.output_consumer_group is None:
            problems.note(f"{PREFIX}OUTPUT_CONSUMER_GROUP", MISSING_OUTPUT_GROUP, example("output_consumer_group"))
        with problems.noted():
            secret, setting = settings.output_connection_string, f"{PREFIX}OUTPUT_CONNECTION_STRING"
            address = parse_hub_address(setting, secret, settings.output_endpoint_address)
            outputs.append(OutputConfig("", address, settings.output_consumer_group or ""))
    for item in file.outputs if file is not None else []:
        with problems.noted():
            secret = _from_environment(item.connection_string_env, f"output {item.name}", settings)
            address = parse_hub_address(item.connection_string_env, secret, item.endpoint_address)
            outputs.append(OutputConfig(item.name, address, item.consumer_group))
    problems.raise_all()
    return outputs


def _from_environment(variable: str, who: str, settings: Settings) -> SecretStr:
    secret = os.environ.get(variable)
    if not secret:
        raise ConfigurationError(variable, f"is missing; {who} in {settings.config_file} names it", HUB_EXAMPLE)
    return SecretStr(secret)


def configured_inputs(settings: Settings, file: ConfigFile | None) -> list[InputConfig]:
    """Raises ConfigurationError."""
    inputs, problems = [], ConfigurationProblems()
    if file is not None and (file.inputs or file.outputs) and settings.namespace is None:
        problem = "is missing; where the file names hubs, the claims need a name that stays when hubs come and go"
        problems.note(f"{PREFIX}NAMESPACE", problem, example("namespace"))
    if file is None or not file.inputs:
        with problems.noted():
            inputs.append(_by_environment(settings))
    else:
        for item in file.inputs:
            with problems.noted():
                inputs.append(_by_file(item, settings))
    with problems.noted():
        _require_different(inputs)
    problems.raise_all()
    return inputs


def _by_file(item: InputSettings, settings: Settings) -> InputConfig:
    secret = _from_environment(item.connection_string_env, f"input {item.name}", settings)
    retention = item.retention_seconds or settings.input_retention_seconds
    address = parse_hub_address(item.connection_string_env, secret, item.endpoint_address)
    return InputConfig(item.name, address, item.consumer_group, retention * 1000)


def _require_different(inputs: list[InputConfig]) -> None:
    """Two inputs on one hub would share its leases, and each would take them all."""
    seen: dict[tuple[str, str], InputConfig] = {}
    for item in inputs:
        name = item.address.name
        if name in seen:
            problem = f"names the hub of input {seen[name].name} again ({'/'.join(name)})"
            raise ConfigurationError(item.address.setting, problem, HUB_EXAMPLE)
        seen[name] = item


def _by_environment(settings: Settings) -> InputConfig:
    problems = ConfigurationProblems()
    for name in ("input_connection_string", "input_consumer_group"):
        if getattr(settings, name) is None:
            problems.note(PREFIX + name.upper(), "is missing", example(name))
    problems.raise_all()
    assert settings.input_connection_string is not None
    assert settings.input_consumer_group is not None
    secret, setting = settings.input_connection_string, f"{PREFIX}INPUT_CONNECTION_STRING"
    address = parse_hub_address(setting, secret, settings.input_endpoint_address)
    return InputConfig(DEFAULT_INPUT, address, settings.input_consumer_group, settings.input_retention_seconds * 1000)


def check_address(settings: Settings) -> HubAddress:
    """Raises ConfigurationError."""
    setting = f"{PREFIX}CHECK_CONNECTION_STRING"
    if settings.check_connection_string is None:
        raise ConfigurationError(setting, "is missing, but `check --round-trip` needs it", HUB_EXAMPLE)
    return parse_hub_address(setting, settings.check_connection_string, settings.input_endpoint_address)


def dead_letter_address(settings: Settings) -> HubAddress | None:
    """None where dead letters are discarded. Raises ConfigurationError."""
    secret, setting = settings.dead_letter_connection_string, f"{PREFIX}DEAD_LETTER_CONNECTION_STRING"
    if secret is None or settings.discards_dead_letters:
        return None
    return parse_hub_address(setting, secret, settings.dead_letter_endpoint_address)
