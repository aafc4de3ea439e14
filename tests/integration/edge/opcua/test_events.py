"""Events of a server: which are read, what they are called, and that two gateways give them the same ids."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from asyncua import Node, ua
from asyncua.server.event_generator import EventGenerator
from asyncua.server.internal_subscription import InternalSubscription

from edge_sender.identity.rules import mint
from sandbox.peers.links import Link
from tests.support.plc import NAMESPACE, SERVER_URI, START, Plc, Reading, config_of, plc, reading
from tests.support.senders import until

CHOICE: dict[str, Any] = {"namespace_uri": None}
STANDARD = "nsu=http://opcfoundation.org/UA/"
OVERFLOW = ua.NodeId(ua.ObjectIds.EventQueueOverflowEventType)
PRESS = f"{SERVER_URI}#nsu={NAMESPACE};s=press;events"


@asynccontextmanager
async def press(**given: Any) -> AsyncIterator[tuple[Plc, Node]]:
    """A server with a variable, and an object that will have events."""
    async with plc(lambda server: server.add("a", 1), **given) as server:
        yield server, await server.folder("press")


async def events_of(server: Plc, emitting: Node, kind: Any = ua.ObjectIds.BaseEventType) -> EventGenerator:
    return await server.server.get_event_generator(kind, emitting_node=emitting)


async def send(events: EventGenerator, message: str, severity: int = 500, at_ms: int = 0) -> None:
    events.event.Severity = severity
    await events.trigger(START + timedelta(milliseconds=at_ms), message=message)


async def subscribed(*plants: Reading, notifiers: int = 1) -> None:
    await until(
        lambda: all(plant.tally.notifiers == notifiers and plant.source.is_up for plant in plants), "no subscription"
    )


def messages(plant: Reading) -> list[Any]:
    return [sample.data["Message"] for sample in plant.intake.samples if "Message" in sample.data]


def on_press(**given: Any) -> dict[str, Any]:
    return {**CHOICE, "events": {"notifiers": [{"path": "/press"}], **given}}


async def test_two_gateways_read_an_event_with_the_same_id() -> None:
    async with press() as (server, machine):
        events = await events_of(server, machine)
        async with reading(server.endpoint, **on_press()) as one, reading(server.endpoint, **on_press()) as two:
            await subscribed(one, two)
            await send(events, "jammed", at_ms=1)
            await send(events, "free", at_ms=2)
            await until(lambda: messages(one) == messages(two) == ["jammed", "free"], "an event is missing")
    assert one.intake.samples == two.intake.samples
    first = one.intake.samples[0]
    assert first.source == PRESS
    assert first.data == {
        "SourceNode": {"IdType": 1, "Id": "press", "Namespace": NAMESPACE},
        "SourceName": "press",
        "EventType": {"Id": ua.ObjectIds.BaseEventType},
        "Time": "2026-01-31T06:00:00.001Z",
        "Severity": 500,
        "Message": "jammed",
    }
    rules = config_of(server.endpoint, **on_press()).rules
    assert len({mint(sample, rules) for plant in (one, two) for sample in plant.intake.samples}) == 2


async def test_without_notifiers_the_servers_own_events_are_read_besides_the_variables() -> None:
    async with press() as (server, _):
        events = await events_of(server, server.server.nodes.server)
        async with reading(server.endpoint, events={}) as plant:
            await subscribed(plant)
            assert plant.tally.subscribed == 1
            await send(events, "a fire")
            await until(lambda: messages(plant) == ["a fire"], "the event is missing")
    assert {sample.source for sample in plant.intake.samples} == {
        f"{SERVER_URI}#nsu={NAMESPACE};s=a",
        f"{SERVER_URI}#nsu=http://opcfoundation.org/UA/;i=2253;events",
    }


async def test_only_events_of_the_types_and_severities_that_were_chosen_are_read() -> None:
    types = [f"{STANDARD};i={ua.ObjectIds.DeviceFailureEventType}", f"{STANDARD};i={ua.ObjectIds.SystemEventType}"]
    async with press() as (server, machine):
        base = await events_of(server, machine)
        failure = await events_of(server, machine, ua.ObjectIds.DeviceFailureEventType)
        system = await events_of(server, machine, ua.ObjectIds.SystemEventType)
        async with reading(server.endpoint, **on_press(types=types, min_severity=300)) as plant:
            await subscribed(plant)
            await send(base, "of another type", 900)
            await send(failure, "harmless", 299)
            await send(system, "severe", 300, at_ms=1)
            await send(failure, "worse", 301, at_ms=2)
            await until(lambda: "worse" in messages(plant), "the event is missing")
            assert messages(plant) == ["severe", "worse"]


async def test_fields_of_a_type_of_its_own_and_those_that_an_event_lacks() -> None:
    fields = ["Message", f"nsu={NAMESPACE};Force", "ActiveState/Id", "ConditionId"]
    async with press() as (server, machine):
        kind = await server.server.create_custom_event_type(
            server.index(), "Jam", properties=[("Force", ua.VariantType.Int64)]
        )
        events = await events_of(server, machine, kind)
        events.event.Force = 2**60
        async with reading(server.endpoint, **on_press(fields=fields)) as plant:
            await subscribed(plant)
            await send(events, "jammed")
            await until(lambda: bool(messages(plant)), "the event is missing")
    [sample] = plant.intake.samples
    assert sample.data == {
        "Message": "jammed",
        f"nsu={NAMESPACE};Force": str(2**60),
        "ActiveState/Id": None,
        "ConditionId": None,
    }
    assert sample.source == PRESS


async def test_an_event_by_which_the_server_says_that_it_dropped_some_is_counted() -> None:
    async with press() as (server, machine):
        overflow = await events_of(server, machine, ua.ObjectIds.EventQueueOverflowEventType)
        events = await events_of(server, machine)
        async with reading(server.endpoint, **on_press()) as plant:
            await subscribed(plant)
            await send(overflow, "the queue overflowed")
            await send(events, "the next one")
            await until(lambda: bool(messages(plant)), "the event is missing")
    assert messages(plant) == ["the next one"]
    assert plant.tally.lost == {"overflow": 1}
    assert list(plant.tally.troubled) == [PRESS]


async def test_an_overflow_of_the_servers_queue_is_counted_whatever_events_were_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server does what the standard says and the library does not: in front of what is left of a queue that has
    overflowed it puts one event more, which no where clause holds back. (OPC 10000-4, 5.12.1.5)"""
    enqueue = InternalSubscription._enqueue_event

    async def telling(self: InternalSubscription, mid: int, event: Any, size: int, queue: dict[int, list[Any]]) -> None:
        waiting = queue.get(mid, [])
        if not isinstance(event, ua.EventFieldList) or len(waiting) < size:
            await enqueue(self, mid, event, size, queue)
            return
        if waiting[0].EventFields[0].Value != OVERFLOW:
            fields = [ua.Variant(OVERFLOW), ua.Variant(ua.NodeId(ua.ObjectIds.Server)), ua.Variant(START)]
            nothing = [ua.Variant()] * (len(event.EventFields) - len(fields))
            waiting.insert(0, ua.EventFieldList(ClientHandle=event.ClientHandle, EventFields=[*fields, *nothing]))
        del waiting[1]
        waiting.append(event)

    monkeypatch.setattr(InternalSubscription, "_enqueue_event", telling)
    types = [f"{STANDARD};i={ua.ObjectIds.DeviceFailureEventType}"]
    async with press() as (server, machine):
        events = await events_of(server, machine, ua.ObjectIds.DeviceFailureEventType)
        async with reading(server.endpoint, **on_press(types=types), queue_size=2, publishing_ms=500) as plant:
            await subscribed(plant)
            for number in range(5):
                await send(events, f"{number}", at_ms=number)
            await until(lambda: "4" in messages(plant), "the newest event is missing")
    assert messages(plant)[-2:] == ["3", "4"]
    assert plant.tally.lost["overflow"] >= 1
    assert list(plant.tally.troubled) == [PRESS]


