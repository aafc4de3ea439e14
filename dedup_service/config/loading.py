"""Loads what a command needs of the settings. All that is missing or wrong is said in one message."""

from __future__ import annotations

import os
from typing import Any

from pydantic import SecretStr, ValidationError

from dedup_service.config.config import Config
from dedup_service.config.settings import DISCARD, HUB_EXAMPLE, PREFIX, Settings, example
from dedup_service.config.variables import unknown_variables
from dedup_service.errors import ConfigurationProblems

OBSERVE = "observe"


def load(**overrides: Any) -> Settings:
    """Read the environment. Raises ConfigurationError about all settings that are missing or wrong, as far as the
    environment alone shows it."""
    problems = _problems()
    settings = _read(problems, **overrides)
    settings.note_contradictions(problems)
    problems.raise_all()
    return settings


def load_offline(**overrides: Any) -> Settings:
    """For what needs neither Redis nor checkpoints nor a clean hub: those settings may be missing. Raises
    ConfigurationError."""
    not_used = {"redis_url": example("redis_url"), "checkpoint_url": example("checkpoint_url"), "mode": "observe"}
    return load(**{**not_used, **overrides})


def load_to_run(**overrides: Any) -> Settings:
    """Everything. Raises ConfigurationError."""
    problems = _problems()
    settings = _read(problems, **overrides)
    _note_all(settings, problems)
    problems.raise_all()
    return settings


def load_to_check(*, sends: bool, **overrides: Any) -> Settings:
    """What the running service has, which observes if there is no clean hub here and no mode is set; `sends`: also what
    `--round-trip` needs. Raises ConfigurationError."""
    problems = _problems()
    settings = _as_running(_read(problems, **overrides))
    _note_all(settings, problems)
    if sends:
        with problems.noted():
            _ = Config(settings).check_address
    problems.raise_all()
    return settings


def _note_all(settings: Settings, problems: ConfigurationProblems) -> None:
    settings.note_contradictions(problems)
    with problems.noted():
        Config(settings).note_problems(problems)


def _as_running(settings: Settings) -> Settings:
    """A deployment without a clean hub observes, since it could do nothing else: `DEDUP_MODE` may have been set in the
    terminal of `run` alone."""
    if settings.output_connection_string is None and "mode" not in settings.model_fields_set:
        return settings.model_copy(update={"mode": OBSERVE})
    return settings


def load_to_report(**overrides: Any) -> Settings:
    """Redis, the groups' file, and the namespace, which is set or made of the hubs' names; what else `run` needs may be
    missing. Raises ConfigurationError."""
    problems = _problems()
    settings = _as_running(_read(problems, **{"checkpoint_url": example("checkpoint_url"), **overrides}))
    with problems.noted():
        settings = settings.model_copy(update=_never_used(settings))
        _ = Config(settings).namespace
        _ = Config(settings).group_settings
    problems.raise_all()
    return settings


def _never_used(settings: Settings) -> dict[str, Any]:
    """In place of what a group that publishes needs. The clean hub's name is only used where it is part of the namespace."""
    not_used: dict[str, Any] = {
        "dead_letter_connection_string": SecretStr(DISCARD),
        "output_consumer_group": settings.output_consumer_group or example("output_consumer_group"),
    }
    if settings.namespace is not None and settings.output_connection_string is None:
        not_used["output_connection_string"] = SecretStr(HUB_EXAMPLE)
    return not_used


def load_to_init(**overrides: Any) -> Settings:
    """Where the checkpoints are, and how to get there. Raises ConfigurationError."""
    return load(**{"redis_url": example("redis_url"), "mode": OBSERVE, **overrides})


def _problems() -> ConfigurationProblems:
    """None yet."""
    return ConfigurationProblems({meant: name for name, meant in unknown_variables(os.environ).items() if meant is not None})


def _read(problems: ConfigurationProblems, **overrides: Any) -> Settings:
    """The environment. What is missing or wrong in it is noted, and the settings have something valid in its place."""
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        wrong = {str(item["loc"][0]): item["msg"].removeprefix("Value error, ") for item in error.errors()}
        for name, text in wrong.items():
            problems.note(PREFIX + name.upper(), "is missing" if text == "Field required" else text, example(name))
        settings = Settings(**{**overrides, **{name: _valid(name) for name in wrong}})
    return settings


def _valid(name: str) -> Any:
    """In place of a wrong mode, the one that needs least: what the right one needs is not known."""
    field = Settings.model_fields[name]
    if name == "mode":
        return "observe"
    return example(name) if field.is_required() else field.default
