"""Where the keys of shards are in a Redis Cluster."""

from __future__ import annotations

import pytest
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from dedup_service.adapters.redis.shards import shard_prefix
from dedup_service.core.claims import HOME, MAX_SHARDS, all_shards, claim_shards

NUMBERS = [2, 3, 4, 8, 12, 16, 32, MAX_SHARDS]


def slots(shards: int) -> dict[int, int]:
    return {shard: key_slot(shard_prefix(b"ns", shard, shards) + b"key") for shard in all_shards(shards)}


def node_of(slot: int, nodes: int) -> int:
    """As `redis-cli --cluster create` splits the slots: each range begins at a rounded multiple."""
    starts = [round(node * REDIS_CLUSTER_HASH_SLOTS / nodes) for node in range(nodes)]
    return sum(start <= slot for start in starts) - 1


@pytest.mark.parametrize("shards", NUMBERS)
def test_any_number_of_nodes_has_the_same_share_of_the_claims_as_nearly_as_can_be(shards: int) -> None:
    for nodes in range(1, min(shards, 24) + 1):
        held = [0] * nodes
        for shard in claim_shards(shards):
            held[node_of(slots(shards)[shard], nodes)] += 1
        assert max(held) - min(held) <= 1, nodes


@pytest.mark.parametrize("shards", NUMBERS)
def test_the_leases_share_no_slot_with_claims_of_several_shards(shards: int) -> None:
    assert len(set(slots(shards).values())) == shards + 1


def test_a_single_shard_holds_claims_and_leases() -> None:
    assert list(claim_shards(1)) == list(all_shards(1)) == [HOME]
    assert shard_prefix(b"ns", HOME, 1) == shard_prefix(b"ns", HOME, 16) == b"ns{0}"
