"""An event's readings: found, claimed, and claimed again from the clean stream after Redis has forgotten."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.events import Extraction, InputEvent
from dedup_service.core.markers import Marker, ReadBack, RestoredEvent


class Extractor(Protocol):
    """Finds the readings of an event. Pure."""

    def extract(self, event: InputEvent, pointers: Sequence[str] = ()) -> Extraction:
        """`pointers`: JSON pointers to the parts of the data that copies must agree on; empty for all of it.

        Raises UndeliverableError when the event as a whole can't be read.
        """
        ...


class ClaimStore(Protocol):
    async def claim(self, requests: Sequence[ClaimRequest], live: Sequence[int]) -> list[bytes | None]:
        """For each reading of the requests, in order: None when the key was free and is now claimed, else the claim that
        holds it.

        Guarantee: however many callers and calls, at most one origin holds a key until its claim expires. A duplicate's
        replica bit is added to the claim it finds. A repetition, which is a duplicate whose replica's bit is there already,
        keeps a confirmed claim for at least its request's `confirmed_ttl_ms` from now on; no other copy that finds a claim
        moves its end, and none makes it earlier. An unconfirmed claim of a hub incarnation that is not in `live` counts as
        free, because its winner can't be read again; an empty `live` means that the incarnations are not known. Each copy is
        accounted for with its claim, exactly once (core/accounting.py).
        Failure: repeat the call, also after an ambiguous one; ForgottenError where Redis has forgotten claims: wait until
        they are rebuilt. Idempotent: a repeated call finds its own claims.
        """
        ...

    async def confirm(self, requests: Sequence[ClaimRequest], ttl_ms: int) -> int:
        """Marks claims as published and keeps them for `ttl_ms`. Returns how many their origin no longer held.

        Confirms only if the origin still owns the claim: a claim lost to another origin is not an error, and one that has
        disappeared is written again. Idempotent. Raises ForgottenError, too.
        """
        ...

    async def replica_number(self, group: str, replica: str) -> int:
        """The replica's bit in claims, allotted once and permanently for each group and name. Idempotent."""
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class Markers(Protocol):
    """Whether Redis has forgotten claims, and how they are rebuilt from the clean stream (R12; core/markers.py).

    Claims and leases refuse to work (ForgottenError) with a shard whose marker is missing, is of another generation than
    this pod has seen, names another server than the one that answers, or is not ready.
    """

    @property
    def are_ready(self) -> bool:
        """False when a call was refused since the markers were last looked at."""
        ...

    async def look(self) -> list[Marker]:
        """The markers of all shards. Where one is missing or names another server, a new generation begins. Raises
        ForgottenError while pods with another number of shards are at work, whose claims these are not."""
        ...

    async def distrust(self) -> None:
        """Begins a new generation of all shards: what stands beside the leases shows that Redis has forgotten."""
        ...

    async def fence(self, marker: Marker) -> int:
        """Refuses to renew all leases of before this generation of the shard. Returns for how long that is so, in ms by
        Redis' clock. Idempotent."""
        ...

    async def may_read(self, pod_id: str, partition_id: str, seconds: float) -> bool:
        """True for one pod at a time, for so long from now. It only spares work: what is restored twice is the same."""
        ...

    async def restore(self, events: Sequence[RestoredEvent], markers: Collection[Marker]) -> int:
        """Claims what the clean stream says was published, in these markers' shards. Returns how many claims were written,
        which leaves out those that have ended. What else is claimed of these keys is replaced.

        Idempotent, whatever happened since. Raises ForgottenError when a shard has a later generation.
        """
        ...

    async def note(self, marker: Marker, partition_id: str, read_back: ReadBack, partitions: Collection[str]) -> None:
        """Notes how far a clean partition was read back, after all of it was restored. The shard is ready once that is noted
        for all `partitions`. Idempotent, and never goes back. Raises ForgottenError, as `restore`."""
        ...
