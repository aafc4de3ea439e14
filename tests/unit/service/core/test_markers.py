"""How far the claims are complete, which copies can be judged by them, and what is read back next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dedup_service.core.claim_requests import ClaimRequest
from dedup_service.core.events import Origin, Reading
from dedup_service.core.markers import BEGINNING_MS, Marker, Memory, ReadBack, next_part
from dedup_service.core.times import rfc3339

SINCE_MS, WINDOW_MS, HORIZON_MS, ERROR_MS = 1_700_000_000_000, 14_400_000, 120_000, 60_000
MARKER = Marker(0, 1, SINCE_MS, SINCE_MS, is_ready=False, read_back={})


def request(time: str | int | None, enqueued_ms: int = SINCE_MS + 5_000) -> list[ClaimRequest]:
    reading = Reading(0, "s", "id", [b""], b"", time)
    return [ClaimRequest("g", 0, Origin(1, 0, 1, 0), enqueued_ms, 1, 1, [reading], [b"k" * 16], frozenset())]


def memory(read_back_to_ms: int, *, is_ready: bool = True) -> Memory:
    read_back = {"0": ReadBack(read_back_to_ms, 5)}
    known = Memory(["0"], clock_error_ms=ERROR_MS)
    known.saw([replace(MARKER, is_ready=is_ready, read_back=read_back)], WINDOW_MS)
    return known


@pytest.mark.parametrize(
    ("time_ms", "can"),
    [
        (SINCE_MS - HORIZON_MS + ERROR_MS, True),
        (SINCE_MS - HORIZON_MS + ERROR_MS - 1, False),
        (SINCE_MS + 5_000, True),
        (SINCE_MS + 5_000 + ERROR_MS, True),
        (SINCE_MS + 5_000 + ERROR_MS + 1, False),
        (None, False),
    ],
)
def test_a_copy_can_be_judged_whose_winner_must_be_in_what_was_read_back(time_ms: int | None, can: bool) -> None:
    known = memory(SINCE_MS - HORIZON_MS)
    assert known.can_judge(request(time_ms and rfc3339(time_ms))) is can
    assert known.can_judge(request(time_ms and time_ms * 1_000_000)) is can
    assert memory(BEGINNING_MS).can_judge(request(None))


def test_nothing_is_judged_before_the_shard_is_ready_or_after_redis_forgot_again() -> None:
    assert not memory(BEGINNING_MS, is_ready=False).can_judge(request(SINCE_MS * 1_000_000))
    known = memory(BEGINNING_MS)
    known.forgot()
    assert not known.can_judge(request(SINCE_MS * 1_000_000))
    assert not known.is_whole


def test_a_partition_that_was_not_read_keeps_all_from_being_whole() -> None:
    known = Memory(["0", "1"])
    known.saw([replace(MARKER, is_ready=True, read_back={"0": ReadBack(BEGINNING_MS, 0)})], WINDOW_MS)
    assert not known.is_whole
    assert known.progress == 0.5
    assert not known.can_judge(request(SINCE_MS * 1_000_000))


def test_where_nothing_is_read_back_all_is_remembered_at_once() -> None:
    known = Memory([])
    known.saw([replace(MARKER, is_ready=True)], WINDOW_MS)
    assert known.is_whole
    assert known.can_judge(request(None))


def test_the_newest_part_comes_first_and_each_reaches_twice_as_far_until_the_window_is_whole() -> None:
    marker, stop = MARKER, 1_000
    depths: list[int] = []
    while (part := next_part([marker], "0", HORIZON_MS, WINDOW_MS)) is not None:
        assert part.stop == (None if not depths else stop)
        depths.append(SINCE_MS - part.start_ms)
        stop -= 10
        marker = replace(marker, read_back={"0": part.read_to(stop)})
    assert depths[:3] == [HORIZON_MS, 2 * HORIZON_MS, 4 * HORIZON_MS]
    assert depths[-1] == WINDOW_MS
    assert marker.read_back["0"].to_ms == BEGINNING_MS


def test_of_several_shards_those_that_lack_most_are_read_for_first() -> None:
    ahead = replace(MARKER, read_back={"0": ReadBack(SINCE_MS - HORIZON_MS, 7)})
    behind, whole = replace(MARKER, shard=1), replace(MARKER, shard=2, read_back={"0": ReadBack(BEGINNING_MS, 0)})
    part = next_part([ahead, behind, whole], "0", HORIZON_MS, WINDOW_MS)
    assert part is not None
    assert part.markers == [behind]
    assert next_part([whole], "0", HORIZON_MS, WINDOW_MS) is None
