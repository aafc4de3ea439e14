"""How the keys of shards are named: those of one script call must share a slot of a Redis Cluster, and the shards must
spread over its nodes.

A cluster of N nodes splits the slots into N ranges of one size. Shards whose slots have the same distance from each other
are therefore spread as evenly as can be, over any number of nodes; tags that are counted through are not.
"""

from __future__ import annotations

from functools import cache
from itertools import count

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from dedup_service.core.claims import HOME, claim_shards

HOME_TAG = b"0"
TOLERANCE = 0.02
"""How far a shard's slot may be from its place, as a share of the distance to the next one: less than what can carry it into
the range of another node, up to 25 nodes."""


def shard_prefix(namespace: bytes, shard: int, shards: int) -> bytes:
    return b"%s{%s}" % (namespace, _tags(shards)[shard])


@cache
def _tags(shards: int) -> dict[int, bytes]:
    """By shard. Each is the first number whose slot is near the shard's place, and not that of the home."""
    tags, distance = {HOME: HOME_TAG}, REDIS_CLUSTER_HASH_SLOTS / shards
    missing = set(claim_shards(shards)) - set(tags)
    for number in count(1):
        if not missing:
            return tags
        tag = b"%d" % number
        slot = key_slot(tag)
        shard = 1 + int(slot / distance)
        is_near = abs(slot - (shard - 0.5) * distance) <= TOLERANCE * distance
        if shard in missing and is_near and slot != key_slot(HOME_TAG):
            tags[shard] = tag
            missing.remove(shard)
    raise AssertionError("unreachable")
