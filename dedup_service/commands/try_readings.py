"""`dedup-service try`: which keys the readings of captured messages get, and whether those of several gateways match."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dedup_service.commands.captured_events import input_events
from dedup_service.commands.tried import Numbered, Tried, gateways, try_format
from dedup_service.commands.tried_group import GroupTrial
from dedup_service.commands.tried_json import as_json
from dedup_service.commands.tried_text import as_text
from dedup_service.config.file import SETTING, GroupSettings, load_config_file
from dedup_service.config.groups import make_group
from dedup_service.config.settings import Settings, load_offline
from dedup_service.core.events import UNKNOWN_REPLICA, InputEvent
from dedup_service.core.extract import CloudEventsExtractor
from dedup_service.core.groups import CLOUDEVENTS, Groups
from dedup_service.errors import ConfigurationError
from dedup_service.processing.admission import Admission
from wire.formats.capture import CaptureError
from wire.formats.minting import chosen_strategy
from wire.formats.registry import DEFAULT_STRATEGIES, LEARNING, NAMES, make_format

STANDARD_INPUT = Path("-")
FORM = "It must be a JSON object with `events`, each with a `body` (docs/formats.md)"
LEARNED = (
    "note: names that one message gives (births, metadata) were used for those after it in the same file. `run` forgets "
    "them with each message, and refuses what only they can name; `try --group` shows what is left"
)
NOT_LEARNED = (
    "note: as in `run`, no message is read with names that an earlier one gave (births, metadata); `try --format` does that"
)
MAX_SENDER = 256
"""Characters of a device's and its module's id; longer names are made up."""
Try = Callable[[str, Sequence[Numbered]], Tried]


class TryError(ValueError):
    """Says which argument is wrong, and why."""


def add_try(commands: Any) -> None:
    parser = commands.add_parser(
        "try",
        help="try which readings of captured messages could be deduplicated",
        description="Reads files of captured messages, one for each gateway, and prints which key each reading gets, which "
        "of them match, and why others do not (docs/formats.md). Needs no settings and no connections. `dedup-service "
        "capture` writes such files.",
    )
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="captured messages, as JSON; standard input if there is none, or for `-`",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--format", choices=(CLOUDEVENTS, *NAMES), help="what the gateways send")
    what.add_argument("--group", metavar="NAME", help="read them as `run` does for this group of the groups' file")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help=f"the groups' file, with --group (default: that of {SETTING})"
    )
    parser.add_argument(
        "--identity",
        type=_strategy,
        metavar="STRATEGY",
        help="what tells readings of a source apart: source-time, source-time+value, sequence, content, "
        "time-bucket:SECONDS[+PHASE] (default: by format, see docs/formats.md)",
    )
    parser.add_argument("--options", metavar="JSON", help="of the format: a JSON object, or a file with it")
    parser.add_argument("--json", action="store_true", help="for programs")


def tried(arguments: argparse.Namespace) -> str:
    """Raises TryError."""
    read = [(path, _events(path)) for path in arguments.files or [STANDARD_INPUT]]
    attempt, note = _by_format(arguments) if arguments.group is None else _by_group(arguments)
    found = [(name, events) for path, all_events in read for name, events in _gateways(path, all_events)]
    files = [attempt(name, events) for name, events in found]
    senders = [event.replica for (_, events), file in zip(found, files, strict=True) if file.copies for _, event in events]
    group = _group_settings(arguments, sorted(set(senders))) if arguments.group is None else None
    unit = "file" if len(files) == len(read) else "gateway"
    return as_json(files, note, group) if arguments.json else as_text(files, note, group, unit)


def _events(path: Path) -> list[InputEvent]:
    try:
        if path != STANDARD_INPUT:
            return input_events(path.read_bytes())
        if sys.stdin.isatty():
            raise TryError("no FILE is given, and nothing comes from standard input. `dedup-service capture` writes files")
        return input_events(sys.stdin.buffer.read())
    except OSError as error:
        raise TryError(f"{path} can't be read: {error.strerror}") from None
    except CaptureError as error:
        raise TryError(f"{_name(path)}: {error}. {FORM}") from None


def _gateways(path: Path, events: list[InputEvent]) -> list[tuple[str, list[Numbered]]]:
    """With the names under which they are told: that of the file, if it holds one gateway's messages."""
    name, found = path.name if path != STANDARD_INPUT else _name(path), gateways(events)
    if len(found) <= 1:
        return [(name, list(enumerate(events, 1)))]
    return [(f"{name} ({replica})", numbered) for replica, numbered in found.items()]


