"""Properties: keys and ids never collide by construction, the claim store agrees with its model, progress skips replays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from dedup_service.adapters.redis.claims import RedisClaims
from dedup_service.core.claim_requests import ClaimRequest, in_calls
from dedup_service.core.claims import Claim, key_digest, key_digests, new_claims, pack, unpack
from dedup_service.core.events import Origin, Reading
from dedup_service.core.extract import content_hash
from dedup_service.core.json_array import split_elements
from dedup_service.core.outgoing import ranges
from dedup_service.core.progress import Progress
from tests.doubles.memory import MemoryClaims, MemoryClock
from tests.support.readings import event
from wire.ids import reading_id

text = st.text(max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.tuples(text, text, text), st.tuples(text, text, text))
def test_two_keys_are_equal_only_if_all_parts_are(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (key_digest(*one) == key_digest(*other)) == (one == other)


@given(text, text, st.lists(st.binary(max_size=8), max_size=4), text, text, st.lists(st.binary(max_size=8), max_size=4))
def test_two_ids_are_equal_only_if_all_parts_are(
    source: str, strategy: str, fields: list[bytes], source2: str, strategy2: str, fields2: list[bytes]
) -> None:
    one, other = (source, strategy, tuple(fields)), (source2, strategy2, tuple(fields2))
    assert (reading_id(*one) == reading_id(*other)) == (one == other)


origins = st.builds(
    Origin,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**16 - 1),
)


@given(origins, st.integers(0, 31), st.integers(0, 2**48 - 1), st.binary(max_size=50))
def test_claims_survive_packing(origin: Origin, replica: int, enqueued_ms: int, content: bytes) -> None:
    claim = Claim(False, 1 << replica, origin, enqueued_ms, content_hash(content))
    assert unpack(pack(claim)) == claim


readings = st.lists(
    st.builds(
        Reading,
        st.integers(0, 2**16 - 1),
        text | st.text(min_size=250, max_size=300),
        text,
        st.just([]),
        st.binary(min_size=8, max_size=8),
    ),
    max_size=5,
)


@given(text, readings)
def test_keys_and_claims_of_an_event_are_those_of_its_readings(group: str, drawn: list[Reading]) -> None:
    assert key_digests(group, drawn) == [key_digest(group, reading.source, reading.id) for reading in drawn]
    claims = new_claims(Origin(1, 2, 3, 0), drawn, 4, 5)
    assert [unpack(claim) for claim in claims] == [
        Claim(False, 1 << 4, Origin(1, 2, 3, reading.index), 5, reading.content_hash) for reading in drawn
    ]


@given(st.lists(st.integers(1, 25), max_size=12), st.integers(1, 20))
def test_calls_hold_every_reading_once_in_order_and_none_has_too_many(sizes: list[int], most: int) -> None:
    requests = [
        ClaimRequest(
            "g",
            0,
            Origin(1, 0, number, 0),
            1,
            1,
            1,
            [Reading(index, "s", "i", [], b"") for index in range(size)],
            [bytes([number, index]) for index in range(size)],
            frozenset(),
        )
        for number, size in enumerate(sizes)
    ]
    calls = list(in_calls(requests, most))
    keys = [key for call in calls for request in call for key in request.keys]
    assert keys == [key for request in requests for key in request.keys]
    assert all(0 < sum(len(request.keys) for request in call) <= most for call in calls)
    assert all(
        (request.event.sequence_number, reading.index) == tuple(key)
        for call in calls
        for request in call
        for reading, key in zip(request.readings, request.keys, strict=True)
    )


@given(st.sets(st.integers(0, 300)))
def test_ranges_name_each_index_once(indexes: set[int]) -> None:
    spans = [part.split("-") for part in ranges(sorted(indexes)).split(",") if part]
    named = [n for span in spans for n in range(int(span[0]), int(span[-1]) + 1)]
    assert named == sorted(indexes)


@given(st.lists(json_values, max_size=6), st.sampled_from(["", " ", "\n\t"]))
def test_a_valid_array_is_split_into_its_elements(values: list[Any], space: str) -> None:
    text = "[" + f"{space},{space}".join(json.dumps(value) for value in values) + "]"
    assert [json.loads(element) for element in split_elements(text.encode())] == values


@given(st.binary(max_size=100))
def test_splitting_garbage_never_fails(garbage: bytes) -> None:
    split_elements(garbage)
    split_elements(b"[" + garbage)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=8), st.data())
def test_every_event_is_fresh_exactly_once_however_often_it_is_delivered(sizes: list[int], data: st.DataObject) -> None:
    log = [event(sequence_number=n, offset=str(n), enqueued_ms=1000 + n // 2) for n in range(sum(sizes))]
    progress, seen, at = Progress(), [], 0
    for size in sizes:
        back = data.draw(st.integers(0, at))
        delivered = log[at - back : at + size]
        fresh = progress.fresh(delivered)
        seen += fresh
        if fresh:
            progress.finish(fresh[-1])
        at += size
    assert seen == log


# --- the scripts against the model


operations = st.lists(
    st.tuples(
        st.sampled_from(["claim", "confirm"]),
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 31), st.integers(1, 2)), min_size=1, max_size=6
        ),
        st.sampled_from([(1,), (2,), (1, 2)]),
    ),
    max_size=12,
)


def requests_of(items: list[tuple[int, int, int, int]]) -> list[ClaimRequest]:
    return [
        ClaimRequest(
            "g",
            replica,
            Origin(incarnation, 0, origin, 0),
            1,
            60_000,
            60_000,
            [Reading(0, f"urn:{key % 2}", "i", [], content_hash(bytes([origin])))],
            [bytes([key]) * 16],
            frozenset(),
        )
        for key, origin, replica, incarnation in items
    ]


@settings(max_examples=60, deadline=None)
@given(operations)
def test_the_scripts_do_what_the_model_does(
    redis_url: str, fresh_namespace: Callable[[], str], steps: list[tuple[str, list[Any], tuple[int, ...]]]
) -> None:
    async def both() -> None:
        model = MemoryClaims(MemoryClock())
        real = RedisClaims(Redis.from_url(redis_url), namespace=fresh_namespace(), shards=2)
        for operation, items, live in steps:
            requests = requests_of(items)
            if operation == "claim":
                assert await real.claim(requests, live) == await model.claim(requests, live)
            else:
                assert await real.confirm(requests, 60_000) == await model.confirm(requests, 60_000)
        await real.close()

    asyncio.run(both())
