"""Claims: their binary layout, their keys, and the verdict on a copy by the claim that it found.

    offset  0       1-4        5-8           9-10        11-18             19-20   21-26         27-34
            state   replicas   incarnation   partition   sequence number   index   enqueued ms   content hash
                               └────────────────── origin ──────────────────┘

Big-endian, 35 bytes. The state of an unconfirmed claim has the term in which it was made in its upper six bits; a new one
begins when a server that held claims has forgotten some. claim.lua and confirm.lua work on the same offsets
(adapters/redis/lua_constants.py).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b

from dedup_service.core.events import Origin, Reading
from dedup_service.core.extract import CONTENT_HASH_BYTES
from dedup_service.core.memo import MemoDict

UNCONFIRMED, CONFIRMED, RESTORED = 0, 1, 2
"""States. A restored claim is confirmed, too; it comes from the clean stream, which does not say who else delivered."""
TERM_UNIT, TERMS = 4, 64
"""What a term adds to the state, and how many there are before the first comes again. An unconfirmed claim of an earlier
term counts as forgotten. If its reading was published, the claim is restored from the clean stream. If it was not, nobody
may rely on whoever claimed it: on a server that stood in meanwhile, that copy may have been a duplicate, and be finished."""
NO_CONTENT = bytes(CONTENT_HASH_BYTES)
"""In place of the content hash of a restored claim where the clean event does not show what it was."""
KEY_BYTES = 16
MAX_REPLICAS = 32
OTHER_REPLICA = MAX_REPLICAS - 1
"""Shared by all replicas of a group beyond the 31 that have a number of their own."""
OTHER_NAME = "other"
CLAIM_BYTES = 35

LAYOUT = struct.Struct(f">BIIHQHHI{CONTENT_HASH_BYTES}s")
_EVENT = struct.Struct(">IHQ")
REPLICAS_AT, ORIGIN_AT, ENQUEUED_AT, CONTENT_AT = slice(1, 5), slice(5, 21), slice(21, 27), slice(27, CLAIM_BYTES)
EVENT_AT, INDEX_AT = slice(5, 19), slice(19, 21)
_length = struct.Struct(">I").pack


class Verdict(enum.Enum):
    """What a copy is."""

    __hash__ = object.__hash__  # Enum's own hash runs in Python, and verdicts are counted by the million

    WINNER = "winner"
    """Nobody had the key, or an earlier call of this process had claimed it for this copy: publish."""
    IN_DOUBT = "in-doubt"
    """The copy found its own unconfirmed claim: a predecessor may have published it."""
    FOUND = "found"
    """The copy was in doubt, and the clean stream has it: confirm and skip it."""
    REPLAY = "replay"
    """The copy found its own confirmed claim: it has been published."""
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    """A duplicate whose content differs from the winner's."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A decoded claim."""

    confirmed: bool
    replicas: int
    """Bit n: replica number n has delivered this reading."""
    origin: Origin
    enqueued_ms: int
    content: bytes
    restored: bool = False
    """From the clean stream: confirmed, and without the bits of who else delivered before."""
    term: int = 0
    """In which it was made, while it is unconfirmed."""


def key_digest(group: str, source: str, reading_id: str) -> bytes:
    """16 bytes. Each part is length-prefixed, so that no crafted source or id can produce another group's key."""
    parts = _prefixed(group.encode()) + _prefixed(source.encode()) + _prefixed(reading_id.encode())
    return blake2b(parts, digest_size=KEY_BYTES).digest()


def _prefixed(part: bytes) -> bytes:
    return _length(len(part)) + part


def key_digests(group: str, readings: Sequence[Reading]) -> list[bytes]:
    """Like `key_digest` for each reading; what depends on the source alone is computed once."""
    prefixes = _prefixes_of(group)
    return [
        blake2b(prefixes[source] + _length(len(name)) + name, digest_size=KEY_BYTES).digest()
        for source, name in [(reading.source, reading.id.encode()) for reading in readings]
    ]


@cache
def _prefixes_of(group: str) -> MemoDict[bytes]:
    """By source: the bytes with which its keys' digests begin."""
    own = _prefixed(group.encode())
    return MemoDict(lambda source: own + _prefixed(source.encode()))


MAX_SHARDS = 64
HOME = 0
"""The shard of the leases, and of all else that belongs to no claim."""


