"""What is kept in memory is bounded in bytes as well, whatever comes, and what is dropped for it is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sender.buffering.inbox import Inbox, IntakeOptions
from edge_sender.buffering.sized import OVERHEAD_BYTES, SizedDeque
from edge_sender.counters import Counters
from edge_sender.identity.readings import Reading

HEAD = b"{}"
BOUND = 10_000


def reading(size: int) -> Reading:
    return Reading(HEAD, b"x" * (size - Reading(HEAD, b"").size))


def inbox_of(when_full: Any = "drop-oldest", overlap: float = 0.0, *, is_sending: bool = True) -> Inbox:
    options = IntakeOptions(1000, when_full, overlap, BOUND)
    return Inbox(options, Counters(), lambda: 0.0, lambda _: is_sending)


def sizes(readings: Sequence[Reading]) -> list[int]:
    return [reading.size for reading in readings]


@pytest.mark.parametrize(("when_full", "kept"), [("drop-oldest", [802, 803, 804]), ("drop-newest", [800, 801, 802])])
def test_large_readings_are_dropped_by_the_policy_and_counted(when_full: Any, kept: list[int]) -> None:
    inbox = Inbox(IntakeOptions(1000, when_full, 0.0, 3 * (804 + OVERHEAD_BYTES)), Counters(), lambda: 0.0)
    for size in range(800, 805):
        inbox.take("a", reading(size), None)
    assert sizes(inbox.pending) == kept
    assert inbox._counters.dropped["memory-full"] == 2


def test_a_reading_that_is_larger_than_the_bound_is_kept_alone() -> None:
    inbox = inbox_of()
    inbox.take("a", reading(100), None)
    inbox.take("a", reading(3 * BOUND), None)
    assert sizes(inbox.pending) == [3 * BOUND]
    assert inbox._counters.dropped["memory-full"] == 1


async def test_sources_that_can_wait_do_so_at_half_of_the_bound() -> None:
    inbox = inbox_of()
    inbox.take("a", reading(BOUND // 2), None)
    waiting = asyncio.create_task(inbox.room())
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    inbox.pending.clear()
    async with asyncio.timeout(60):
        await waiting


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(50, 4000)), max_size=60))
def test_what_a_passive_replica_holds_back_is_bounded(arrivals: list[tuple[str, int]]) -> None:
    inbox = inbox_of(overlap=60.0, is_sending=False)
    for source, size in arrivals:
        inbox.take(source, reading(size), None)
    inbox.is_sending = lambda _: True
    held = sum(queue.bytes for queue in inbox._held.values())
    inbox.release()
    assert held == inbox.pending.bytes <= BOUND
    assert not inbox._counters.dropped["memory-full"]


@given(
    st.sampled_from(["drop-oldest", "drop-newest"]),
    st.lists(st.one_of(st.integers(50, 4000), st.just("send"), st.just("put back")), max_size=80),
)
def test_the_bound_holds_and_nothing_vanishes_uncounted(when_full: Any, steps: list[int | str]) -> None:
    inbox, sent, away = inbox_of(when_full), 0, list[Reading]()
    for step in steps:
        if isinstance(step, int):
            inbox.take("a", reading(step), None)
        elif step == "send" and inbox.pending:
            inbox.pending.popleft()
            sent += 1
        elif step == "put back":
            inbox.put_back(away)
            away = list(inbox.pending)
            inbox.pending.clear()
        assert inbox.pending.bytes == sum(OVERHEAD_BYTES + size for size in sizes(inbox.pending)) <= BOUND
    taken = sum(isinstance(step, int) for step in steps)
    assert len(inbox.pending) + len(away) + sent + inbox._counters.dropped["memory-full"] == taken


def test_a_deque_that_counts() -> None:
    found: SizedDeque[bytes] = SizedDeque(len)
    found.append(b"123")
    found.extendleft([b"22", b"1"])
    assert (list(found), found.bytes) == ([b"1", b"22", b"123"], 6 + 3 * OVERHEAD_BYTES)
    assert (found.pop(), found.popleft(), found.bytes) == (b"123", b"1", 2 + OVERHEAD_BYTES)
