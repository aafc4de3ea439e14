"""Redundant servers: which of them is read, what becomes of readings when it is another one, and what they are called."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from edge_sender.namesakes import Namesakes
from edge_sender.observability.telemetry import make_registry, status
from edge_sender.ports import Message
from edge_sender.sender import Sender
from edge_sender.sources.make import make_probe
from edge_sender.sources.opcua import redundancy, session
from edge_sender.sources.opcua.source import OpcUaSource
from sandbox.peers.links import Link
from sandbox.peers.processes import free_port
from tests.doubles.intake import ListIntake
from tests.support.plc import NAMESPACE, SERVER_URI, Plc, config_of, plc, reading, source_of
from tests.support.senders import running_sender, until

HERE, THERE = "urn:test:here", "urn:test:there"


async def one(server: Plc) -> None:
    await server.add("a", 1)


async def show(value: int, *servers: Plc) -> None:
    """The machine has this value now, which its servers see alike."""
    for server in servers:
        await server.show(server.server.get_node(ua.NodeId("a", server.index())), value, at_ms=value)


def sessions(server: Plc) -> int:
    """How many it has had."""
    return len(server.opened)


async def test_when_a_server_dies_the_next_one_is_read_and_its_readings_have_the_same_sources() -> None:
    first = plc(one)
    async with plc(one) as second:
        server = await first.__aenter__()
        async with reading(server.endpoint, second.endpoint) as plant:
            await until(lambda: plant.values == [("a", 1)], "the first server is not read")
            assert (plant.source.place, plant.source.problem, plant.source.notice) == (server.endpoint, None, None)
            await first.__aexit__(None, None, None)
            await until(lambda: len(plant.values) == 2, "the second server is not read")
            await show(2, second)
            await until(lambda: plant.values[-1] == ("a", 2), "the second server is not read any more")
            assert (plant.source.is_up, plant.source.place, plant.source.problem) == (True, second.endpoint, None)
            assert (plant.tally.lost, plant.tally.fail_overs) == ({"interruption": 1}, {"unreachable": 1})
            assert len({sample.source for sample in plant.intake.samples}) == 1
            repeated, again = plant.intake.samples[:2]
            assert repeated == again  # so that the last id recognises it


async def test_a_server_that_is_away_at_the_start_is_passed_over() -> None:
    away = [f"opc.tcp://127.0.0.1:{free_port()}" for _ in range(2)]
    async with plc(one) as server, reading(*away, server.endpoint) as plant:
        await until(lambda: plant.values == [("a", 1)], "the third server is not read")
        assert plant.tally.lost == {}


async def test_a_degraded_server_is_left_for_a_better_one_and_a_healthy_one_is_not() -> None:
    async with plc(one) as first, plc(one) as second:
        await second.set_level(250)
        async with reading(first.endpoint, second.endpoint) as plant:
            await until(lambda: plant.source.is_up, "the first server is not read")
            await first.set_level(200)  # healthy
            await until(lambda: first.levels_read > 5, "the level is not read")
            assert plant.source.place == first.endpoint
            await second.set_level(100)
            await first.set_level(100)  # as bad as the other one
            looked = sessions(second)
            await until(lambda: sessions(second) > looked + 1, "the other server is not looked at")
            assert (plant.source.is_up, plant.source.place) == (True, first.endpoint)
            assert plant.tally.lost == {}
            await second.set_level(101)
            await until(lambda: plant.source.place == second.endpoint and plant.source.is_up, "it does not move")
            await show(2, second)
            await until(lambda: plant.values[-1] == ("a", 2), "the second server is not read")
            assert (plant.tally.lost, plant.tally.fail_overs) == ({}, {"service-level": 1})
            await first.set_level(255)
            await until(lambda: plant.source.place == first.endpoint and plant.source.is_up, "it does not move back")


async def changing(*servers: Plc) -> AsyncIterator[int]:
    """Every few milliseconds the machine has another value, until the caller has seen enough."""
    for value in count(2):
        await show(value, *servers)
        yield value
        await asyncio.sleep(0.005)


async def test_nothing_that_changes_while_a_server_is_left_for_a_fitter_one_is_lost() -> None:
    async with (
        plc(one) as first,
        plc(one) as second,
        reading(first.endpoint, second.endpoint, publishing_ms=200) as plant,
    ):
        await until(lambda: plant.source.is_up, "the first server is not read")
        async for value in changing(first, second):
            if value == 20:
                await first.set_level(50)
            if plant.source.place == second.endpoint and plant.source.is_up:
                break
        await show(last := value + 1, second)
        await until(lambda: plant.values[-1] == ("a", last), "the second server is not read")
        assert {number for _, number in plant.values} == set(range(1, last + 1))
        assert (plant.tally.lost, plant.tally.fail_overs) == ({}, {"service-level": 1})
        await until(lambda: not first.subscriptions, "the session at the first server stays")


async def test_a_server_that_is_lost_while_it_is_left_costs_nothing_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "ON_ITS_WAY_SECONDS", 60.0)
    async with plc(one) as first, plc(one) as second:
        link = await Link("127.0.0.1", first.port).start()
        async with reading(f"opc.tcp://127.0.0.1:{link.port}", second.endpoint) as plant:
            await until(lambda: plant.source.is_up, "the first server is not read")
            await first.set_level(50)
            await until(lambda: bool(second.subscriptions), "the second server is not read")
            await until(lambda: plant.tally.fail_overs["service-level"] == 1, "it is not counted")
            link.refuse()
            await until(lambda: plant.source.place == second.endpoint and plant.source.is_up, "it does not move")
            await show(2, second)
            await until(lambda: plant.values[-1] == ("a", 2), "the second server is not read any more")
            assert (plant.tally.lost, plant.tally.fail_overs) == ({}, {"service-level": 1})
        await link.stop()


async def test_a_fitter_server_that_can_not_be_subscribed_to_leaves_all_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    async def empty(_server: Plc) -> None:
        """It has none of the variables."""

    async with plc(one) as first, plc(empty) as second, reading(first.endpoint, second.endpoint) as plant:
        await until(lambda: plant.values == [("a", 1)], "the first server is not read")
        await first.set_level(50)
        await until(lambda: "but it can't be: the server has none of the variables" in caplog.text, "it is not told")
        await show(2, first)
        await until(lambda: plant.values[-1] == ("a", 2), "the first server is not read any more")
        assert (plant.source.is_up, plant.source.place, plant.source.problem) == (True, first.endpoint, None)
        assert (plant.tally.lost, plant.tally.fail_overs) == ({}, {})


async def test_a_server_in_maintenance_is_not_even_subscribed_to() -> None:
    async with plc(one) as first, plc(one) as second:
        await first.set_level(0)
        async with reading(first.endpoint, second.endpoint) as plant:
            await until(lambda: plant.values == [("a", 1)], "nothing is read")
            assert plant.source.place == second.endpoint
            assert not first.subscriptions
            assert (plant.tally.lost, plant.tally.fail_overs) == ({}, {})


async def test_the_levels_behind_a_transparent_server_are_none_of_ours() -> None:
    async with plc(one) as first, plc(one) as second:
        node = first.server.get_node(ua.NodeId(ua.ObjectIds.Server_ServerRedundancy_RedundancySupport))
        await node.write_value(ua.Variant(ua.RedundancySupport.Transparent, ua.VariantType.Int32))
        await first.set_level(0)
        async with reading(first.endpoint, second.endpoint) as plant:
            await until(lambda: plant.source.is_up and first.levels_read > 10, "the first server is not read")
            assert plant.source.place == first.endpoint
            assert sessions(second) == 0


async def test_the_other_servers_are_left_alone_while_all_is_well() -> None:
    async with plc(one) as first, plc(one) as second, reading(first.endpoint, second.endpoint) as plant:
        await until(lambda: plant.source.is_up and first.levels_read > 10, "the first server is not read")
        assert sessions(second) == 1  # to know its name


async def test_the_other_servers_are_not_asked_at_every_look_at_a_low_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redundancy, "LOOK_EVERY_SECONDS", 1000)
    async with plc(one) as first, plc(one) as second:
        for server in (first, second):
            await server.set_level(100)
        async with reading(first.endpoint, second.endpoint) as plant:
            await until(lambda: plant.source.is_up and first.levels_read > 10, "the first server is not read")
            assert sessions(second) == 1


@pytest.mark.parametrize("order", [1, -1])
async def test_servers_with_different_names_are_not_read_without_a_common_one(order: int) -> None:
    async with plc(one, uri=HERE) as here, plc(one, uri=THERE) as there:
        endpoints = [here.endpoint, there.endpoint][::order]
        async with reading(*endpoints) as plant:
            await until(lambda: "set server_uri" in (plant.source.problem or ""), "it is not told")
            assert not plant.source.is_up
            assert not plant.values
            await there.server.set_application_uri(HERE)
            await until(lambda: plant.source.is_up, "it does not go on when the servers are alike")
            assert plant.source.problem is None


async def test_a_common_name_makes_the_readings_of_both_servers_the_same() -> None:
    """Also those of the server's own namespace, which is called like the server."""

    async def two(server: Plc) -> None:
        await one(server)
        await server.server.nodes.objects.add_variable(ua.NodeId("own", 1), ua.QualifiedName("own", 1), 5.0)

    async with plc(two, uri=HERE) as here, plc(two, uri=THERE) as there:
        given = {"server_uri": "urn:test:pair", "namespace_uri": None, "nodes": {"include": [{"namespace": "urn:test:*"}]}}
        async with reading(here.endpoint, **given) as one_gateway, reading(there.endpoint, **given) as another:
            await until(lambda: one_gateway.names == another.names == {"a", "own"}, "not all is read")
            found = [{sample.source for sample in plant.intake.samples} for plant in (one_gateway, another)]
            assert found[0] == found[1]
            assert all(source.startswith("urn:test:pair#nsu=urn:test:") for source in found[0])