def claim_shards(shards: int) -> range:
    """Those that hold claims. A single one is the home, too; of several none is, so that whatever slows the claims down does
    not keep leases from being renewed."""
    return range(HOME, HOME + 1) if shards == 1 else range(HOME + 1, HOME + 1 + shards)


def all_shards(shards: int) -> range:
    return range(HOME, claim_shards(shards).stop)


def shard_of(source: str, shards: int) -> int:
    """All readings of a source are in one shard, because a script's keys must share a slot of a Redis Cluster."""
    return shards_of(shards)[source]


@cache
def shards_of(shards: int) -> MemoDict[int]:
    """By source."""
    own = claim_shards(shards)
    return MemoDict(lambda source: own[int.from_bytes(blake2b(source.encode(), digest_size=4).digest(), "big") % shards])


def incarnation_of(namespace: str, hub: str, created_ms: int) -> int:
    """32 bits that change when the hub is recreated or IoT Hub fails over to another one."""
    text = f"{namespace.lower()}/{hub.lower()}/{created_ms}"
    return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "big")


def pack(claim: Claim) -> bytes:
    origin = claim.origin
    return LAYOUT.pack(
        RESTORED if claim.restored else CONFIRMED if claim.confirmed else UNCONFIRMED + claim.term * TERM_UNIT,
        claim.replicas,
        origin.incarnation,
        origin.partition,
        origin.sequence_number,
        origin.index,
        claim.enqueued_ms >> 32,
        claim.enqueued_ms & 0xFFFFFFFF,
        claim.content,
    )


def unpack(data: bytes) -> Claim:
    """Raises ValueError when the bytes are not a claim, which means that something else writes to this namespace."""
    if len(data) != CLAIM_BYTES:
        raise ValueError(f"a claim has {CLAIM_BYTES} bytes, found {len(data)}")
    first, replicas, *origin, enqueued_high, enqueued_low, content = LAYOUT.unpack(data)
    term, state = divmod(first, TERM_UNIT)
    return Claim(
        confirmed=state != UNCONFIRMED,
        replicas=replicas,
        origin=Origin(*origin),
        enqueued_ms=enqueued_high << 32 | enqueued_low,
        content=content,
        restored=state == RESTORED,
        term=term,
    )


def new_claims(event: Origin, readings: Sequence[Reading], replica: int, enqueued_ms: int) -> list[bytes]:
    """The packed claims of one event's readings, each with its own index in the origin."""
    bit, high, low = 1 << replica, enqueued_ms >> 32, enqueued_ms & 0xFFFFFFFF
    incarnation, partition, number = event.incarnation, event.partition, event.sequence_number
    return [
        LAYOUT.pack(UNCONFIRMED, bit, incarnation, partition, number, r.index, high, low, r.content_hash) for r in readings
    ]


def restored_claims(
    event: Origin, indexes: Sequence[int], contents: Sequence[bytes], replica: int, enqueued_ms: int
) -> list[bytes]:
    """The packed claims of readings that are known to be published, with their indexes in the event."""
    bit, high, low = 1 << replica, enqueued_ms >> 32, enqueued_ms & 0xFFFFFFFF
    incarnation, partition, number = event.incarnation, event.partition, event.sequence_number
    return [
        LAYOUT.pack(RESTORED, bit, incarnation, partition, number, index, high, low, content)
        for index, content in zip(indexes, contents, strict=True)
    ]


def event_bytes(event: Origin) -> bytes:
    """The part of the origin that the claims of an event's readings have in common."""
    return _EVENT.pack(event.incarnation, event.partition, event.sequence_number)


def judge(event: bytes, reading: Reading, found: bytes | None, *, in_doubt: bool) -> Verdict:
    """The verdict on a reading of this event (see `event_bytes`) that found this claim; None means that the key was free.

    `in_doubt` says whether a predecessor, or an earlier ambiguous send, may have published this copy; without it an own
    unconfirmed claim stems from a repeated call of this process.
    """
    if found is None:
        return Verdict.WINNER
    if found[EVENT_AT] == event and found[INDEX_AT] == reading.index.to_bytes(2, "big"):
        if found[0] % TERM_UNIT != UNCONFIRMED:
            return Verdict.REPLAY
        return Verdict.IN_DOUBT if in_doubt else Verdict.WINNER
    content = found[CONTENT_AT]
    return Verdict.DUPLICATE if content in (reading.content_hash, NO_CONTENT) else Verdict.CONFLICT
