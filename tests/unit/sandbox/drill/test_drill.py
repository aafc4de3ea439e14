"""The drill's arithmetic: what a fault cost."""

from __future__ import annotations

from pathlib import Path

from sandbox.drill.figures import NS_PER_SECOND, Arrival, ReadingKey, Window, at_full_delay, cost, longest_silence
from sandbox.drill.patterns import FAULTS, PATTERNS, chosen, shortest_scale

WINDOW = Window(100 * NS_PER_SECOND, 120 * NS_PER_SECOND)


def key(number: int) -> ReadingKey:
    return "a", "e", number


EMITTED = {key(number): number * NS_PER_SECOND for number in range(90, 130)}


def arrivals(numbers: range | list[int], device: str = "x-1", late: float = 0.5) -> list[Arrival]:
    return [Arrival(key(number), device, round((number + late) * NS_PER_SECOND)) for number in numbers]


def test_there_is_no_loss_and_no_silence_when_all_arrive_in_time() -> None:
    result = cost(EMITTED, arrivals(range(90, 130)), arrivals(range(90, 130)), WINDOW, normal=1.0)
    assert (result.emitted, result.lost, result.silence_seconds, result.copies_per_reading) == (20, 0, 0.0, 1.0)


def test_what_never_arrives_is_lost_and_its_time_is_silence() -> None:
    there = [n for n in range(90, 130) if not 105 <= n < 110]
    result = cost(EMITTED, arrivals(there), arrivals(there), WINDOW, normal=1.0)
    assert (result.lost, result.lost_seconds, result.silence_seconds) == (5, 5.0, 5.0)


def test_what_arrives_late_is_silence_but_not_lost() -> None:
    clean = arrivals([n for n in range(90, 130) if not 105 <= n < 110]) + arrivals(range(105, 110), late=200)
    result = cost(EMITTED, clean, clean, WINDOW, normal=1.0)
    assert (result.lost, result.silence_seconds) == (0, 5.0)


def test_copies_and_duplicates_are_counted_for_the_readings_of_the_window() -> None:
    sent = arrivals(range(90, 130)) + arrivals(range(90, 130), "x-2")
    clean = arrivals(range(90, 130)) + arrivals([95, 101, 101])
    result = cost(EMITTED, sent, clean, WINDOW, normal=0)
    assert (result.copies_per_reading, result.clean_duplicates) == (2.0, 2)


def test_silence_at_the_borders_counts() -> None:
    assert longest_silence([104 * NS_PER_SECOND, 105 * NS_PER_SECOND], WINDOW) == 15
    assert longest_silence([], WINDOW) == 20


def test_the_shortest_scale_fits_the_longest_delay_into_the_window() -> None:
    assert 10 < shortest_scale(PATTERNS, FAULTS) < 20
    assert shortest_scale(chosen(PATTERNS, ["dup2"]), FAULTS) == 0


def test_a_modelled_delay_is_added_in_full() -> None:
    assert at_full_delay(20.0, shortened=18.0, full=360.0) == 362.0


def test_every_modelled_delay_has_a_source_and_names_are_unique() -> None:
    assert all(pattern.why for pattern in PATTERNS if pattern.is_modelled)
    assert len({pattern.name for pattern in PATTERNS}) == len(PATTERNS)
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert not any("-" in pattern.name for pattern in PATTERNS)  # a device is `pattern-number`


def test_the_page_counts_the_patterns_and_their_senders() -> None:
    page = (Path(__file__).parents[4] / "docs" / "sandbox.md").read_text()
    senders = sum(pattern.replicas for pattern in PATTERNS)
    assert (len(PATTERNS), senders) == (9, 15)
    assert "Nine patterns of high availability at once: fifteen senders" in page
