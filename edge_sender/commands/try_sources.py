"""`edge-sender try`: which readings the sources yield here, exactly as they would be sent. Nothing is sent or kept."""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from edge_sender import bootstrap
from edge_sender.commands.arguments import count, seconds
from edge_sender.commands.compare import compared
from edge_sender.commands.text import Say
from edge_sender.commands.trial import Observed, Trial, observe
from edge_sender.commands.tried import AsJsonLines, AsText, Output
from edge_sender.config.settings import load_sources

SECONDS = 20.0


def add_try(commands: Any) -> None:
    parser = commands.add_parser(
        "try",
        help="print the readings of the sources as they would be sent, and send nothing",
        description="Runs the configured sources as `run` does, and prints each reading with its source's name, time, id, "
        "source and data. Nothing is sent, and neither spool nor witness nor twin is touched. The status is 1 if a source "
        "does not work. With --compare: reads what two gateways printed with --json, and says of each source which readings "
        "match, and by what others differ; the status is 1 if there are others.",
    )
    parser.add_argument("--seconds", type=seconds, default=SECONDS, help="how long to run the sources (default: 20)")
    parser.add_argument("--json", action="store_true", help="JSON lines: each reading as the event that would be sent")
    parser.add_argument(
        "--limit", type=count, metavar="N", help="print N readings of each entry at most, and count the others"
    )
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("A.jsonl", "B.jsonl"), help="compare what two gateways printed with --json"
    )


async def run_try(arguments: argparse.Namespace, say: Say) -> int:
    """Returns the exit status. Raises SettingsError and CompareError."""
    if arguments.compare is not None:
        one, two = arguments.compare
        return compared(one, two, say)
    settings, sources = load_sources()
    observations: asyncio.Queue[Observed] = asyncio.Queue()
    items = bootstrap.make_trials(settings, sources)
    trials = [Trial(config, item, observations) for config, item in zip(sources.sources, items, strict=True)]
    output: Output = AsJsonLines() if arguments.json else AsText()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    for line in output.begin(sources, time.time_ns()):
        say(line)
    printer = Printer(output, arguments.limit, say)
    printing = asyncio.create_task(printer.run(observations))
    try:
        await observe(trials, arguments.seconds, printing.done, stop)
    finally:
        printing.cancel()
        await asyncio.gather(printing, return_exceptions=True)
    if not printing.cancelled() and (error := printing.exception()) is not None:
        raise error
    while not observations.empty():
        printer.show(observations.get_nowait())
    for line in output.end(trials, time.time_ns()):
        say(line)
    return 1 if any(trial.problem for trial in trials) else 0


class Printer:
    """`limit`: how many readings of each entry it prints; None: all."""

    def __init__(self, output: Output, limit: int | None, say: Say) -> None:
        self._output = output
        self._limit = limit
        self._say = say
        self._printed: Counter[str] = Counter()

    async def run(self, observations: asyncio.Queue[Observed]) -> None:
        """Prints until cancelled. Raises OSError, if nobody reads it any more."""
        while True:
            self.show(await observations.get())

    def show(self, observed: Observed) -> None:
        if self._limit is None or self._printed[observed.entry] < self._limit:
            self._printed[observed.entry] += 1
            self._say(self._output.line(observed))
