"""The groups as they are configured: by the file, or one for all devices."""

from __future__ import annotations

from collections.abc import Sequence

from dedup_service.config_file import ConfigFile, GroupSettings, load_config_file
from dedup_service.core.groups import DEFAULT_GROUP, Group
from dedup_service.core.outgoing import OutputPolicy
from dedup_service.errors import ConfigurationError
from dedup_service.settings import PREFIX, Settings, example

OBSERVE = "observe"


def configured(settings: Settings) -> list[GroupSettings]:
    """Raises ConfigurationError, also where a group publishes and there is nothing to publish to."""
    file = config_file(settings)
    groups = file.groups if file is not None else [GroupSettings(name=DEFAULT_GROUP)]
    for group in groups:
        for name in ("output_connection_string", "dead_letter_connection_string"):
            if mode_of(group, settings) != OBSERVE and getattr(settings, name) is None:
                problem = f"is missing, and group {group.name} has mode {mode_of(group, settings)}"
                raise ConfigurationError(f"{PREFIX}{name.upper()}", problem, example(name))
    return groups


def config_file(settings: Settings) -> ConfigFile | None:
    return None if settings.config_file is None else load_config_file(settings.config_file)


def mode_of(group: GroupSettings, settings: Settings) -> str:
    return group.mode or settings.mode


def only_observes(groups: Sequence[GroupSettings], settings: Settings) -> bool:
    return all(mode_of(group, settings) == OBSERVE for group in groups)


def make_group(group: GroupSettings, settings: Settings, output_partitions: list[str]) -> Group:
    return Group(
        name=group.name,
        window_ms=(group.window_seconds or settings.window_seconds) * 1000,
        mode=mode_of(group, settings),
        output=OutputPolicy(
            output_partitions,
            group.partition_by or settings.partition_by,
            group.name,
            settings.kept_property_names,
            group.content_mode,
        ),
        devices=tuple(group.devices),
        sources=tuple(group.sources),
        expected_replicas=group.expected_replicas,
        on_conflict=group.on_conflict,
        content=tuple(group.content),
        silent_after_ms=group.silent_after_seconds * 1000,
    )
