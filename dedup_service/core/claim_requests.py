"""What is asked of the claim store: an event's readings together, since all but a few bytes of their claims are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from dedup_service.core.claims import new_claims
from dedup_service.core.events import Origin, Reading


class ClaimRequest(msgspec.Struct, frozen=True, gc=False):
    """Readings of one event, in order."""

    group: str
    replica: int
    """Its number in the group."""
    event: Origin
    """Of the event; a reading's own origin has its index."""
    enqueued_ms: int
    ttl_ms: int
    """Of the claims while they are unconfirmed."""
    readings: Sequence[Reading]
    keys: Sequence[bytes]
    """One for each reading."""
    late: frozenset[int]
    """Indexes of readings that came later than their window."""
    is_timed: bool = False
    """Whether the distance to other replicas' readings is to be measured, by source time."""

    def claims(self) -> list[bytes]:
        """Packed, one for each reading."""
        return new_claims(self.event, self.readings, self.replica, self.enqueued_ms)

    def only(self, places: Sequence[int]) -> ClaimRequest:
        """The same of some of the readings, by their places in the request."""
        if len(places) == len(self.keys):
            return self
        readings, keys = self.readings, self.keys
        return msgspec.structs.replace(
            self, readings=[readings[place] for place in places], keys=[keys[place] for place in places]
        )


def in_calls(requests: Iterable[ClaimRequest], most: int) -> Iterator[list[ClaimRequest]]:
    """All of them in order, with `most` readings in each call. An event is cut only where it alone has more."""
    call: list[ClaimRequest] = []
    size = 0
    for request in requests:
        count = len(request.keys)
        for start in range(0, count, most):
            places = range(start, min(start + most, count))
            if size + len(places) > most:
                yield call
                call, size = [], 0
            call.append(request.only(places))
            size += len(places)
    if call:
        yield call
