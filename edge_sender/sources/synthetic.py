"""Synthetic sources for trials and measurements: every replica makes the same readings, from the time alone."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from edge_sender.ports import Intake
from wire.ids import NS_PER_SECOND, Sample

MAX_TICK_SECONDS = 0.05
MAX_GAP_SECONDS = 60
"""A clock that goes further at once was set: there are no readings to catch up with, and none to wait for."""


class SyntheticSource:
    """`count` sources, each named `uri_prefix` + number, with a reading at every multiple of the interval.

    A reading's `sequence` is the number of intervals since 1970, so that replicas agree without communicating.
    """

    is_up = True

    def __init__(
        self,
        name: str,
        uri_prefix: str,
        count: int,
        interval_seconds: float,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.name = name
        self._uris = [f"{uri_prefix}{number}" for number in range(count)]
        self._interval_ns = round(interval_seconds * NS_PER_SECOND)
        self._now_ns = now_ns

    async def run(self, intake: Intake) -> None:
        number = self._now_ns() // self._interval_ns + 1
        most = max(1, MAX_GAP_SECONDS * NS_PER_SECOND // self._interval_ns)
        while True:
            due = self._now_ns() // self._interval_ns
            if abs(due - number) > most:
                number = due
            for sequence in range(number, due + 1):
                self._emit(intake, sequence)
            number = max(number, due + 1)
            await asyncio.sleep(min(self._interval_ns / NS_PER_SECOND / 2, MAX_TICK_SECONDS))

    def _emit(self, intake: Intake, sequence: int) -> None:
        time_ns = sequence * self._interval_ns
        for index, uri in enumerate(self._uris):
            value = round(50 + 25 * math.sin(time_ns / NS_PER_SECOND / 60 + index), 3)
            intake.take(Sample(uri, time_ns, {"sequence": sequence, "value": value}))