def _name(path: Path) -> str:
    return "standard input" if path == STANDARD_INPUT else str(path)


def _by_format(arguments: argparse.Namespace) -> tuple[Try, str | None]:
    name = arguments.format
    if arguments.config is not None:
        raise TryError("--config is for --group")
    if name == CLOUDEVENTS:
        if arguments.identity or arguments.options:
            raise TryError(
                "cloudevents have ids of their own, and no options: --identity and --options are for other formats"
            )
        settings = load_offline(config_file=None)
        return _trial([GroupSettings(name=CLOUDEVENTS)], CLOUDEVENTS, settings), None
    options = _options(arguments)
    strategy = chosen_strategy(arguments.identity or DEFAULT_STRATEGIES[name])
    max_bytes = int(Settings.model_fields["max_decompressed_bytes"].default)

    def attempt(file: str, events: Sequence[Numbered]) -> Tried:
        return try_format(file, events, make_format(name, options), strategy, max_bytes)

    return attempt, LEARNED if name in LEARNING else None


def _options(arguments: argparse.Namespace) -> bytes:
    """JSON of which the format can be made."""
    text = arguments.options or "{}"
    try:
        options = text.encode() if text.lstrip()[:1] in ("{", "[") else Path(text).read_bytes()
        make_format(arguments.format, options)
    except (ValueError, OSError) as error:
        raise TryError(f"--options of {arguments.format}: {error}. docs/formats.md has examples") from None
    return options


def _group_settings(arguments: argparse.Namespace, senders: list[str]) -> GroupSettings:
    """The group of the groups' file that means the same as the arguments. `senders`: of what was read."""
    given: dict[str, Any] = {"name": arguments.format, "format": arguments.format}
    if senders and UNKNOWN_REPLICA not in senders and all(len(sender) <= MAX_SENDER for sender in senders):
        given["devices"] = [_pattern(sender) for sender in senders]
        given["expected_replicas"] = len(senders) if 1 < len(senders) < 32 else 0
    if arguments.options:
        given["format_options"] = json.loads(_options(arguments))
    if arguments.identity:
        given["identity"] = arguments.identity
    return GroupSettings(**given)


def _pattern(sender: str) -> str:
    """A pattern that this name alone matches."""
    return "".join(f"[{symbol}]" if symbol in "*?[" else symbol for symbol in sender)


def _by_group(arguments: argparse.Namespace) -> tuple[Try, str | None]:
    if arguments.identity or arguments.options:
        raise TryError("--identity and --options are for --format; a group has those of the groups' file")
    path = arguments.config or (Path(os.environ[SETTING]) if os.environ.get(SETTING) else None)
    if path is None:
        raise TryError(f"--group needs the groups' file: --config FILE, or {SETTING}")
    try:
        groups, settings = load_config_file(path).groups, load_offline(config_file=path)
    except ConfigurationError as error:
        raise TryError(str(error)) from None
    group = next((group for group in groups if group.name == arguments.group), None)
    if group is None:
        raise TryError(f"{path} has no group {arguments.group}; it has {', '.join(group.name for group in groups)}")
    return _trial(groups, group.name, settings), NOT_LEARNED if group.format in LEARNING else None


def _trial(groups: Sequence[GroupSettings], name: str, settings: Settings) -> Try:
    made = [make_group(group, settings, ["0"]) for group in groups]
    admission = Admission(
        Groups(made), CloudEventsExtractor(settings.max_decompressed_bytes), settings.unmatched, settings.kept_property_names
    )
    number = next(number for number, group in enumerate(made) if group.name == name)
    return GroupTrial(admission, made[number], _strategy_name(groups[number])).try_messages


def _strategy_name(group: GroupSettings) -> str:
    """CloudEvents have their own ids."""
    if group.format == CLOUDEVENTS:
        return CLOUDEVENTS
    return chosen_strategy(group.identity or DEFAULT_STRATEGIES[group.format]).name


def _strategy(text: str) -> str:
    try:
        chosen_strategy(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
