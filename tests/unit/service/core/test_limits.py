"""What one replica may send, counted by the hub's clock (R10: what was claimed is never refused later)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dedup_service.core.limits import MAX_COUNTED, Limits, SentReadings

WINDOW_MS = 600_000
MINUTE_MS = 60_000


def sent(per_second: float = 1e9, in_window: int = 10**9) -> SentReadings:
    return SentReadings(Limits(per_second, in_window, "hold"))


def held(counted: SentReadings, *events: tuple[int, int], replica: str = "edge-1") -> list[float]:
    """For events by (enqueued ms, readings)."""
    return [counted.add(replica, number, at, readings, WINDOW_MS) for number, (at, readings) in enumerate(events)]


def test_what_is_beyond_a_rate_passes_at_that_rate() -> None:
    assert held(sent(per_second=10), (0, 500), (1, 100), (2, 50), (MINUTE_MS, 600), (MINUTE_MS, 20)) == [0, 0, 5.0, 0, 2.0]


def test_what_is_beyond_the_window_passes_at_the_rate_that_would_just_fill_it() -> None:
    assert held(sent(in_window=100), (0, 100), (MINUTE_MS, 10), (2 * MINUTE_MS, 1)) == [0, 60.0, 6.0]


def test_the_window_goes_on_with_time_and_forgets_what_is_over() -> None:
    events = [(minute * MINUTE_MS, 10) for minute in range(40)]
    assert held(sent(in_window=101), *events) == [0.0] * 40
    assert held(sent(in_window=90), *events[:11])[-1] > 0


def test_a_clock_that_goes_back_counts_in_the_present_minute() -> None:
    assert held(sent(per_second=1), (MINUTE_MS, 59), (0, 1), (MINUTE_MS, 1)) == [0, 0, 1.0]


def test_replicas_do_not_share_their_limits() -> None:
    counted = sent(per_second=1)
    assert [counted.add(f"edge-{n}", n, 0, 60, WINDOW_MS) for n in range(50)] == [0.0] * 50


def test_names_that_are_made_up_cost_no_memory_and_share_one_limit() -> None:
    counted = sent(per_second=1)
    for number in range(MAX_COUNTED + 100):
        held_last = counted.add(f"edge-{number}", number, 0, 1, WINDOW_MS)
    assert len(counted._by_replica) == MAX_COUNTED + 1
    assert held_last > 0


def test_what_is_asked_again_after_a_failure_is_counted_once_and_never_held() -> None:
    counted = sent(per_second=1)
    assert held(counted, (0, 60)) == [0]
    assert counted.add("edge-1", 0, 0, 60, WINDOW_MS) == 0
    assert counted.add("edge-1", 1, 0, 1, WINDOW_MS) == 1


events_of_a_partition = st.lists(
    st.tuples(st.integers(0, 20 * MINUTE_MS), st.integers(1, 40), st.sampled_from(["edge-1", "edge-2"])), max_size=40
)


@given(events_of_a_partition, st.data(), st.integers(1, 100), st.integers(1, 200))
def test_an_owner_that_begins_later_refuses_nothing_that_the_one_before_it_accepted(
    events: list[tuple[int, int, str]], data: st.DataObject, in_minute: int, in_window: int
) -> None:
    events = sorted(events)
    first = data.draw(st.integers(0, len(events)))
    before, after = sent(in_minute / 60, in_window), sent(in_minute / 60, in_window)
    for number, (at, readings, replica) in enumerate(events):
        was_held = before.add(replica, number, at, readings, WINDOW_MS)
        is_held = after.add(replica, number, at, readings, WINDOW_MS) if number >= first else 0.0
        assert is_held <= was_held