async def test_a_server_that_turns_out_to_have_another_name_is_told_and_never_read_instead() -> None:
    """What is read is not stopped for it: that would lose more than it saves."""
    port = free_port()
    async with plc(one, uri=HERE) as here:
        link = await Link("127.0.0.1", here.port).start()
        async with reading(f"opc.tcp://127.0.0.1:{link.port}", f"opc.tcp://127.0.0.1:{port}") as plant:
            await until(lambda: plant.source.is_up, "the first server is not read")
            async with plc(one, uri=THERE, port=port) as there:
                await until(lambda: "set server_uri" in (plant.source.notice or ""), "it is not told")
                assert (plant.source.is_up, plant.tally.lost) == (True, {})
                looked = sessions(there)
                link.refuse()
                await until(lambda: sessions(there) > looked, "the other server is not looked at")
                for value in (2, 3):
                    await show(value, here)
                link.mend()
                await until(lambda: len(plant.values) == 3, "what the first server has kept is not fetched")
            assert plant.values == [("a", 1), ("a", 2), ("a", 3)]
            assert {sample.source for sample in plant.intake.samples} == {f"{HERE}#nsu={NAMESPACE};s=a"}
            assert plant.tally.lost == {}
        await link.stop()


async def test_where_nothing_can_be_reached_the_session_is_not_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """A gateway whose own network is away finds at the first server what it has kept for it."""
    async with plc(one) as first, plc(one) as second, AsyncExitStack() as stack:
        links = [await Link("127.0.0.1", server.port).start() for server in (first, second)]
        for link in links:
            stack.push_async_callback(link.stop)
        async with reading(*(f"opc.tcp://127.0.0.1:{link.port}" for link in links)) as plant:
            await until(lambda: plant.values == [("a", 1)], "the first server is not read")
            caplog.set_level("DEBUG", redundancy.__name__)
            for link in links:
                link.refuse()
            await until(lambda: not plant.source.is_up, "the cut is not noticed")
            for value in (2, 3, 4):
                await show(value, first)
            assert "can't be read" in (plant.source.problem or "")
            another = f":{links[1].port} can't be read at the moment"
            await until(lambda: another in caplog.text, "the other server is not tried")
            links[0].mend()
            await until(lambda: len(plant.values) == 4, "what the server has kept is not fetched")
            links[1].mend()
            assert plant.values == [("a", 1), ("a", 2), ("a", 3), ("a", 4)]
            assert plant.tally.lost == {}


