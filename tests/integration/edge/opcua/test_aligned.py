"""`sampling: aligned`: gateways that read at the same moments share their ids, whatever the server does for each of them."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any

from asyncua import ua
from asyncua.common.utils import ServiceError

from edge_sender.config.opcua import OpcUaConfig
from edge_sender.counters import SourceTally
from edge_sender.namesakes import Namesakes
from edge_sender.observability.telemetry import make_registry, status
from edge_sender.ports import Message
from edge_sender.sender import Sender
from edge_sender.sources.opcua.grid import GridClock
from edge_sender.sources.opcua.redundancy import Redundancy
from edge_sender.sources.opcua.servers import Server
from edge_sender.sources.opcua.source import OpcUaSource
from sandbox.plant.stamping import Stamping, StampingSubscriptions
from tests.doubles.intake import ListIntake
from tests.support.plc import NAMESPACE, Plc, config_of, plc, reading, variant_of
from tests.support.senders import running_sender, until

INTERVAL_NS = 500_000_000
ALIGNED = {"sampling": "aligned", "interval_seconds": 0.5}
NAMES = ("a", "b", "c")


@dataclass
class Hub:
    readings: list[dict[str, Any]] = field(default_factory=list)

    async def connect(self) -> None:
        return

    async def lost(self) -> None:
        await asyncio.Event().wait()

    async def send(self, message: Message) -> None:
        self.readings += json.loads(message.body)

    async def close(self) -> None:
        return


@asynccontextmanager
async def gateway(endpoint: str, hub: Hub, **given: Any) -> AsyncIterator[Sender]:
    source = {"name": "plc", "kind": "opcua", "endpoint": endpoint, "namespace_uri": NAMESPACE, **given}
    async with running_sender(source, hub, identity_check_seconds=3) as sender:
        yield sender


async def samples_for_each(server: Plc) -> None:
    """A server that takes another sample, with a stamp of its own, for each subscription and each Read."""
    nodes = [await server.add(name) for name in NAMES]
    internal, numbers = server.server.iserver, count()
    intervals = dict.fromkeys((node.nodeid for node in nodes), INTERVAL_NS)
    internal.subscription_service = StampingSubscriptions(internal, intervals, Stamping(), random.Random(1))
    for node in nodes:

        def sample(_node: ua.NodeId, _attribute: ua.AttributeIds) -> ua.DataValue:
            return ua.DataValue(variant_of(next(numbers)), SourceTimestamp=datetime.now(UTC))

        internal.aspace.set_attribute_value_callback(node.nodeid, ua.AttributeIds.Value, sample)


async def test_two_gateways_share_all_ids_at_a_server_that_samples_for_each() -> None:
    hubs = Hub(), Hub()
    identity = "*=a=source-time,*=time-bucket:0.5"
    async with (
        plc(samples_for_each) as server,
        gateway(server.endpoint, hubs[0], identity=identity, **ALIGNED) as one,
        gateway(server.endpoint, hubs[1], identity=identity, **ALIGNED) as two,
    ):
        await until(lambda: all(len(hub.readings) >= 24 for hub in hubs), "nothing is read")
        (shown,) = status(one)["sources"]
        registry = make_registry(one)
    start = max(min(item["time"] for item in hub.readings) for hub in hubs)
    end = min(max(item["time"] for item in hub.readings) for hub in hubs)
    both = [{(item["source"], item["id"]) for item in hub.readings if start <= item["time"] <= end} for hub in hubs]
    assert len(both[0] & both[1]) >= 9
    assert len(both[0] ^ both[1]) <= sum(missed(sender) for sender in (one, two))
    assert all(datetime.fromisoformat(item["time"]).microsecond in (0, 500_000) for hub in hubs for item in hub.readings)
    values = [{item["id"]: item["data"]["value"] for item in hub.readings} for hub in hubs]
    assert all(values[0][name] != values[1][name] for name in values[0].keys() & values[1].keys())
    assert all(set(item["data"]) == {"value", "status"} for item in hubs[0].readings)
    assert shown["identity"] is None  # nobody accuses it of jitter
    assert isinstance(registry.get_sample_value("edge_source_clock_offset_seconds", {"source": "plc"}), float)


def missed(sender: Sender) -> int:
    tally = sender.sources[0].tally
    assert tally is not None
    return tally.lost["missed"]


async def test_subscriptions_to_the_same_server_share_none() -> None:
    """Without which the test above would show nothing."""
    hubs = Hub(), Hub()
    async with (
        plc(samples_for_each) as server,
        gateway(server.endpoint, hubs[0], identity="source-time", publishing_ms=50),
        gateway(server.endpoint, hubs[1], identity="source-time", publishing_ms=50),
    ):
        await until(lambda: all(len(hub.readings) >= 3 for hub in hubs), "nothing is subscribed to")
        first = [len(hub.readings) for hub in hubs]
        for number in range(5):
            await server.show(server.server.get_node(ua.NodeId("a", server.index())), number, at_ms=1000 * (number + 1))
        await until(lambda: all(len(hub.readings) >= 5 + at for hub, at in zip(hubs, first, strict=True)), "none changed")
    later = [{item["id"] for item in hub.readings[at:]} for hub, at in zip(hubs, first, strict=True)]
    assert later[0] & later[1] == set()


async def many(server: Plc) -> None:
    for number in range(25):
        await server.add(f"v{number}", number)


async def test_requests_are_cut_to_what_the_server_accepts() -> None:
    async with plc(many, most={"read": 10}) as server, reading(server.endpoint, **ALIGNED) as one:
        await until(lambda: len(one.names) == 25, "not all are read")
        before = len(server.sizes["read"])
        read = len(one.intake.samples)
        await until(lambda: len(one.intake.samples) >= read + 50, "it stops")
        assert max(server.sizes["read"][before + 1 :]) <= 10
        assert len({(sample.source, sample.time_ns) for sample in one.intake.samples}) == len(one.intake.samples)


async def test_a_variable_whose_answer_can_not_be_had_costs_itself() -> None:
    def refuse_odd(nodes: list[ua.NodeId]) -> None:
        if any(node.Identifier == "v7" for node in nodes):
            raise ServiceError(ua.StatusCodes.BadInternalError)

    async with plc(many, before_read=refuse_odd) as server, reading(server.endpoint, **ALIGNED) as one:
        await until(lambda: len(one.names) == 24, "the others are not read")
        await until(lambda: one.tally.lost["undecodable"] > 0, "it is not counted")
        assert [name.rpartition("=")[2] for name in one.tally.troubled] == ["v7"]


@dataclass
class SlowTime:
    """A clock of a gateway on which each Read takes as long as the test says. Nobody waits for it."""

    read_ns: int = 0
    passed_ns: int = 0

    def read(self, nodes: list[ua.NodeId]) -> None:
        if any(node.Identifier == "v7" for node in nodes):
            self.passed_ns += self.read_ns

    def port(self) -> GridClock:
        return GridClock(lambda: time.time_ns() + self.passed_ns, lambda: time.monotonic_ns() + self.passed_ns)


async def test_what_is_late_by_more_than_half_an_interval_is_counted_and_never_another_point_s() -> None:
    slow, tally, intake = SlowTime(read_ns=300_000_000), SourceTally(), ListIntake()
    async with plc(many, before_read=slow.read) as server:
        config = config_of(server.endpoint, **ALIGNED)
        assert isinstance(config, OpcUaConfig)
        servers = Redundancy([Server(server.endpoint)], is_named=False)
        source = OpcUaSource("plc", config, tally, servers, Namesakes(), clock=slow.port())
        running = asyncio.create_task(source.run(intake))
        try:
            await until(lambda: tally.lost["missed"] >= 50, "it is not counted")
            assert intake.samples == []
            slow.read_ns = 0
            await until(lambda: len(intake.samples) >= 50, "it does not go on")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert tally.lost["missed"] % 25 == 0
    assert all(sample.time_ns is not None and sample.time_ns % INTERVAL_NS == 0 for sample in intake.samples)
    assert tally.clock_steps == 0


async def test_when_one_of_two_servers_dies_the_other_one_is_read_at_the_same_moments() -> None:
    """Without a stamp of any server: nothing is without a time, and no moment has two readings."""
    first = plc(samples_for_each)
    async with plc(samples_for_each) as second:
        server = await first.__aenter__()
        async with reading(server.endpoint, second.endpoint, **ALIGNED) as one:
            await until(lambda: one.names == set(NAMES), "nothing is read")
            await first.__aexit__(None, None, None)
            await until(lambda: one.source.is_up and one.source.place == second.endpoint, "it does not move")
            before = len(one.intake.samples)
            await until(lambda: len(one.intake.samples) >= before + 6, "the second server is not read")
    moments = [(sample.source, sample.time_ns) for sample in one.intake.samples]
    assert len(moments) == len(set(moments))
    assert all(time_ns is not None and time_ns % INTERVAL_NS == 0 for _, time_ns in moments)
    assert len({source for source, _ in moments}) == len(NAMES)
    assert one.tally.lost["interruption"] == 1
    assert one.tally.without_time == 0


async def test_a_server_in_maintenance_is_left_for_the_other_one() -> None:
    async with (
        plc(samples_for_each) as first,
        plc(samples_for_each) as second,
        reading(first.endpoint, second.endpoint, **ALIGNED) as one,
    ):
        await until(lambda: one.names == set(NAMES), "nothing is read")
        await first.set_level(0)
        await until(lambda: one.source.is_up and one.source.place == second.endpoint, "it does not move")
        before = len(one.intake.samples)
        await until(lambda: len(one.intake.samples) >= before + 6, "the second server is not read")
    moments = [(sample.source, sample.time_ns) for sample in one.intake.samples]
    assert len(moments) == len(set(moments))


async def test_it_goes_on_after_a_restart_of_the_server_and_finds_what_is_new() -> None:
    first = plc(samples_for_each)
    server = await first.__aenter__()
    async with reading(server.endpoint, browse_seconds=1, **ALIGNED) as one:
        await until(lambda: one.names == set(NAMES), "nothing is read")
        await first.__aexit__(None, None, None)
        await until(lambda: not one.source.is_up, "the loss is not noticed")
        lost = time.time_ns() // INTERVAL_NS
        await until(lambda: time.time_ns() // INTERVAL_NS > lost + 1, "no moment passes")
        async with plc(samples_for_each, port=server.port) as again:
            count_before = len(one.intake.samples)
            await until(lambda: len(one.intake.samples) > count_before, "it is not read again")
            await again.add("new", 1)
            await until(lambda: "new" in one.names, "what is new is not found")
    times = [(sample.source, sample.time_ns) for sample in one.intake.samples]
    assert len(times) == len(set(times))
    assert one.tally.lost["missed"] + one.tally.lost["interruption"] > 0
