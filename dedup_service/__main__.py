"""`dedup-service`: the command line."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys

from dedup_service import __version__
from dedup_service.errors import ConfigurationError, UnavailableError
from dedup_service.settings import PREFIX, Settings, example, load
from dedup_service.telemetry import Telemetry, configure_logging

SHUTDOWN_SECONDS = 20.0
"""Then the process ends as if it were killed, which loses nothing; an orchestrator would wait 30 s before it does that."""
HUNG = 3


def settings_help() -> str:
    lines = ["settings are environment variables:"]
    for name, field in Settings.model_fields.items():
        default = "required" if field.is_required() else f"default: {field.get_default()!r}"
        lines.append(f"  {PREFIX}{name.upper()}  ({default})\n      {field.description}")
    return "\n".join(lines)


async def run(settings: Settings) -> None:
    from dedup_service.bootstrap import build

    loop, service = asyncio.get_running_loop(), build(settings, Telemetry())

    def stop() -> None:
        service.stop()
        loop.call_later(SHUTDOWN_SECONDS, os._exit, HUNG)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await service.run()


async def report(settings: Settings, hours: int, *, json: bool) -> None:
    from dedup_service.bootstrap import build_deployment
    from dedup_service.report import as_json, as_text, collect

    async with build_deployment(settings) as deployment:
        try:
            reports = await collect(deployment, hours)
        except UnavailableError as error:
            raise ConfigurationError(f"{PREFIX}REDIS_URL", f"{error.what}: {error.problem}", example("redis_url")) from None
    print(as_json(reports) if json else as_text(reports, hours))


def _hours(text: str) -> int:
    from dedup_service.report import hours_of

    try:
        return hours_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


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
    reporting = commands.add_parser(
        "report",
        help="say of each source whether it can be deduplicated, and how much redundancy it has",
        description="Reads what `run` has counted in Redis; DEDUP_MODE=observe measures most. Same settings as `run`.",
    )
    reporting.add_argument("--since", type=_hours, default=24, metavar="24h", help="how far back: 90m, 24h, 1d")
    reporting.add_argument("--json", action="store_true", help="for programs")
    arguments = parser.parse_args()
    try:
        settings = load()
        configure_logging(settings.log_format)
        if arguments.command == "report":
            asyncio.run(report(settings, arguments.since, json=arguments.json))
        else:
            asyncio.run(run(settings))
    except ConfigurationError as error:
        print(f"dedup-service: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