async def test_events_of_no_node_are_the_servers_own_and_those_without_a_time_are_counted() -> None:
    async with press() as (server, machine):
        events = await events_of(server, machine)
        events.event.SourceNode = None
        async with reading(server.endpoint, **on_press()) as plant:
            await subscribed(plant)
            events.event.Severity = 1
            await events.trigger(ua.get_win_epoch(), message="sometime")
            await until(lambda: bool(messages(plant)), "the event is missing")
    [sample] = plant.intake.samples
    assert sample.source.endswith(";i=2253;events")
    assert sample.time_ns is None
    assert plant.tally.without_time == 1


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ({"notifiers": [{"path": "/nowhere"}]}, "no object with events matches"),
        ({"types": ["nsu=urn:elsewhere;i=1"]}, "no namespace urn:elsewhere"),
        ({"fields": ["nsu=urn:elsewhere;Force"]}, "no namespace urn:elsewhere"),
    ],
)
async def test_events_that_can_not_be_subscribed_to_are_left_out_and_the_variables_are_read(events: Any, why: str) -> None:
    async with press() as (server, _), reading(server.endpoint, events=events) as plant:
        await until(lambda: bool(plant.intake.samples), "the variable is not read")
        [(name, told)] = plant.tally.left_out.items()
        assert name == "events"
        assert why in told


async def test_a_source_of_events_alone_that_can_not_be_subscribed_to_says_why() -> None:
    async with press() as (server, _), reading(server.endpoint, **on_press(types=["nsu=urn:elsewhere;i=1"])) as plant:
        await until(lambda: "no namespace urn:elsewhere" in (plant.source.problem or ""), "the problem is not told")
        assert not plant.source.is_up


