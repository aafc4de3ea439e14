"""Reads variables with the Read service at the points of a grid of UTC, so that all gateways ask at the same moments.

The reading's time is the point, and not the server's stamp, which differs for each of those who ask. Source: OPC 10000-4,
5.10.2 (Read).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

from asyncua import ua

from edge_sender.counters import SourceTally
from edge_sender.sources.opcua.connection import Connection
from edge_sender.sources.opcua.decoding import Change, read_result
from edge_sender.sources.opcua.grid import Grid
from edge_sender.sources.opcua.items import Item
from edge_sender.sources.opcua.limits import Limits, Refused, Service, in_parts
from wire.ids import NS_PER_SECOND

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Variables:
    """Those that are read. To the session they are what `Subscriptions` are, though the server knows nothing of them."""

    items: dict[int, Item] = field(default_factory=dict)
    """By handle."""
    most_items: int | None = None
    """Of one subscription, of which there is none."""
    refused: dict[str, str] = field(default_factory=dict)
    revised: Counter[str] = field(default_factory=Counter)
    _handles: count[int] = field(default_factory=lambda: count(1))

    async def add(self, items: Iterable[Item]) -> None:
        for item in items:
            item.handle = next(self._handles)
            self.items[item.handle] = item

    async def remove(self, items: Iterable[Item]) -> None:
        for item in items:
            del self.items[item.handle]

    async def watch_model(self) -> bool:
        """Events come by subscriptions only."""
        return False

    async def transfer(self) -> None:
        """A new session can read them as well."""

    def listen(self) -> None:
        """Whoever reads need not wait for a sign of life."""

    def is_silent(self) -> bool:
        return False


class Poller:
    """`deliver` is called with what was read for a point of the grid, and the point; `refused` with a variable whose answer
    could not be decoded."""

    def __init__(
        self,
        name: str,
        connection: Connection,
        limits: Limits,
        variables: Variables,
        grid: Grid,
        tally: SourceTally,
        deliver: Callable[[Sequence[Change], int], None],
        refused: Callable[[Item, str], None],
    ) -> None:
        self._name = name
        self._connection = connection
        self._limits = limits
        self._variables = variables
        self._grid = grid
        self._tally = tally
        self._deliver = deliver
        self._refused = refused
        self._is_slow = False
        grid.missed = self._missed
        grid.stepped = self._stepped

    async def run(self) -> None:
        """Raises what a lost connection or session raises."""
        while True:
            await self._read_all(await self._grid.point())

    async def fill(self) -> None:
        """What was not read during an interruption is gone; the grid counts it with its next point."""

    async def _read_all(self, point_ns: int) -> None:
        items = list(self._variables.items.values())
        answered = 0

        async def read(part: Sequence[Item]) -> Sequence[Change | None]:
            """In time, or not at all: None where the answer came too late."""
            nonlocal answered
            changes: Sequence[Change | None] = [None] * len(part)
            if not self._grid.is_over(point_ns):
                found = await self._ask(part)
                if not self._grid.is_over(point_ns):
                    changes = found
                    self._deliver(found, point_ns)
                    answered += len(part)
            return changes

        try:
            results = await in_parts(self._limits, Service.READ, items, read)
            for item, result in zip(items, results, strict=True):
                if isinstance(result, Refused):
                    self._refused(item, result.why)
                    answered += 1
        finally:  # a point that was interrupted has no second chance
            self._count_late(len(items) - answered)

    async def _ask(self, part: Sequence[Item]) -> list[Change]:
        request = ua.ReadRequest()
        request.Parameters.MaxAge = 0  # not from a cache
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Neither
        request.Parameters.NodesToRead = [
            ua.ReadValueId(NodeId=item.node_id, AttributeId=ua.AttributeIds.Value) for item in part
        ]
        return read_result(await self._connection.body(request), [item.handle for item in part])

    def _missed(self, points: int) -> None:
        self._count_late(points * len(self._variables.items))

    def _count_late(self, readings: int) -> None:
        """Logs changes of state."""
        if readings:
            self._tally.count("missed", readings)
        if bool(readings) == self._is_slow:
            return
        self._is_slow = bool(readings)
        if readings:
            what = f"{readings} readings were not there within half an interval and are missed"
            logger.warning("%s: %s; a longer interval_seconds helps if that goes on", self._name, what)
        else:
            logger.info("%s: all variables are read in time again", self._name)

    def _stepped(self, step_ns: int) -> None:
        self._tally.clock_steps += 1
        logger.warning(
            "%s: this gateway's clock was set by %.3f s: what was read before may have times of other moments; see to NTP",
            self._name,
            step_ns / NS_PER_SECOND,
        )
