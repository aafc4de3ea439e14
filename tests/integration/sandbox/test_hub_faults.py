"""Faults that a test or a chaos run sets in the stand-in do what they say."""

from __future__ import annotations

import asyncio

import pytest

from sandbox.hub.log import Partition
from sandbox.hub.stand_in import StandIn
from tests.support import hub

HELD_SECONDS = 0.4


@pytest.fixture
def partition(stand_in: StandIn) -> Partition:
    return stand_in.namespace.hubs["telemetry"].partitions[0]


async def test_whoever_asks_is_told_of_a_send_that_is_applied_and_not_acknowledged_yet(
    stand_in: StandIn, partition: Partition
) -> None:
    ports = [await stand_in.listen_also() for _ in range(2)]
    faults, told = stand_in.namespace.hubs["telemetry"].faults, asyncio.Queue[tuple[int, int]]()
    faults.late_ack_seconds = HELD_SECONDS
    faults.on_late_ack = lambda port: told.put_nowait((port, len(partition.entries)))
    for number, port in enumerate(ports, start=1):
        text = stand_in.connection_string("telemetry").replace(f":{stand_in.amqp_port}/", f":{port}/")
        sending = asyncio.create_task(hub.send(text, [hub.event("x")]))
        assert await asyncio.wait_for(told.get(), hub.TIMEOUT_SECONDS) == (port, number)
        held_at = asyncio.get_running_loop().time()
        await sending
        assert asyncio.get_running_loop().time() - held_at > HELD_SECONDS / 2


async def test_only_a_share_of_the_acknowledgements_is_late(stand_in: StandIn, partition: Partition) -> None:
    faults, late = stand_in.namespace.hubs["telemetry"].faults, 0

    def count(_: int) -> None:
        nonlocal late
        late += 1

    faults.late_ack_seconds, faults.late_ack_share, faults.on_late_ack = 0.001, 0.5, count
    await hub.send(stand_in.connection_string("telemetry"), [hub.event("x") for _ in range(50)])
    assert 0 < late < len(partition.entries) == 50


async def test_a_restart_keeps_every_port(stand_in: StandIn) -> None:
    port = await stand_in.listen_also()
    await stand_in.restart(seconds_down=0.0, keep_log=True)
    for number in (stand_in.amqp_port, port):
        text = stand_in.connection_string("telemetry").replace(f":{stand_in.amqp_port}/", f":{number}/")
        await hub.send(text, [hub.event("x")])