async def test_an_object_that_sends_events_later_is_found() -> None:
    async with (
        press() as (server, machine),
        reading(server.endpoint, browse_seconds=0.5, **{**on_press(), "nodes": {}}) as plant,
    ):
        await until(lambda: bool(plant.tally.left_out), "it is not told that there is none")
        events = await events_of(server, machine)
        await subscribed(plant)
        assert not plant.tally.left_out
        await send(events, "jammed")
        await until(lambda: messages(plant) == ["jammed"], "the event is missing")


async def test_a_connection_that_breaks_loses_no_events() -> None:
    async with press() as (server, machine):
        events = await events_of(server, machine)
        async with reading(server.endpoint, **on_press()) as plant:
            await subscribed(plant)
            for client in list(server.server.bserver.clients):
                client.transport.abort()
            for number in range(5):
                await send(events, f"{number}", at_ms=number)
            await until(lambda: messages(plant) == ["0", "1", "2", "3", "4"], "events are missing")
            assert not plant.tally.lost


async def test_after_a_restart_it_is_told_that_events_are_lost_and_new_ones_are_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = plc(lambda server: server.folder("press"))
    server = await first.__aenter__()
    await events_of(server, server.server.get_node(ua.NodeId("press", server.index())))
    with caplog.at_level(logging.WARNING):
        async with reading(server.endpoint, **on_press()) as plant:
            await subscribed(plant)
            await first.__aexit__(None, None, None)
            await until(lambda: not plant.source.is_up, "the loss is not noticed")
            async with plc(port=server.port) as again:
                events = await events_of(again, await again.folder("press"))
                await until(lambda: plant.tally.lost["interruption"] == 1 and plant.source.is_up, "not read again", 40)
                await send(events, "jammed")
                await until(lambda: messages(plant) == ["jammed"], "the event is missing")
    assert "events that come before there is a subscription again are lost" in caplog.text


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[list[Plc], list[EventGenerator], Callable[[], Awaitable[None]]]]:
    """Two servers of a press, with its events at each of them, and what takes the first one away."""
    async with AsyncExitStack() as both:
        first = await both.enter_async_context(AsyncExitStack())
        servers, events = [], []
        for stack in (first, both):
            server = await stack.enter_async_context(plc(lambda one: one.folder("press")))
            servers.append(server)
            events.append(await events_of(server, server.server.get_node(ua.NodeId("press", server.index()))))
        yield servers, events, first.aclose


async def test_when_a_server_dies_the_events_of_the_next_one_are_read_with_the_same_ids(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Those in between are lost to this gateway, which is told and counted. Another gateway has them."""
    async with pair() as (servers, events, take_away):
        link = await Link("127.0.0.1", servers[1].port).start()
        link.refuse()
        endpoints = [servers[0].endpoint, f"opc.tcp://127.0.0.1:{link.port}"]
        async with reading(*endpoints, **on_press()) as one, reading(servers[1].endpoint, **on_press()) as two:
            await subscribed(one, two)
            for number in range(3):
                for of_one in events:
                    await send(of_one, f"{number}", at_ms=number)
            await until(lambda: len(messages(one)) == len(messages(two)) == 3, "events are missing")
            await take_away()
            await until(lambda: not one.source.is_up, "the loss is not noticed")
            await send(events[1], "in between", at_ms=3)
            link.mend()
            await until(lambda: one.source.is_up and one.source.place == endpoints[1], "it does not fail over")
            await send(events[1], "afterwards", at_ms=4)
            await until(lambda: messages(one)[-1] == messages(two)[-1] == "afterwards", "the event is missing")
        await link.stop()
    assert messages(two) == ["0", "1", "2", "in between", "afterwards"]
    assert messages(one) == ["0", "1", "2", "afterwards"]
    assert (one.tally.lost, one.tally.fail_overs) == ({"interruption": 1}, {"unreachable": 1})
    assert "events that come before there is a subscription again are lost" in caplog.text
    rules = config_of(*endpoints, **on_press()).rules
    ids = [{mint(sample, rules) for sample in plant.intake.samples} for plant in (one, two)]
    assert (len(ids[0]), len(ids[1])) == (4, 5)
    assert ids[0] < ids[1]


async def test_no_event_is_lost_while_a_server_is_left_for_a_fitter_one() -> None:
    """Both are read for a moment: what comes from both has one id."""
    async with pair() as (servers, events, _):
        endpoints = [server.endpoint for server in servers]
        async with reading(*endpoints, **on_press()) as plant:
            await subscribed(plant)
            await servers[0].set_level(50)
            sent = 0
            while sent < 500 and not (plant.source.place == endpoints[1] and plant.source.is_up):
                for of_one in events:
                    await send(of_one, f"{sent}", at_ms=sent)
                sent += 1
                await asyncio.sleep(0.02)
            await send(events[1], f"{sent}", at_ms=sent)
            await until(lambda: f"{sent}" in messages(plant), "the second server is not read")
    assert {int(message) for message in messages(plant)} == set(range(sent + 1))
    assert (plant.tally.lost, plant.tally.fail_overs) == ({}, {"service-level": 1})
    rules = config_of(*endpoints, **on_press()).rules
    assert len({mint(sample, rules) for sample in plant.intake.samples}) == sent + 1
