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
    readings: list[Reading]
    keys: list[bytes]
    """One for each reading."""
    late: frozenset[int]
    """Indexes of readings that came later than their window."""
    is_timed: bool = False
    """Whether the distance to other replicas' readings is to be measured, by source time."""

    def claims_of(self, readings: Sequence[Reading]) -> list[bytes]:
        """Packed. `readings`: some of its own."""
        return new_claims(self.event, readings, self.replica, self.enqueued_ms)

    def only(self, places: Sequence[int]) -> ClaimRequest:
        """The same of some of the readings, by their places in the request."""
        readings, keys = self.readings, self.keys
        if len(places) == len(keys):
            return self
        return ClaimRequest(
            self.group,
            self.replica,
            self.event,
            self.enqueued_ms,
            self.ttl_ms,
            [readings[place] for place in places],
            [keys[place] for place in places],
            self.late,
            self.is_timed,
        )

    def pieces(self, most: int) -> Iterator[ClaimRequest]:
        """With no more than `most` readings each."""
        count = len(self.keys)
        for start in range(0, count, most):
            yield self.only(range(start, min(start + most, count)))


def in_calls(requests: Iterable[ClaimRequest], most: int) -> Iterator[list[ClaimRequest]]:
    """All of them in order, with no more than `most` readings in a call. An event is cut only where it alone has more."""
    call: list[ClaimRequest] = []
    size = 0
    for request in requests:
        for piece in request.pieces(most) if len(request.keys) > most else (request,):
            count = len(piece.keys)
            if size + count > most:
                yield call
                call, size = [], 0
            call.append(piece)
            size += count
    if call:
        yield call
