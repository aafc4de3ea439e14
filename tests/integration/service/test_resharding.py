"""A rolling update changes the number of shards under load, there and back, while the copies of one gateway come late: what
was claimed with one number is known with the other."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from sandbox.hub.stand_in import StandIn
from tests.support.lines import Line
from tests.support.service import RunningService, running_service

QUICK: dict[str, Any] = {"lease_seconds": 3.0, "lease_interval_seconds": 0.3, "send_timeout_seconds": 2.0}
LATE = 2


async def test_another_number_of_shards_loses_nothing_and_doubles_nothing(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    line = Line(stand_in, held_back=LATE)
    stacks: list[AsyncExitStack] = []

    async def roll_out(shards: int) -> RunningService:
        pod = AsyncExitStack()
        running = await pod.enter_async_context(
            running_service(stand_in, redis_url, tmp_path, namespace, shards=shards, **QUICK)
        )
        stacks.append(pod)
        if len(stacks) > 1:
            await running.until(lambda: running.telemetry.waits_for is not None)
            await stacks.pop(0).aclose()
        return running

    try:
        await roll_out(1)
        await line.until_published(60)
        for shards in (4, 1, 4):
            running = await roll_out(shards)
            await line.until_it_goes_on()
            assert line.release() > 0
            line.held_back = LATE
            await line.until_published(60)
        line.release()
        await line.end()
        logs = [log for log in stand_in.namespace.hubs["telemetry"].partitions if log.next_sequence_number]
        await running.until(
            lambda: all(
                log.id in running.telemetry.partitions
                and running.telemetry.partitions[log.id].sequence_number >= log.next_sequence_number - 1
                for log in logs
            )
        )
    finally:
        await line.end()
        for pod in stacks:
            await pod.aclose()
    assert line.lost() == set()
    assert line.doubled() == []
