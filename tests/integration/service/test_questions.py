"""What pods ask the hubs at their first start grows with the partitions and with the pods, and with no product of these."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from dedup_service.core.clean_retention import ASKED
from sandbox.hub.stand_in import HubOptions, StandIn
from tests.support.service import DEADLINE_SECONDS, RunningService, running_service

INPUTS, OUTPUTS, PODS = 24, 12, 4


@pytest.fixture
async def large_hub() -> AsyncIterator[StandIn]:
    running = StandIn(
        HubOptions(amqp_port=0, mqtt_port=None, hubs={"telemetry": INPUTS, "clean": OUTPUTS, "dead-letter": 1})
    )
    await running.start()
    yield running
    await running.stop()


def asking_in_the_background() -> bool:
    return any("_warn_of_retention" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def test_no_question_is_asked_by_each_pod_for_each_partition(
    large_hub: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    async with AsyncExitStack() as stack:
        pods: list[RunningService] = [
            await stack.enter_async_context(running_service(large_hub, redis_url, tmp_path, namespace)) for _ in range(PODS)
        ]
        async with asyncio.timeout(DEADLINE_SECONDS):
            while sum(len(pod.telemetry.partitions) for pod in pods) < INPUTS or asking_in_the_background():
                await asyncio.sleep(0.05)
        asked = large_hub.broker.traffic.questions
    assert asked["clean"] <= PODS * (ASKED + 4) + 3 * OUTPUTS, "twice that, if each pod asked about each partition once more"
    assert asked["telemetry"] <= PODS * 3 + INPUTS * 4
    assert asked["dead-letter"] <= PODS * 3
