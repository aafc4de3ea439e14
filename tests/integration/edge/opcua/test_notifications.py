"""Every notification becomes a reading or a count, whatever the server does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from asyncua import ua
from asyncua.server.internal_subscription import InternalSubscription

from edge_sender.buffering.inbox import Inbox, IntakeOptions, SourceIntake
from edge_sender.counters import Counters
from edge_sender.identity.rules import parse_rules
from tests.support.plc import Plc, plc, reading, variant_of
from tests.support.senders import until
from wire.ids import Sample

BAD = ua.StatusCodes.BadDeviceFailure
WAITING = ua.StatusCodes.BadWaitingForInitialData
OVERFLOW = 0x480


async def one(server: Plc) -> None:
    await server.add("a", 1)


async def test_a_machine_that_drops_out_is_a_reading_with_a_null_and_a_bad_status() -> None:
    async with plc(one) as server, reading(server.endpoint) as plant:
        await until(lambda: len(plant.values) == 1, "nothing is read")
        variable = server.server.get_node(ua.NodeId("a", 2))
        for number in range(1, 4):  # a burst
            await server.show(variable, None, status=BAD, at_ms=2 * number)
            await server.show(variable, number, at_ms=2 * number + 1)
        await until(lambda: len(plant.values) == 7, "readings are missing")
        burst = [sample.data for sample in plant.intake.samples[1:]]
        bad = {"value": None, "status": BAD}
        assert burst == [bad, {"value": 1, "status": 0}, bad, {"value": 2, "status": 0}, bad, {"value": 3, "status": 0}]


async def test_a_variable_that_waits_for_its_first_value_is_no_reading_yet() -> None:
    async def prepare(server: Plc) -> None:
        variable = await server.add("a", 1)
        await server.show(variable, None, status=WAITING, at_ms=0)

    async with plc(prepare) as server, reading(server.endpoint) as plant:
        await until(lambda: plant.tally.skipped["waiting"] == 1, "it is not counted")
        await server.show(server.server.get_node(ua.NodeId("a", 2)), 5, at_ms=1)
        await until(lambda: plant.values == [("a", 5)], "the first value is missing")


async def test_what_the_server_dropped_from_its_queue_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mark does not stay in the status: another gateway, on whose queue nothing was dropped, has the same reading."""
    enqueue = InternalSubscription._enqueue_event

    async def marking(self: InternalSubscription, mid: int, event: Any, size: int, queue: dict[int, list[Any]]) -> None:
        is_full = len(queue.get(mid, ())) >= size
        await enqueue(self, mid, event, size, queue)
        if is_full:
            queue[mid][0].Value = ua.DataValue(
                queue[mid][0].Value.Value, ua.StatusCode(OVERFLOW), queue[mid][0].Value.SourceTimestamp
            )

    monkeypatch.setattr(InternalSubscription, "_enqueue_event", marking)
    async with plc(one) as server, reading(server.endpoint, queue_size=2, publishing_ms=1000) as plant:
        await until(lambda: len(plant.values) == 1, "nothing is read")
        variable = server.server.get_node(ua.NodeId("a", 2))
        for number in range(10, 20):
            await server.show(variable, number, at_ms=number)
        await until(lambda: ("a", 19) in plant.values, "the newest value is missing")
        assert plant.values[-2:] == [("a", 18), ("a", 19)]
        assert {sample.data["status"] for sample in plant.intake.samples} == {0}
        assert plant.tally.lost["overflow"] >= 1
        assert "overflowed" in next(iter(plant.tally.troubled.values()))


