"""Balancing: every partition gets exactly one owner, shares are even, dead owners are noticed by one's own clock."""

from __future__ import annotations

import pytest

from dedup_service.core.balancing import Ownership, OwnershipWatch, wanted_partitions

PARTITIONS = [str(n) for n in range(8)]


def owned(*owners: str) -> dict[str, Ownership]:
    return {str(n): Ownership(str(n), owner, "e") for n, owner in enumerate(owners) if owner}


def settle(pods: list[str], start: dict[str, Ownership]) -> dict[str, Ownership]:
    """Let the pods take what they want in turn until nothing changes."""
    alive = dict(start)
    for _ in range(100):
        before = dict(alive)
        for pod in pods:
            for partition in wanted_partitions(PARTITIONS, alive, pod):
                alive[partition] = Ownership(partition, pod, "e")
        if alive == before:
            return alive
    raise AssertionError("balancing does not settle")


@pytest.mark.parametrize("pods", [["a"], ["a", "b"], ["a", "b", "c"], list("abcdefgh"), list("abcdefghij")])
@pytest.mark.parametrize("start", [{}, owned(*"aaaaaaaa"), owned(*"abababab")])
def test_shares_become_even_and_stay(pods: list[str], start: dict[str, Ownership]) -> None:
    start = {p: o for p, o in start.items() if o.owner_id in pods}
    final = settle(pods, start)
    counts = [sum(o.owner_id == pod for o in final.values()) for pod in pods]
    assert set(final) == set(PARTITIONS)
    assert max(counts) - min(counts) <= 1


def test_nothing_is_taken_from_a_pod_with_one_more() -> None:
    alive = owned(*"aaabbbcc")
    assert wanted_partitions(PARTITIONS, alive, "c") == {"6", "7"}


def test_free_partitions_come_before_taken_ones() -> None:
    alive = owned("a", "a", "a", "a", "a", "a", "", "")
    assert wanted_partitions(PARTITIONS, alive, "b") == {"6", "7"}


def test_an_owner_is_dead_when_its_record_has_not_changed_for_the_expiry() -> None:
    watch = OwnershipWatch(expiry_seconds=5)
    record = [Ownership("0", "a", "e1")]
    assert set(watch.alive(record, now=100)) == {"0"}
    assert set(watch.alive(record, now=104.9)) == {"0"}
    assert watch.alive(record, now=105) == {}
    assert set(watch.alive([Ownership("0", "a", "e2")], now=106)) == {"0"}


def test_a_released_partition_is_free_at_once() -> None:
    assert OwnershipWatch(5).alive([Ownership("0", "", "e")], now=0) == {}


def test_the_newest_etag_is_known_for_dead_and_live_owners() -> None:
    watch = OwnershipWatch(5)
    watch.alive([Ownership("0", "", "e1"), Ownership("1", "a", "e2")], now=0)
    assert watch.etags() == {"0": "e1", "1": "e2"}
