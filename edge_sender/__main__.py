"""The command line: `edge-sender run`, `check`, and what shows beforehand what `run` will do."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from edge_sender import bootstrap
from edge_sender.buffering.spool_values import SpoolUnusableError
from edge_sender.commands.browse import add_browse, run_browse
from edge_sender.commands.outputs import CompareError
from edge_sender.commands.try_sources import add_try, run_try
from edge_sender.commands.validate import add_validate, run_validate
from edge_sender.config.names import replica_name
from edge_sender.config.remembered import Remembered
from edge_sender.config.settings import EdgeSettings, SettingsError, SettingsProblems, http_address, read, settings_help
from edge_sender.config.twin import Effective, TwinSettings
from edge_sender.config.variables import misspelt
from edge_sender.namesakes import Namesakes
from edge_sender.observability.health import serving
from edge_sender.observability.starting import changed, started
from edge_sender.ports import Uplink
from edge_sender.sender import Sender
from edge_sender.survey import SurveyError
from wire.cancellation import keep_cancellations

CHECK_SECONDS = 5.0
PROVEN_SECONDS = 60.0
"""Settings with which the process has run for so long are not what ends it."""
INTERRUPTED = 128 + signal.SIGINT
NEVER = logging.CRITICAL + 1
"""Level of the OPC UA library, which logs every attempt to reach a server that is away, often with a traceback. The source
says it once. With EDGE_LOG_LEVEL=DEBUG its warnings are there."""

logger = logging.getLogger("edge_sender")


async def run() -> None:
    """Run until SIGTERM. Raises SettingsError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    problems = SettingsProblems()
    settings = read(problems)
    for line in misspelt(os.environ):
        logger.warning(line)
    if not settings.twin:
        with problems.noted():
            sources = settings.sources_document()
        with problems.noted():
            uplink = bootstrap.make_uplink(settings)
        problems.raise_all()
        await _run_with(Effective(settings, sources), uplink, Namesakes(), stop)
        return
    problems.raise_all()
    await _run_with_twin(settings, stop)


async def _run_with_twin(settings: EdgeSettings, stop: asyncio.Event) -> None:
    """Start with what is remembered of the twin, and go on with whatever it desires."""
    spool = bootstrap.spool_path(settings)
    remembered = Remembered(None if spool is None else spool.with_name("twin.json"))
    remembered.begin()
    twin, uplink = TwinSettings(settings, remembered, bootstrap.try_out), bootstrap.make_iot_uplink(settings)
    namesakes = Namesakes()

    async def follow(sender: Sender) -> None:
        async def change(effective: Effective) -> None:
            await bootstrap.change(sender, uplink, effective.settings, effective.sources, namesakes)
            _set_log_level(effective.settings)
            logger.info(changed(effective.sources, effective.from_twin))

        await twin.watch(uplink.twin, change)

    async def prove(_: Sender) -> None:
        await asyncio.sleep(PROVEN_SECONDS)
        remembered.prove()

    await _run_with(twin.effective(), uplink, namesakes, stop, follow, prove)
    remembered.prove()  # it was stopped


def _set_log_level(settings: EdgeSettings) -> None:
    logging.getLogger().setLevel(settings.log_level)
    logging.getLogger("asyncua").setLevel(logging.WARNING if settings.log_level == "DEBUG" else NEVER)


async def _run_with(
    effective: Effective,
    uplink: Uplink,
    namesakes: Namesakes,
    stop: asyncio.Event,
    *others: Callable[[Sender], Awaitable[None]],
) -> None:
    settings, sources, from_twin = effective
    _set_log_level(settings)
    sender = bootstrap.make_sender(settings, sources, uplink, namesakes)
    async with serving(sender, settings.http_host, settings.http_port) as port:
        try:
            await sender.store.open()
        except SpoolUnusableError as error:
            raise SettingsError(str(error)) from None
        replica = replica_name(settings)
        logger.info(started(settings, sources, sender, os.environ, replica=replica, port=port, from_twin=from_twin))
        await sender.run(stop, *(other(sender) for other in others))


def check(path: str) -> int:
    """Ask the sender on this machine for its health; return the exit status, 0 if it is healthy and 1 if not."""
    host, port = http_address()
    try:
        in_url = f"[{host}]" if ":" in host else host
        with urlopen(f"http://{in_url}:{port}{path}", timeout=CHECK_SECONDS):
            print("healthy")
            return 0
    except HTTPError as error:
        print(f"unhealthy: {error.read().decode(errors='replace').strip()}")
    except (OSError, URLError) as error:
        print(f"no sender answers at {host}:{port}: {error}")
    return 1


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-sender", description="Send a plant's readings with deterministic keys.")
    commands = parser.add_subparsers(dest="command", required=True)
    run_help = "run the sender; its settings are environment variables (EDGE_*)"
    run_parser = commands.add_parser("run", help=run_help, formatter_class=argparse.RawDescriptionHelpFormatter)
    run_parser.epilog = settings_help()
    check_parser = commands.add_parser("check", help="check the health of the sender on this machine")
    check_parser.add_argument(
        "--health", action="store_true", help="check only that the process works, to decide on a restart"
    )
    for add in (add_validate, add_browse, add_try):
        add(commands)
    return parser


SHOWING = {"validate": run_validate, "browse": run_browse, "try": run_try}


def show(arguments: argparse.Namespace) -> int:
    """Run a command that shows beforehand what `run` will do; return the exit status. Raises SettingsError."""
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("asyncua").setLevel(NEVER)
    try:
        return asyncio.run(SHOWING[arguments.command](arguments, partial(print, flush=True)))
    except (SurveyError, CompareError) as error:
        raise SystemExit(f"edge-sender: {error}") from None
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever reads it has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def main() -> None:
    keep_cancellations()
    arguments = make_parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for noisy in ("azure", "urllib3"):  # at DEBUG they would also log signatures
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        if arguments.command == "check":
            raise SystemExit(check("/healthz" if arguments.health else "/readyz"))
        if arguments.command in SHOWING:
            raise SystemExit(show(arguments))
        asyncio.run(run())
    except SettingsError as error:
        raise SystemExit(f"edge-sender: {error}") from None


if __name__ == "__main__":
    main()
