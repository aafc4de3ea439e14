"""Cuts one pod off from the input hub, and from nothing else: it keeps its leases, since it reaches Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sandbox.chaos.killing import Killer
from sandbox.chaos.pods import Pod, Pods

CATCH_UP_SECONDS = 120.0
OWNS_SECONDS = 60.0

How = Literal["silent", "refused"]
"""Whether packets vanish, or connections are reset and refused."""


@dataclass(frozen=True, slots=True)
class Cut:
    service: str
    how: How
    partitions: list[str]
    """Input partitions that the service owned when it was cut off."""
    seconds: float
    caught_up_seconds: float
    """How long after the cut until everything that had arrived there meanwhile was finished."""


@dataclass
class Cutter:
    pods: Pods
    killer: Killer
    input_ends: Callable[[], Mapping[str, int]]
    """The last sequence number of each input partition."""
    cuts: list[Cut] = field(default_factory=list)

    async def cut_off(self, how: How, seconds: float) -> None:
        """The pod is spared until it has caught up. Raises ProcessError when it does not."""
        pod, partitions = await self._reader()
        self.killer.spared = pod
        try:
            pod.input.cut() if how == "silent" else pod.input.refuse()
            await asyncio.sleep(seconds)
            pod.input.mend()
            mended = time.monotonic()
            await self.pods.until_finished(self.input_ends(), partitions, CATCH_UP_SECONDS)
        finally:
            self.killer.spared = None
        self.cuts.append(Cut(pod.name, how, partitions, seconds, round(time.monotonic() - mended, 1)))

    async def _reader(self) -> tuple[Pod, list[str]]:
        """A pod that owns an input partition in which there are events."""
        deadline = time.monotonic() + OWNS_SECONDS
        while time.monotonic() < deadline:
            filled = {partition for partition, end in self.input_ends().items() if end >= 0}
            for pod in self.pods.all:
                if partitions := sorted(filled.intersection(await self.pods.partitions_of(pod))):
                    return pod, partitions
            await asyncio.sleep(0.2)
        raise self.pods.trouble("no service owned a partition that could be cut off")
