"""Makes Redis forget: restarts it empty, or lets a replica take over that lacks the last acknowledged writes."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any, Literal

from sandbox.chaos.pauses import Pause, longest_seconds
from sandbox.peers.processes import ProcessError
from sandbox.peers.valkeys import ReplicatedValkey

LOST_KEYS = 50
"""A replica takes over when the primary has had this many keys more for AHEAD_SECONDS."""
AHEAD_SECONDS = 1.0
"""Long enough for what was claimed to be published and confirmed: the confirmation of a claim that is lost restores it."""
LOSE_SECONDS = 60.0
POLL_SECONDS = 0.05

Way = Literal["restart", "fail-over"]


@dataclass(frozen=True, slots=True)
class Forgetting:
    how: Way
    at: int
    """When the clients lost the server of before, in ns since 1970."""
    keys_lost: int
    values_lost: int
    """Keys that were kept with an earlier value, such as claims that are no longer confirmed."""

    def figures(self, pauses: Sequence[Pause]) -> dict[str, Any]:
        return {
            "how": self.how,
            "keys_lost": self.keys_lost,
            "values_lost": self.values_lost,
            "pause_seconds": longest_seconds(pauses, after=self.at),
        }


def schedule(kills: int, restarts: int, failovers: int) -> dict[int, list[Way]]:
    """What makes Redis forget after which number of kills: spread evenly, in turns, and nothing after the last kill."""
    restart: Way = "restart"
    failover: Way = "fail-over"
    both = zip_longest([restart] * restarts, [failover] * failovers)
    kinds = [how for how in chain.from_iterable(both) if how is not None]
    planned: defaultdict[int, list[Way]] = defaultdict(list)
    for number, how in enumerate(kinds, start=1):
        planned[number * kills // (len(kinds) + 1)].append(how)
    return dict(planned)


@dataclass
class Forgetter:
    valkey: ReplicatedValkey
    forgotten: list[Forgetting] = field(default_factory=list)
    _at: int = 0

    async def forget(self, how: Way) -> Forgetting:
        """Raises ProcessError when nothing was lost, since the run would then show nothing."""
        self._at = time.time_ns()
        loss = await (self.valkey.restart_empty() if how == "restart" else self.valkey.fail_over(self._until_ahead))
        if not loss.keys:
            raise ProcessError(f"Redis lost no key in a {how}: this run does not show what happens when it forgets")
        self.forgotten.append(Forgetting(how, self._at, len(loss.keys), len(loss.values)))
        return self.forgotten[-1]

    async def _until_ahead(self) -> None:
        deadline = time.monotonic() + LOSE_SECONDS
        while await self.valkey.primary.size() - await self.valkey.replica.size() < LOST_KEYS:
            if time.monotonic() > deadline:
                raise ProcessError(
                    f"the services did not write {LOST_KEYS} keys to Redis within {LOSE_SECONDS:.0f} s, so that a fail-over "
                    "would lose too little; use a higher --rate"
                )
            await asyncio.sleep(POLL_SECONDS)
        await asyncio.sleep(AHEAD_SECONDS)
        self._at = time.time_ns()
