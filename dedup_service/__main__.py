"""`dedup-service`: the command line."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from dedup_service import __version__
from dedup_service.errors import ConfigurationError
from dedup_service.settings import PREFIX, Settings, load
from dedup_service.telemetry import Telemetry, configure_logging


def settings_help() -> str:
    lines = ["settings are environment variables:"]
    for name, field in Settings.model_fields.items():
        default = "required" if field.is_required() else f"default: {field.get_default()!r}"
        lines.append(f"  {PREFIX}{name.upper()}  ({default})\n      {field.description}")
    return "\n".join(lines)


async def run(settings: Settings) -> None:
    from dedup_service.bootstrap import build

    service = build(settings, Telemetry())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, service.stop)
    await service.run()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="dedup-service", description="Turn the duplicate streams of redundant edges into one clean stream."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "run",
        help="run the service",
        epilog=settings_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    try:
        settings = load()
        configure_logging(settings.log_format)
        asyncio.run(run(settings))
    except ConfigurationError as error:
        print(f"dedup-service: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