async def test_messages_that_were_lost_on_the_way_are_fetched_again() -> None:
    async with plc(one) as server, reading(server.endpoint) as plant:
        await until(lambda: len(plant.values) == 1, "nothing is read")
        variable, subscription = server.server.get_node(ua.NodeId("a", 2)), server.subscriptions[0]
        for number in (2, 3):
            await server.show(variable, number, at_ms=number)
            subscription._pop_publish_result()  # it is in the server's queue for retransmission, and never arrives
        await server.show(variable, 4, at_ms=4)
        await until(lambda: len(plant.values) == 4, "readings are missing")
        assert [value for _, value in plant.values] == [1, 2, 3, 4]
        assert not plant.tally.lost


@pytest.mark.parametrize("more", [True, False], ids=["seen at the next message", "seen at a keep-alive"])
async def test_messages_that_the_server_no_longer_has_are_a_gap_with_its_size(
    monkeypatch: pytest.MonkeyPatch, more: bool
) -> None:
    monkeypatch.setattr("edge_sender.sources.opcua.items.KEEP_ALIVE_SECONDS", 0.3)
    async with plc(one) as server, reading(server.endpoint) as plant:
        await until(lambda: len(plant.values) == 1, "nothing is read")
        variable, subscription = server.server.get_node(ua.NodeId("a", 2)), server.subscriptions[0]
        for number in (2, 3, 4):
            await server.show(variable, number, at_ms=number)
            subscription._pop_publish_result()
        subscription._not_acknowledged_results.clear()
        if more:
            await server.show(variable, 5, at_ms=5)
        await until(lambda: plant.tally.lost["gap"] == 3, "the gap is not counted")
        if not more:
            await server.show(variable, 5, at_ms=5)
        await until(lambda: plant.values == [("a", 1), ("a", 5)], "the next reading is missing")
        assert plant.tally.lost["gap"] == 3


async def test_a_connection_that_breaks_loses_nothing() -> None:
    """The session goes on over a new one; what came meanwhile is in the server's queue."""
    async with plc(one) as server, reading(server.endpoint) as plant:
        await until(lambda: len(plant.values) == 1, "nothing is read")
        variable, before = server.server.get_node(ua.NodeId("a", 2)), [s.data.SubscriptionId for s in server.subscriptions]
        for client in list(server.server.bserver.clients):
            client.transport.abort()
        for number in range(2, 30):
            await server.show(variable, number, at_ms=number)
        await until(lambda: len(plant.values) == 29, "readings are missing")
        assert [value for _, value in plant.values] == list(range(1, 30))
        assert [s.data.SubscriptionId for s in server.subscriptions] == before
        assert not plant.tally.lost


@pytest.mark.parametrize(("time", "has_time"), [("source", False), ("server", True), ("source-or-server", True)])
async def test_a_reading_without_the_chosen_time_is_counted_and_listed(time: str, has_time: bool) -> None:
    async def prepare(server: Plc) -> None:
        variable = await server.add("a", 1)
        stamp = datetime(2026, 1, 31, 6, tzinfo=UTC)
        value = ua.DataValue(variant_of(2), StatusCode=ua.StatusCode(0), SourceTimestamp=None, ServerTimestamp=stamp)
        await server.server.write_attribute_value(variable.nodeid, value)

    async with plc(prepare) as server, reading(server.endpoint, time=time) as plant:
        await until(lambda: len(plant.values) == 1, "nothing is read")
        (sample,) = plant.intake.samples
        assert (sample.time_ns is not None) is has_time
        assert plant.tally.without_time == (0 if has_time else 1)
        assert [why.partition(":")[0] for why in plant.tally.troubled.values()] == ([] if has_time else ["without-time"])


def test_a_reading_that_is_dropped_for_its_time_is_counted_as_such() -> None:
    counters = Counters()
    inbox = Inbox(IntakeOptions(10, "drop-oldest", 0.0), counters, lambda: 0.0)
    for identity in ("source-time", "time-bucket:1", "source-time+value", "content"):
        SourceIntake(inbox, "plc", parse_rules(identity), "reading").take(Sample("urn:a", None, {"value": 1}))
    assert counters.dropped == {"without-time": 3}
    assert len(inbox.pending) == 1
