"""Collects what two subscriptions to the same source delivered, to judge by it whether the ids of two gateways match.

If they differ on one gateway, they differ between two.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from edge_sender.identity.judging import Seen, Verdict, judge
from edge_sender.identity.rules import IdentityRules
from wire.ids import Identity, NoIdentityError, Sample, reading_id

MARGIN_SECONDS = 2.0
"""Readings so near the start or the end only serve as counterparts: the other subscription may have missed them."""
MOST_READINGS = 200_000
VALUE_BYTES = 8


class _Sides(NamedTuple):
    """What the two subscriptions delivered of one source."""

    one: list[Seen]
    two: list[Seen]


@dataclass(slots=True)
class Comparison:
    rules: IdentityRules
    _sources: dict[str, _Sides] = field(default_factory=lambda: defaultdict(lambda: _Sides([], [])))
    _missing: dict[str, str] = field(default_factory=dict)
    """Why readings of a source got no id."""
    _count: int = 0
    _full_at: float | None = None

    def observe(self, side: int, sample: Sample, at: float) -> None:
        """`side`: which subscription, 0 or 1. `at`: time of arrival in seconds, on any clock."""
        if self._count >= MOST_READINGS:
            self._full_at = at if self._full_at is None else self._full_at
            return
        self._count += 1
        self._sources[sample.source][side].append(Seen(at, sample.time_ns, hash_of(sample.value), self._id_of(sample)))

    def _id_of(self, sample: Sample) -> str | None:
        try:
            identity = self.rules.of(sample.source)
            return reading_id(sample.source, identity.name, identity.fields(sample))
        except NoIdentityError as error:
            self._missing.setdefault(sample.source, str(error))
            return None

    def verdicts(self, start: float, end: float) -> list[Verdict]:
        """One for each source, in their order, for the time in which both subscriptions were up, on the clock of `at`."""
        end = end if self._full_at is None else min(end, self._full_at)
        return [self._judge(uri, start + MARGIN_SECONDS, end - MARGIN_SECONDS) for uri in sorted(self._sources)]

    def _judge(self, uri: str, start: float, end: float) -> Verdict:
        one, two = self._sources[uri]
        return judge(uri, self._identity_of(uri), one, two, start, end, self._missing.get(uri))

    def _identity_of(self, uri: str) -> Identity | None:
        try:
            return self.rules.of(uri)
        except NoIdentityError:
            return None


def hash_of(value: object) -> bytes:
    """Of what copies must agree on; a short one, since many are kept."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=VALUE_BYTES).digest()