async def test_a_silent_server_is_left_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_sender.sources.opcua import connection

    monkeypatch.setattr(connection, "REQUEST_SECONDS", 1.0)
    async with plc(one) as first, plc(one) as second:
        link = await Link("127.0.0.1", first.port).start()
        async with reading(f"opc.tcp://127.0.0.1:{link.port}", second.endpoint) as plant:
            await until(lambda: plant.values == [("a", 1)], "the first server is not read")
            link.cut()
            await show(2, second)
            await until(lambda: plant.values[-1] == ("a", 2), "the second server is not read")
            assert plant.source.place == second.endpoint
        await link.stop()


async def test_the_check_opens_its_session_at_the_server_that_is_read() -> None:
    first = plc(one)
    async with plc(one) as second:
        server = await first.__aenter__()
        config = config_of(server.endpoint, second.endpoint)
        async with reading(server.endpoint, second.endpoint) as plant:
            await until(lambda: plant.source.is_up, "the first server is not read")
            probes = [make_probe(config, "test", plant.source)]
            await first.__aexit__(None, None, None)
            await until(lambda: plant.source.is_up and plant.source.place == second.endpoint, "it does not move")
            probes.append(make_probe(config, "test", plant.source))
            places = [probe.place for probe in probes if isinstance(probe, OpcUaSource)]
            assert places == [server.endpoint, second.endpoint]
            running = asyncio.create_task(probes[1].run(intake := ListIntake()))
            await until(lambda: len(intake.samples) == 1, "the second subscription delivers nothing")
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert intake.samples[0] == plant.intake.samples[-1]


