"""The groups as configured: by the file, or one for all devices."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from dedup_service.config.file import ConfigFile, GroupSettings
from dedup_service.config.settings import PREFIX, Settings, example
from dedup_service.core.groups import DEFAULT_GROUP, OBSERVE, Group
from dedup_service.core.other_formats import FormatExtractor
from dedup_service.core.outgoing import OutputPolicy
from dedup_service.errors import ConfigurationProblems
from wire.formats.minting import chosen_strategy


def configured_groups(settings: Settings, file: ConfigFile | None) -> list[GroupSettings]:
    """Raises ConfigurationError, also when a group publishes but has no hub to publish to."""
    groups, problems = file.groups if file is not None else [GroupSettings(name=DEFAULT_GROUP)], ConfigurationProblems()
    if settings.unmatched == "forward" and settings.output_connection_string is None and not only_observes(groups, settings):
        problem = "is missing, and DEDUP_UNMATCHED=forward sends there"
        problems.note(f"{PREFIX}OUTPUT_CONNECTION_STRING", problem, example("output_connection_string"))
    outputs = {output.name for output in file.outputs} if file is not None else set()
    for group in groups:
        if group.output is not None and group.output not in outputs:
            problem = f"{settings.config_file}: output {group.output} of group {group.name} is not among `outputs`"
            problems.note(f"{PREFIX}CONFIG_FILE", problem, example("config_file"))
        for name in _needed_by(group, settings):
            if getattr(settings, name) is None:
                problem = f"is missing, and group {group.name} has mode {mode_of(group, settings)}"
                problems.note(f"{PREFIX}{name.upper()}", problem, example(name))
    problems.raise_all()
    return groups


def _needed_by(group: GroupSettings, settings: Settings) -> list[str]:
    if mode_of(group, settings) == OBSERVE:
        return []
    own_output = [] if group.output is not None else ["output_connection_string"]
    return [*own_output, "dead_letter_connection_string"]


def mode_of(group: GroupSettings, settings: Settings) -> str:
    return group.mode or settings.mode


def only_observes(groups: Sequence[GroupSettings], settings: Settings) -> bool:
    return all(mode_of(group, settings) == OBSERVE for group in groups)


def make_group(
    group: GroupSettings,
    settings: Settings,
    clean_partitions: list[str],
    formats: Collection[str] = (),
    deployment: str = "",
) -> Group:
    """`clean_partitions`: those of all clean hubs, as `<output>:<partition>`, or the number alone for the environment's
    hub. `formats`: those of all inputs, where the group has none of its own. `deployment`: its namespace."""
    output_partitions = [name for name in clean_partitions if name.rpartition(":")[0] == (group.output or "")]
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
            deployment,
        ),
        devices=tuple(group.devices),
        sources=tuple(group.sources),
        expected_replicas=group.expected_replicas,
        on_conflict=group.on_conflict,
        content=tuple(group.content),
        silent_after_ms=group.silent_after_seconds * 1000,
        extractor=make_extractor(group, settings.max_decompressed_bytes),
        formats=tuple(sorted(formats)) or (group.format,),
        passes_on_not_readings=group.not_readings == "forward",
    )


def make_extractor(group: GroupSettings, max_decompressed_bytes: int) -> FormatExtractor | None:
    """What reads the events of a group that does not send CloudEvents. The settings are validated."""
    if group.strategy is None:
        return None
    strategy = chosen_strategy(group.strategy)
    return FormatExtractor(group.format, json.dumps(group.format_options).encode(), strategy, max_decompressed_bytes)
