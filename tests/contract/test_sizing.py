"""What `dedup-service plan` says of pods that have nothing to do is what they really ask of Redis."""

from __future__ import annotations

import pytest

from benchmarks.scale import HOUR, Size, counted
from benchmarks.starting import first_start
from dedup_service.core.sizing import clean_connections, idle_commands


@pytest.mark.parametrize("size", [Size("S", 4, 4, 2, 1, 3), Size("M", 32, 8, 4, 3, 2)], ids=["S", "M"])
async def test_commands_of_idle_pods_are_as_planned(size: Size) -> None:
    rows = await counted(size)
    by_count = sum(row.per_hour * row.cost.commands for row in rows) / HOUR
    planned = idle_commands(size.pods, size.partitions, groups=size.groups, replicas=size.replicas)
    assert planned == pytest.approx(by_count, rel=0.05)


async def test_what_each_pod_costs_does_not_hide_in_the_number_of_groups() -> None:
    """The overview is made by one pod for all: twice the pods ask twice for everything else, and not for that."""
    few, many = [await counted(Size("x", 8, 4, pods, 4, 2)) for pods in (4, 8)]
    made = [next(row for row in rows if row.what == "overviews made") for rows in (few, many)]
    assert made[0].per_hour == made[1].per_hour
    assert made[0].cost.commands == made[1].cost.commands


async def test_pods_keep_the_connections_that_are_planned() -> None:
    partitions, outputs, pods = 6, 3, 2
    start = await first_start(partitions, outputs, pods, idle_seconds=4)
    planned = partitions + clean_connections(pods, outputs)
    assert planned <= start.connections <= planned + pods, "besides, each pod may just be asking"
