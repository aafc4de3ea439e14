"""When machines drop out, and what is said of them then."""

from __future__ import annotations

from collections import Counter

from sandbox.plant.sources import BAD_NO_COMMUNICATION, NS_PER_SECOND, DropOuts, Schedule, machines

SECONDS = 40


def emitted(drop_outs: DropOuts | None) -> list[tuple[str, int | None, int, int]]:
    schedule = Schedule(machines("e", 2), 0, drop_outs)
    return [(one.source, one.sequence, one.status, one.time_ns) for one in schedule.due(SECONDS * NS_PER_SECOND)]


def test_each_machine_drops_out_for_a_second_of_each_period_and_never_two_at_once() -> None:
    drop_outs = DropOuts(10 * NS_PER_SECOND, machines=2)
    bad = [(source.partition("/")[0], time_ns) for source, _, status, time_ns in emitted(drop_outs) if status]
    spells = {(machine, time_ns // NS_PER_SECOND) for machine, time_ns in bad}
    expected = {("press-1", second) for second in range(0, SECONDS + 1, 10)}
    assert spells == expected | {("press-2", second) for second in range(5, SECONDS, 10)}


def test_what_is_not_measured_is_not_counted() -> None:
    whole, with_gaps = emitted(None), emitted(DropOuts(10 * NS_PER_SECOND, machines=2))
    assert len(whole) == len(with_gaps)
    for source, count in Counter(source for source, *_ in whole).items():
        numbers = [sequence for name, sequence, status, _ in with_gaps if name == source and not status]
        assert numbers == list(range(len(numbers)))
        statuses = [status for name, _, status, _ in with_gaps if name == source and status]
        assert set(statuses) <= {BAD_NO_COMMUNICATION}
        assert len(numbers) + len(statuses) == count
