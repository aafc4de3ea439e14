"""`dedup-service try`: which keys the readings of captured messages get, and whether those of several gateways match."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from dedup_service.commands.tried import Tried, try_file
from dedup_service.commands.tried_text import as_json, as_text
from wire.formats.capture import CaptureError
from wire.formats.minting import chosen_strategy
from wire.formats.registry import DEFAULT_STRATEGIES, NAMES, make_format
from wire.ids import Identity


class TryError(ValueError):
    """Says which argument is wrong, and why."""


def add_try(commands: Any) -> None:
    parser = commands.add_parser(
        "try",
        help="try which readings of captured messages could be deduplicated",
        description="Reads files of captured messages, one for each gateway, and prints which key each reading gets, which "
        "of them match, and why others do not (docs/formats.md). Needs no settings and no connections.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="captured messages of one gateway, as JSON")
    parser.add_argument("--format", required=True, choices=NAMES, help="what the gateways send")
    parser.add_argument(
        "--identity",
        type=_strategy,
        metavar="STRATEGY",
        help="what tells readings of a source apart: source-time, source-time+value, sequence, content, "
        "time-bucket:SECONDS[+PHASE] (default: by format, see docs/formats.md)",
    )
    parser.add_argument("--options", default="{}", metavar="JSON", help="of the format: a JSON object, or a file with it")
    parser.add_argument("--json", action="store_true", help="for programs")


def tried(arguments: argparse.Namespace) -> str:
    """Raises TryError."""
    files = [_tried_file(path, arguments) for path in arguments.files]
    return as_json(files) if arguments.json else as_text(files)


def _tried_file(path: Path, arguments: argparse.Namespace) -> Tried:
    try:
        form = make_format(arguments.format, _options(arguments.options))
    except (ValueError, OSError) as error:
        raise TryError(f"--options of {arguments.format}: {error}. docs/formats.md has examples") from None
    try:
        strategy = arguments.identity or _strategy(DEFAULT_STRATEGIES[arguments.format])
        return try_file(path.name, path.read_bytes(), form, strategy)
    except OSError as error:
        raise TryError(f"{path} can't be read: {error.strerror}") from None
    except CaptureError as error:
        raise TryError(f"{path}: {error}. It must be a JSON object with `events`, each with a `body`") from None


def _options(text: str) -> bytes:
    return text.encode() if text.lstrip()[:1] in ("{", "[") else Path(text).read_bytes()


def _strategy(text: str) -> Identity:
    try:
        return chosen_strategy(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
