"""Loads what a command needs of the settings. All that is missing or wrong is said in one message."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from dedup_service.config.config import Config
from dedup_service.config.settings import DISCARD, HUB_EXAMPLE, Settings, example, load, read
from dedup_service.errors import ConfigurationProblems

OBSERVE = "observe"


def load_to_run(*, sends: bool = False, **overrides: Any) -> Settings:
    """Everything; `sends`: also what `check --round-trip` needs. Raises ConfigurationError."""
    problems = ConfigurationProblems()
    settings = read(problems, **overrides)
    settings.note_contradictions(problems)
    with problems.noted():
        config = Config(settings)
        config.note_problems(problems)
        if sends:
            _ = config.check_address
    problems.raise_all()
    return settings


def load_to_report(**overrides: Any) -> Settings:
    """Redis, the groups' file, and the namespace, which is set or made of the hubs' names; what else `run` needs may be
    missing. A deployment without a clean hub observes, since it could do nothing else. Raises ConfigurationError."""
    problems = ConfigurationProblems()
    settings = read(problems, **{"checkpoint_url": example("checkpoint_url"), **overrides})
    if settings.output_connection_string is None:
        settings = settings.model_copy(update={"mode": OBSERVE})
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
