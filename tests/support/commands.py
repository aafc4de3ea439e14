"""The commands of the edge that show what `run` will do, in the test process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from edge_sender.__main__ import SHOWING, make_parser


@dataclass
class Printed:
    status: int
    lines: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def events(self) -> list[dict[str, Any]]:
        """Those of `try --json`."""
        told = [json.loads(line) for line in self.lines]
        return [line["event"] for line in told if "event" in line and "dropped" not in line]


async def command(*words: str) -> Printed:
    """Raises what the command raises."""
    arguments = make_parser().parse_args(words)
    lines: list[str] = []
    return Printed(await SHOWING[arguments.command](arguments, lines.append), lines)
