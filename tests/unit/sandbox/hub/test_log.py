"""The partitioned log: positions, partitions, retention."""

from __future__ import annotations

import pytest

from sandbox.amqp.codec import Encoded, Symbol, encode
from sandbox.amqp.messages import BareMessage, data_section
from sandbox.hub.log import BeyondTheEndError, Hub, Partition, Selector


def message(text: bytes = b"x", **annotations: str) -> BareMessage:
    encoded = {Symbol(name.replace("_", "-")): Encoded(encode(value)) for name, value in annotations.items()}
    return BareMessage(encoded, data_section(text))


def filled(count: int = 5) -> Partition:
    partition = Partition("0")
    for number in range(count):
        partition.append(message(), {}, at_ms=1000 + 10 * number)
    return partition


def test_numbers_are_gapless_and_offsets_and_times_only_grow() -> None:
    partition = filled(3)
    late = partition.append(message(), {}, at_ms=5)
    assert [entry.sequence_number for entry in partition.entries] == [0, 1, 2, 3]
    assert late.enqueued_ms == 1020
    offsets = [entry.offset for entry in partition.entries]
    assert offsets == sorted(set(offsets))


@pytest.mark.parametrize(
    ("selector", "first"),
    [
        (Selector("offset", -1), 0),
        (Selector("offset", -1, inclusive=True), 0),
        (Selector("sequence_number", 2), 3),
        (Selector("sequence_number", 2, inclusive=True), 2),
        (Selector("enqueued_ms", 1020), 3),
        (Selector("enqueued_ms", 1020, inclusive=True), 2),
        (Selector("enqueued_ms", 9999), 5),
        (Selector(at_end=True), 5),
    ],
)
def test_every_start_position(selector: Selector, first: int) -> None:
    assert filled().position(selector) == first


@pytest.mark.parametrize("by", ["offset", "sequence_number"])
@pytest.mark.parametrize("is_expired", [False, True])
def test_a_start_behind_the_last_event_is_refused_also_once_that_has_expired(by: str, is_expired: bool) -> None:
    partition = filled()
    last = partition.entries[-1]
    if is_expired:
        partition.expire(at_ms=last.enqueued_ms + 86_400_001)
    value = getattr(last, by)
    assert partition.position(Selector(by, value)) == 5
    text = f"The supplied {by.replace('_', ' ')} '{value + 1}' is invalid. The last {by.replace('_', ' ')} in the system is"
    with pytest.raises(BeyondTheEndError, match=f"{text} '{value}'"):
        partition.position(Selector(by, value + 1))


def test_an_offset_starts_after_or_at_its_entry() -> None:
    partition = filled()
    offset = partition.entries[2].offset
    assert partition.position(Selector("offset", offset)) == 3
    assert partition.position(Selector("offset", offset, inclusive=True)) == 2


def test_retention_drops_the_oldest_and_keeps_the_numbers() -> None:
    partition = filled()
    partition.retention_seconds = 0.015
    partition.expire(at_ms=1040)
    assert [entry.sequence_number for entry in partition.entries] == [3, 4]
    assert partition.first_sequence_number == 3
    assert [entry.sequence_number for entry in partition.read(0, 10)] == [3, 4]
    partition.expire(at_ms=99_999)
    assert (partition.first_sequence_number, partition.next_sequence_number) == (5, 5)


def test_events_go_to_the_given_partition_or_that_of_the_key_or_the_next_in_turn() -> None:
    hub = Hub.create("h", 4, set())
    assert hub.append([message()], partition=hub.partitions[2]).id == "2"
    keyed = {hub.append([message(x_opt_partition_key="k")]).id for _ in range(5)}
    assert len(keyed) == 1
    assert {hub.append([message()]).id for _ in range(4)} == {"0", "1", "2", "3"}


def test_listeners_are_notified_of_new_entries() -> None:
    hub = Hub.create("h", 1, set())
    heard: list[int] = []
    hub.partitions[0].listeners.add(lambda: heard.append(1))
    hub.append([message(), message()])
    assert heard == [1]
