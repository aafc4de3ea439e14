"""`dedup-service`: the command line."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Coroutine
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from dedup_service import __version__
from dedup_service.commands.capture import CaptureFailedError, Kept, add_capture
from dedup_service.commands.check import CheckFailedError
from dedup_service.commands.plan import add_plan, planned
from dedup_service.commands.trials import TryError
from dedup_service.commands.try_readings import add_try, tried
from dedup_service.config.loading import load_offline, load_to_check, load_to_init, load_to_report, load_to_run
from dedup_service.config.settings import PREFIX, Settings, example
from dedup_service.errors import ConfigurationError, ShutOutError, UnavailableError
from dedup_service.telemetry import Telemetry, configure_logging
from wire.cancellation import keep_cancellations

SHUTDOWN_SECONDS = 20.0
"""After that the process exits as if it were killed, which loses nothing. An orchestrator would kill it after 30 s."""
HUNG = 3
COLLECTOR_THRESHOLDS = (20_000, 50, 100)
"""A batch consists of thousands of objects that live as long as the batch and form no cycles. By default, the collector
would examine them again and again, which takes some percent of all time."""


def settings_help() -> str:
    lines = ["settings are environment variables:"]
    for name, field in Settings.model_fields.items():
        default = "required" if field.is_required() else f"default: {field.get_default()!r}"
        lines.append(f"  {PREFIX}{name.upper()}  ({default})\n      {field.description}")
    return "\n".join(lines)


async def run(settings: Settings) -> None:
    from dedup_service.bootstrap import build

    loop, service = asyncio.get_running_loop(), build(settings, Telemetry())
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)

    def stop() -> None:
        service.stop()
        loop.call_later(SHUTDOWN_SECONDS, os._exit, HUNG)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    await service.run()


async def report(settings: Settings, hours: int, *, json: bool) -> None:
    from dedup_service.bootstrap import build_fleet
    from dedup_service.commands.report import as_json, as_text, collect

    try:
        async with build_fleet(settings) as fleet:
            reports = await collect(fleet, hours)
    except UnavailableError as error:
        raise ConfigurationError(f"{PREFIX}REDIS_URL", str(error), example("redis_url")) from None
    print(as_json(reports) if json else as_text(reports, hours))


async def check(settings: Settings, url: str, *, health_only: bool, round_trip: bool, timeout_seconds: float) -> None:
    """Raises CheckFailedError, or ConfigurationError."""
    from dedup_service.commands.check import checker

    if not health_only:
        await check_settings(settings)
    token = settings.api_token.get_secret_value() if settings.api_token else None
    async with checker(url, token, settings.http_certificate, settings.ca_file) as looking:
        print(await looking.health())
        if not health_only:
            print(await looking.api())
        if round_trip:
            from dedup_service.bootstrap import build_round_trip

            async with build_round_trip(settings) as ports:
                print(await looking.round_trip(ports, timeout_seconds))


async def check_settings(settings: Settings) -> None:
    """Comes first, since a service that was refused its start for one of these does not answer. Raises CheckFailedError, or
    ConfigurationError."""
    from dedup_service.bootstrap import check_start, retention_warnings
    from dedup_service.config.config import Config

    for warning in Config(settings).warnings:
        print(f"warning: {warning}", file=sys.stderr)
    try:
        problems = await check_start(settings)
        for short in await retention_warnings(settings):
            print(f"warning: {short}", file=sys.stderr)
    except UnavailableError as error:
        raise CheckFailedError(str(error)) from None
    if problems:
        raise CheckFailedError("; ".join(problems))


async def capture(settings: Settings, arguments: argparse.Namespace) -> None:
    """Raises CaptureFailedError, or ConfigurationError."""
    from dedup_service.commands import capture as capturing
    from dedup_service.commands.capture_files import new_folder, save
    from wire.formats.capture import written

    folder: Path | None = arguments.output
    kept = capturing.Kept(capturing.Wanted(arguments.count, arguments.seconds, arguments.device, arguments.back))
    with new_folder(folder) if folder is not None else nullcontext():
        await _capture_into(kept, settings, arguments.input, arguments.consumer_group)
        files = save(folder, kept.events) if folder is not None else {}
    for line in capturing.summary(kept, files):
        print(line, file=sys.stderr)
    if not kept.events:
        raise CaptureFailedError("no such event has arrived. `--from 1h` begins earlier, and `--seconds 300` waits longer")
    if folder is None:
        sys.stdout.buffer.write(written(event for events in kept.events.values() for event in events))
    else:
        print(f"next: dedup-service try --format FORMAT {folder}/*.json", file=sys.stderr)


async def _capture_into(kept: Kept, settings: Settings, input_name: str | None, consumer_group: str) -> None:
    """Until it is enough, or the user interrupts it, who then wants what there is."""
    from dedup_service.bootstrap import SystemClock, build_capture
    from dedup_service.commands.capture import capture

    clock = SystemClock()
    async with build_capture(settings, input_name, consumer_group) as (name, hub):
        print(f"reading {name} in consumer group {consumer_group} (Ctrl-C ends it and keeps what came) …", file=sys.stderr)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, kept.stop)
        try:
            await capture(hub, kept, clock.now_ms, clock.monotonic)
        except ShutOutError as error:
            raise CaptureFailedError(
                f"other readers have consumer group {consumer_group} of {name}, which must be this command's own: make "
                f"another one, and name it with --consumer-group ({error.problem})"
            ) from None
        except UnavailableError as error:
            raise CaptureFailedError(
                f"{name}, consumer group {consumer_group}: {error}. The group must exist, and the connection string must "
                "have the right to listen"
            ) from None


async def init(settings: Settings) -> None:
    from dedup_service.bootstrap import create_checkpoint_container

    print(await create_checkpoint_container(settings))


def _hours(text: str) -> int:
    from dedup_service.commands.report import hours_of

    try:
        return hours_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def make_parser() -> argparse.ArgumentParser:
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
        help="report for each source whether it can be deduplicated, and how much redundancy it has",
        description="Reads what `run` has counted in Redis; DEDUP_MODE=observe measures most. Needs DEDUP_REDIS_URL, and "
        "DEDUP_NAMESPACE or the hubs of `run`; without a clean hub, it reports what was observed.",
    )
    reporting.add_argument("--since", type=_hours, default=24, metavar="24h", help="how far back: 90m, 24h, 1d")
    reporting.add_argument("--json", action="store_true", help="for programs")
    _add_check(commands)
    add_plan(commands)
    add_capture(commands)
    add_try(commands)
    commands.add_parser("init", help="create the blob container for the checkpoints, if it is missing")
    return parser


def main() -> None:
    keep_cancellations()
    arguments = make_parser().parse_args()
    if arguments.command == "plan":
        print(planned(arguments))
        return
    if arguments.command == "try":
        _try(arguments)
        return
    try:
        settings = _loaded(arguments)
        configure_logging(settings.log_format)
        asyncio.run(_chosen(settings, arguments))
    except ConfigurationError as error:
        print(f"dedup-service: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except (CheckFailedError, CaptureFailedError) as error:
        print(f"dedup-service {arguments.command}: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _loaded(arguments: argparse.Namespace) -> Settings:
    """The settings, of which each command needs others. Raises ConfigurationError."""
    match arguments.command:
        case "report":
            return load_to_report()
        case "init":
            return load_to_init()
        case "capture":
            return load_offline()
        case "check" if arguments.health:
            return load_offline()
        case "check":
            return load_to_check(sends=arguments.round_trip)
    return load_to_run()


def _try(arguments: argparse.Namespace) -> None:
    try:
        print(tried(arguments))
    except TryError as error:
        print(f"dedup-service try: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _add_check(commands: Any) -> None:
    checking = commands.add_parser(
        "check",
        help="check whether a running service is healthy, and whether a reading gets through",
        description="Exits with 0 if all is well. Uses the settings of `run`; without a clean hub and a mode, it expects a "
        "service that observes.",
    )
    checking.add_argument(
        "--url", help="address of the service (default: this machine, DEDUP_HTTP_HOST and DEDUP_HTTP_PORT)"
    )
    what = checking.add_mutually_exclusive_group()
    what.add_argument("--health", action="store_true", help="check only whether the process is alive")
    what.add_argument("--round-trip", action="store_true", help="send a reading three times, and expect it once")
    checking.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="limit for the round trip")


def _chosen(settings: Settings, arguments: argparse.Namespace) -> Coroutine[Any, Any, None]:
    if arguments.command == "report":
        return report(settings, arguments.since, json=arguments.json)
    if arguments.command == "check":
        url = arguments.url or settings.local_url
        return check(
            settings,
            url,
            health_only=arguments.health,
            round_trip=arguments.round_trip,
            timeout_seconds=arguments.timeout,
        )
    if arguments.command == "capture":
        return capture(settings, arguments)
    return init(settings) if arguments.command == "init" else run(settings)


if __name__ == "__main__":
    main()
