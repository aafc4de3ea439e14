"""Requests to the claim store, one for all readings of an event, since all but a few bytes of their claims are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from dedup_service.core.claims import new_claims
from dedup_service.core.events import Origin, Reading


class ClaimRequest(msgspec.Struct, frozen=True, gc=False):
    """The readings of one event, in order."""

    group: str
    replica: int
    """The replica's number in the group."""
    event: Origin
    """The event's origin; a reading's own has its index instead."""
    enqueued_ms: int
    ttl_ms: int
    """How long the claims are kept while they are unconfirmed."""
    confirmed_ttl_ms: int
    """How long a confirmed claim is kept from now on when one of the readings turns out to be a repetition."""
    readings: list[Reading]
    keys: list[bytes]
    """One for each reading."""
    late: frozenset[int]
    """Indexes of readings that came later than their window."""
    is_timed: bool = False
    """Whether to measure the distance in source time to other replicas' readings."""

    def claims_of(self, readings: Sequence[Reading]) -> list[bytes]:
        """The packed claims of some of its readings."""
        return new_claims(self.event, readings, self.replica, self.enqueued_ms)

    def only(self, places: Sequence[int]) -> ClaimRequest:
        """The same request for some of its readings, given by their places in it."""
        readings, keys = self.readings, self.keys
        if len(places) == len(keys):
            return self
        return ClaimRequest(
            self.group,
            self.replica,
            self.event,
            self.enqueued_ms,
            self.ttl_ms,
            self.confirmed_ttl_ms,
            [readings[place] for place in places],
            [keys[place] for place in places],
            self.late,
            self.is_timed,
        )

    def pieces(self, most: int) -> Iterator[ClaimRequest]:
        """Splits the request into parts of at most `most` readings."""
        count = len(self.keys)
        for start in range(0, count, most):
            yield self.only(range(start, min(start + most, count)))


def in_calls(requests: Iterable[ClaimRequest], most: int) -> Iterator[list[ClaimRequest]]:
    """All requests in order, with at most `most` readings in a call. An event is split only when it alone has more."""
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
