"""Claims: layout, keys, verdicts and their lifetime (R10, R11)."""

from __future__ import annotations

import pytest

from dedup_service.core.claims import (
    CLAIM_BYTES,
    CONFIRMED,
    Claim,
    Verdict,
    claim_shards,
    event_bytes,
    incarnation_of,
    judge,
    key_digest,
    pack,
    shard_of,
    unpack,
)
from dedup_service.core.events import Origin, Reading
from dedup_service.core.extract import content_hash

ORIGIN = Origin(incarnation=7, partition=3, sequence_number=2**40, index=500)


def claim(origin: Origin = ORIGIN, content: bytes = b"x") -> bytes:
    return pack(Claim(False, 1 << 4, origin, 1_700_000_000_123, content_hash(content)))


def verdict(held: bytes | None, *, in_doubt: bool) -> Verdict:
    """The verdict on the copy at ORIGIN, whose key is held by this claim."""
    reading = Reading(ORIGIN.index, "urn:a", "1", [], content_hash(b"x"))
    return judge(event_bytes(ORIGIN), reading, held, in_doubt=in_doubt)


def confirmed(data: bytes) -> bytes:
    return bytes([CONFIRMED]) + data[1:]


def test_a_claim_packs_into_its_fixed_layout() -> None:
    packed = claim()
    assert len(packed) == CLAIM_BYTES
    assert unpack(packed) == Claim(False, 1 << 4, ORIGIN, 1_700_000_000_123, content_hash(b"x"))
    assert pack(unpack(packed)) == packed


def test_foreign_bytes_are_not_a_claim() -> None:
    with pytest.raises(ValueError, match="35 bytes"):
        unpack(b"1")


@pytest.mark.parametrize("in_doubt", [False, True])
def test_a_copy_that_finds_no_claim_wins(in_doubt: bool) -> None:
    assert verdict(None, in_doubt=in_doubt) is Verdict.WINNER


def test_a_copy_that_finds_its_own_confirmed_claim_is_a_replay() -> None:
    assert verdict(confirmed(claim()), in_doubt=True) is Verdict.REPLAY


def test_a_copy_that_finds_its_own_unconfirmed_claim_is_in_doubt_unless_only_this_process_can_have_made_it() -> None:
    assert verdict(claim(), in_doubt=True) is Verdict.IN_DOUBT
    assert verdict(claim(), in_doubt=False) is Verdict.WINNER


@pytest.mark.parametrize(
    "other",
    [
        Origin(8, 3, 2**40, 500),
        Origin(7, 2, 2**40, 500),
        Origin(7, 3, 2**40 + 1, 500),
        Origin(7, 3, 2**40, 501),
    ],
)
def test_every_part_of_the_origin_tells_copies_apart(other: Origin) -> None:
    assert verdict(claim(other), in_doubt=True) is Verdict.DUPLICATE
    assert verdict(confirmed(claim(other)), in_doubt=True) is Verdict.DUPLICATE


def test_a_duplicate_with_other_content_is_a_conflict() -> None:
    assert verdict(claim(Origin(7, 3, 1, 0), b"y"), in_doubt=False) is Verdict.CONFLICT


def test_replicas_that_were_added_do_not_make_another_origin() -> None:
    packed = bytearray(claim())
    packed[1:5] = b"\xff\xff\xff\xff"
    assert verdict(bytes(packed), in_doubt=False) is Verdict.WINNER


def test_keys_are_scoped_by_group_and_no_crafted_id_collides_with_another() -> None:
    keys = {key_digest("g", "s", "i"), key_digest("gs", "", "i"), key_digest("g", "si", ""), key_digest("", "gs", "i")}
    assert len(keys) == 4


def test_a_source_stays_on_one_shard() -> None:
    shards = [shard_of(f"urn:{n}", 16) for n in range(200)]
    assert shards == [shard_of(f"urn:{n}", 16) for n in range(200)]
    assert set(shards) == set(claim_shards(16))
    assert shard_of("urn:a", 1) == 0


def test_a_recreated_hub_has_another_incarnation() -> None:
    assert incarnation_of("NS.example", "Hub", 1) == incarnation_of("ns.example", "hub", 1)
    assert incarnation_of("ns", "hub", 1) != incarnation_of("ns", "hub", 2)
