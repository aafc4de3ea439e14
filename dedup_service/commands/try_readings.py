"""`dedup-service try`: which keys the readings of captured messages get, and whether those of several gateways match."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from dedup_service.commands.captured_events import input_events
from dedup_service.commands.trials import TryError, by_format, by_group, options_of
from dedup_service.commands.tried import Numbered, gateways
from dedup_service.commands.tried_json import as_json
from dedup_service.commands.tried_text import as_text
from dedup_service.config.file import SETTING, GroupSettings
from dedup_service.core.events import UNKNOWN_REPLICA, InputEvent
from dedup_service.core.groups import CLOUDEVENTS
from wire.formats.capture import CaptureError
from wire.formats.minting import chosen_strategy
from wire.formats.registry import NAMES

STANDARD_INPUT = Path("-")
FORM = "It must be a JSON object with `events`, each with a `body` (docs/formats.md)"
MAX_SENDER = 256
"""Characters of a device's and its module's id; longer names are made up."""


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
        "--input", metavar="NAME", help="with --group: the input of the file by which they came, where inputs have formats"
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
    trial = by_format(arguments) if arguments.group is None else by_group(arguments)
    found = [(name, events) for path, all_events in read for name, events in _gateways(path, all_events)]
    files = [trial.attempt(name, events) for name, events in found]
    senders = [event.replica for (_, events), file in zip(found, files, strict=True) if file.copies for _, event in events]
    group = _group_settings(arguments, sorted(set(senders))) if arguments.group is None else None
    unit = "file" if len(files) == len(read) else "gateway"
    told = (trial.notes, trial.warnings, group)
    return as_json(files, *told) if arguments.json else as_text(files, *told, unit)


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


def _group_settings(arguments: argparse.Namespace, senders: list[str]) -> GroupSettings:
    """The group of the groups' file that means the same as the arguments. `senders`: of what was read."""
    given: dict[str, Any] = {"name": arguments.format, "format": arguments.format}
    if senders and UNKNOWN_REPLICA not in senders and all(len(sender) <= MAX_SENDER for sender in senders):
        given["devices"] = [_pattern(sender) for sender in senders]
        given["expected_replicas"] = len(senders) if 1 < len(senders) < 32 else 0
    if arguments.options:
        given["format_options"] = json.loads(options_of(arguments))
    if arguments.identity:
        given["identity"] = arguments.identity
    return GroupSettings(**given)


def _pattern(sender: str) -> str:
    """A pattern that this name alone matches."""
    return "".join(f"[{symbol}]" if symbol in "*?[" else symbol for symbol in sender)


def _strategy(text: str) -> str:
    try:
        chosen_strategy(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
