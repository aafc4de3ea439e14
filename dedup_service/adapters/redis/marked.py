"""Calls of scripts that work on claims or leases, which Redis refuses where it has forgotten claims (R12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dedup_service.adapters.redis.calls import Script
from dedup_service.adapters.redis.shards import shard_prefix
from dedup_service.core.claims import all_shards
from dedup_service.core.leases import Tenure
from dedup_service.errors import ForgottenError

REFUSED = -1
UNKNOWN = 0
"""In place of a generation; there is none of this number."""


def marker_key(namespace: bytes, shard: int, shards: int) -> bytes:
    return shard_prefix(namespace, shard, shards) + b"marker"


@dataclass(slots=True)
class Generation:
    """One shard's generation, as this pod knows it."""

    number: int
    fence: int
    """The number of the last fence, which leases must not be older than."""
    is_ready: bool
    """Whether claims may be made."""
    calls: int = 0
    """The highest number of calls that Redis has told; fewer later show a server that went back."""


class Generations:
    """What this pod knows of the markers of all shards. A shard whose generation is not known can't be worked with."""

    def __init__(self, namespace: str, shards: int) -> None:
        self.shards = shards
        self.another_is_at_work = False
        """Whether pods with another number of shards hold leases."""
        self._namespace = namespace.encode()
        self._known: list[Generation | None] = [None for _ in all_shards(shards)]
        self._before = self._known.copy()
        """The same, also while it is not known whether that still holds."""

    def key(self, shard: int) -> bytes:
        return marker_key(self._namespace, shard, self.shards)

    def known(self, shard: int) -> Generation | None:
        return self._known[shard]

    @property
    def are_ready(self) -> bool:
        return all(known is not None and known.is_ready for known in self._known)

    def least(self, shard: int) -> int:
        """The lowest generation that may go on: one below what was seen is that of a server that went back."""
        before = self._before[shard]
        return UNKNOWN if before is None else before.number

    def saw(self, shard: int, number: int, fence: int, *, is_ready: bool) -> None:
        before, seen = self._before[shard], Generation(number, fence, is_ready)
        if before is not None and before.number == number:
            seen.calls = before.calls
        if seen != self._known[shard]:
            self._known[shard] = self._before[shard] = seen

    def forgot(self, shard: int, known: Generation | None) -> None:
        """Nothing is done with this shard until its marker was looked at again, unless that has happened since."""
        if self._known[shard] is known:
            self._known[shard] = None


class MarkedScript:
    """A script behind marker.lua."""

    def __init__(
        self, script: Script, generations: Generations | None, *, is_fenced: bool = False, rebuilds: bool = False
    ) -> None:
        """`is_fenced`: it follows marker_fence.lua, too. `rebuilds`: it does not follow marker_ready.lua."""
        self._script = script
        self._generations = generations
        self._is_fenced = is_fenced
        self._rebuilds = rebuilds

    def generation(self, shard: int) -> int | None:
        """The one that is known now; None without markers."""
        if self._generations is None:
            return None
        known = self._generations.known(shard)
        return UNKNOWN if known is None else known.number

    def tenure(self, shard: int) -> Tenure | None:
        """That of leases which are taken now; None without markers."""
        if self._generations is None:
            return None
        known = self._generations.known(shard)
        return (UNKNOWN, 0) if known is None else (known.number, known.fence)

    async def __call__(self, shard: int, keys: list[bytes], args: list[Any], generation: int | None = None) -> list[Any]:
        """The answer without the number of calls. Raises ForgottenError, also where the shard has another generation than
        the caller works for, or UnavailableError."""
        if self._generations is None:
            return list((await self._script(keys, [*args, ""]))[:-1])
        known = self._generations.known(shard)
        is_usable = known is not None and (known.is_ready or self._rebuilds) and generation in (None, known.number)
        if known is None or not is_usable:
            raise ForgottenError(f"shard {shard}")
        fence = [known.fence] if self._is_fenced else []
        marked = [*args, *fence, known.calls, known.number]
        answer = await self._script([*keys, self._generations.key(shard)], marked)
        if answer == REFUSED:
            self._generations.forgot(shard, known)
            raise ForgottenError(f"shard {shard}")
        known.calls = max(known.calls, answer[-1])
        return list(answer[:-1])
