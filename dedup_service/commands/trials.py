"""What `dedup-service try` reads captured messages with: a format, or a group of the groups' file."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from dedup_service.commands.tried import Numbered, Tried, try_format
from dedup_service.commands.tried_group import GroupTrial
from dedup_service.config.file import SETTING, ConfigFile, GroupSettings, load_config_file
from dedup_service.config.groups import make_group
from dedup_service.config.loading import load_offline
from dedup_service.config.settings import Settings
from dedup_service.config.unknown_fields import field_name, unknown_options
from dedup_service.config.warnings import doubts
from dedup_service.core.extract import CloudEventsExtractor
from dedup_service.core.groups import CLOUDEVENTS, Groups
from dedup_service.errors import ConfigurationError
from dedup_service.processing.admission import Admission
from wire.formats.minting import chosen_strategy
from wire.formats.registry import DEFAULT_STRATEGIES, LEARNING, make_format

LEARNED = (
    "note: names that one message gives (births, metadata) were used for those after it in the same file. `run` forgets "
    "them with each message, and refuses what only they can name; `try --group` shows what is left"
)
NOT_LEARNED = (
    "note: as in `run`, no message is read with names that an earlier one gave (births, metadata); `try --format` does that"
)
Try = Callable[[str, Sequence[Numbered]], Tried]


class TryError(ValueError):
    """Says which argument is wrong, and why."""


@dataclass(frozen=True, slots=True)
class Trial:
    attempt: Try
    warnings: list[str]
    notes: list[str] = field(default_factory=list)


def by_format(arguments: argparse.Namespace) -> Trial:
    """Raises TryError."""
    name = arguments.format
    for wrong in ("config", "input"):
        if getattr(arguments, wrong) is not None:
            raise TryError(f"--{wrong} is for --group")
    if name == CLOUDEVENTS:
        if arguments.identity or arguments.options:
            raise TryError(
                "cloudevents have ids of their own, and no options: --identity and --options are for other formats"
            )
        return _trial([GroupSettings(name=CLOUDEVENTS)], CLOUDEVENTS, load_offline(config_file=None))
    options = options_of(arguments)
    read = GroupSettings(name=name, format=name, format_options=json.loads(options), identity=arguments.identity)
    strategy = chosen_strategy(arguments.identity or DEFAULT_STRATEGIES[name])
    max_bytes = int(Settings.model_fields["max_decompressed_bytes"].default)

    def attempt(file: str, events: Sequence[Numbered]) -> Tried:
        return try_format(file, events, make_format(name, options), strategy, max_bytes)

    return Trial(attempt, _warnings(read), [LEARNED] if name in LEARNING else [])


def options_of(arguments: argparse.Namespace) -> bytes:
    """JSON of which the format can be made. Raises TryError."""
    text = arguments.options or "{}"
    try:
        options = text.encode() if text.lstrip()[:1] in ("{", "[") else Path(text).read_bytes()
        for at, problem in unknown_options(arguments.format, json.loads(options)):
            raise ValueError(f"{field_name(at)}: {problem}")
        make_format(arguments.format, options)
    except (ValueError, OSError) as error:
        raise TryError(f"--options of {arguments.format}: {error}. docs/formats.md has examples") from None
    return options


def by_group(arguments: argparse.Namespace) -> Trial:
    """Raises TryError."""
    if arguments.identity or arguments.options:
        raise TryError("--identity and --options are for --format; a group has those of the groups' file")
    path = arguments.config or (Path(os.environ[SETTING]) if os.environ.get(SETTING) else None)
    if path is None:
        raise TryError(f"--group needs the groups' file: --config FILE, or {SETTING}")
    try:
        file, settings = load_config_file(path), load_offline(config_file=path)
    except ConfigurationError as error:
        raise TryError(str(error)) from None
    group = next((group for group in file.groups if group.name == arguments.group), None)
    if group is None:
        raise TryError(f"{path} has no group {arguments.group}; it has {', '.join(group.name for group in file.groups)}")
    name = _input_name(file, group, arguments.input)
    groups = {item.name: file.by_input(item).get(name, item) for item in file.groups}
    trial, form = _trial(list(groups.values()), group.name, settings), groups[group.name].format
    if form != group.format:
        read_as = f"names no format, so its messages are read as input {name} says: {form}"
        trial.notes.append(f"note: group {group.name} {read_as}")
    return trial


def _input_name(file: ConfigFile, group: GroupSettings, wanted: str | None) -> str:
    """The input whose lines count for the group; empty where the file has none."""
    by_input = file.by_input(group)
    if wanted is not None and wanted not in by_input:
        raise TryError(f"the file has no input {wanted}; it has {', '.join(by_input) or 'none at all'}")
    if wanted is None and any(read != other for read, other in pairwise(by_input.values())):
        told = ", ".join(f"{name} ({read.format})" for name, read in by_input.items())
        raise TryError(
            f"how messages of group {group.name} are read depends on the input by which they come: name it with --input, "
            f"one of {told}"
        )
    return wanted or next(iter(by_input), "")


def _trial(groups: Sequence[GroupSettings], name: str, settings: Settings) -> Trial:
    made = [make_group(group, settings, ["0"]) for group in groups]
    admission = Admission(
        Groups(made), CloudEventsExtractor(settings.max_decompressed_bytes), settings.unmatched, settings.kept_property_names
    )
    group, read = next((group, read) for group, read in zip(made, groups, strict=True) if group.name == name)
    strategy = chosen_strategy(read.strategy).name if read.strategy else CLOUDEVENTS
    attempt = GroupTrial(admission, group, strategy).try_messages
    return Trial(attempt, _warnings(read), [NOT_LEARNED] if read.format in LEARNING else [])


def _warnings(group: GroupSettings) -> list[str]:
    return [f"{place}: {reason}" for place, reason in doubts(group)]