@pytest.mark.parametrize("is_named", [False, True])
async def test_two_machines_with_one_application_uri_are_told(is_named: bool) -> None:
    namesakes = Namesakes()
    async with plc(one) as left, plc(one) as right:
        given: list[dict[str, Any]] = [{"server_uri": uri} if is_named else {} for uri in ("urn:left", "urn:right")]
        sources = [
            source_of(server.endpoint, namesakes=namesakes, name=name, **more)
            for server, name, more in zip((left, right), ("l", "r"), given, strict=True)
        ]
        intakes = [ListIntake(), ListIntake()]
        running = [asyncio.create_task(source.run(intake)) for source, intake in zip(sources, intakes, strict=True)]
        await until(
            lambda: all(source.is_up and intake.samples for source, intake in zip(sources, intakes, strict=True)), "-"
        )
        names = {intake.samples[0].source.partition("#")[0] for intake in intakes}
        if is_named:
            assert names == {"urn:left", "urn:right"}
            assert [source.notice for source in sources] == [None, None]
        else:
            assert names == {SERVER_URI}
            for source in sources:
                assert "1 variables of the same source URI" in (source.notice or "")
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@dataclass
class ListUplink:
    sent: list[tuple[str, Any]] = field(default_factory=list)
    """Id and value of each reading."""

    async def connect(self) -> None:
        return

    async def lost(self) -> None:
        await asyncio.Event().wait()

    async def send(self, message: Message) -> None:
        self.sent += [(part["id"], part["data"]["value"]) for part in json.loads(message.body)]

    async def close(self) -> None:
        return

    @property
    def values(self) -> list[Any]:
        return [value for _, value in self.sent]


@asynccontextmanager
async def gateway(spool: Path, *endpoints: str, **given: Any) -> AsyncIterator[tuple[Sender, ListUplink]]:
    source = json.loads(config_of(*endpoints, **given).model_dump_json(exclude_defaults=True))
    uplink = ListUplink()
    async with running_sender(source, uplink, spool_path=str(spool)) as sender:
        yield sender, uplink


async def test_over_a_fail_over_two_gateways_lose_nothing_send_nothing_twice_and_agree_on_all_ids(tmp_path: Path) -> None:
    """Each of the pair's servers is the first one of one gateway; one of them dies while the machine goes on."""
    first, pair = plc(one, uri=HERE), {"server_uri": "urn:test:pair"}
    async with plc(one, uri=THERE) as there:
        here = await first.__aenter__()
        async with (
            gateway(tmp_path / "a.db", here.endpoint, there.endpoint, **pair) as (moving, a),
            gateway(tmp_path / "b.db", there.endpoint, here.endpoint, **pair) as (_, b),
        ):
            await until(lambda: a.values == b.values == [1], "not both gateways send")
            for value in range(2, 6):
                await show(value, here, there)
            await until(lambda: len(a.sent) == len(b.sent) == 5, "readings are missing")
            await first.__aexit__(None, None, None)
            moved = moving.sources[0]
            assert moved.tally is not None
            skipped = moved.tally.skipped
            await until(lambda: skipped["repeated"] == 1, "the first notification of the new server is not recognised")
            for value in range(6, 10):
                await show(value, there)
            await until(lambda: len(b.sent) == 9 and 9 in a.values, "readings are missing")
            assert b.values == list(range(1, 10))
            assert a.values == list(range(1, 10))  # nothing changed while it was between the two
            assert a.sent == b.sent
            assert moved.tally.lost == {"interruption": 1}
            counted = {"source": "plc", "reason": "unreachable"}
            assert make_registry(moving).get_sample_value("edge_source_fail_overs_total", counted) == 1
            assert status(moving)["sources"][0]["fail_overs"] == {"unreachable": 1, "service-level": 0}


async def test_what_changes_between_two_servers_is_counted_and_another_gateway_has_it(tmp_path: Path) -> None:
    first = plc(one)
    async with plc(one) as second:
        here, link = await first.__aenter__(), await Link("127.0.0.1", second.port).start()
        link.refuse()
        async with (
            gateway(tmp_path / "a.db", here.endpoint, f"opc.tcp://127.0.0.1:{link.port}") as (moving, a),
            gateway(tmp_path / "b.db", second.endpoint, here.endpoint) as (_, b),
        ):
            await until(lambda: a.values == b.values == [1], "not both gateways send")
            await first.__aexit__(None, None, None)
            await until(lambda: not moving.sources[0].source.is_up, "the loss is not noticed")
            for value in range(2, 6):
                await show(value, second)
            await until(lambda: len(b.sent) == 5, "the other gateway has lost readings")
            link.mend()
            await until(lambda: a.values[-1] == 5, "it does not fail over")
            await show(6, second)
            await until(lambda: a.values[-1] == b.values[-1] == 6, "the gateway does not go on")
            assert (a.values, b.values) == ([1, 5, 6], [1, 2, 3, 4, 5, 6])
            assert set(a.sent) < set(b.sent)  # it has lost some, and has no id of its own
            tally = moving.sources[0].tally
            assert tally is not None
            assert tally.lost == {"interruption": 1}
        await link.stop()
