"""How fast the stand-in is, in events per CPU second: faster than the SDK's bare receive loop, which is measured with it."""

from __future__ import annotations

import time
from dataclasses import replace

from benchmarks.baselines import running_loop
from benchmarks.events import Load, input_log
from benchmarks.results import Section, at_least, middle
from benchmarks.rounds import Took
from benchmarks.stage import Log, running_hub

LOADS = {"single readings": Load(20_000), "batches of 20": Load(200_000, batch=20)}


async def stand_in(rounds: int) -> Section:
    section = Section(
        "The stand-in, received from by the SDK's bare loop",
        "CPU of both while the loop drains a full hub, medians; the ratio is that of one round. The stand-in's includes "
        "connections and requests of the loop's start, the loop's begins with its first event.",
        ["", "SDK's CPU µs an event", "stand-in's", "÷"],
    )
    for name, load in LOADS.items():
        log = input_log(load)
        took = [await receive(log) for _ in range(rounds)]
        cpu = middle([each.cpu / each.events * 1e6 for each in took])
        hub_cpu = middle([each.hub_cpu / each.events * 1e6 for each in took])
        ratio = middle([each.cpu / each.hub_cpu for each in took])
        section.rows.append([name, cpu, hub_cpu, ratio])
        section.targets.append(at_least(f"{name}: stand-in ÷ the SDK's bare loop, events per CPU second", 3, ratio))
    return section


async def receive(log: Log) -> Took:
    """The loop runs in a process of its own, the stand-in in this one, which does nothing else meanwhile."""
    async with running_hub(len(log)) as hub, running_loop("receive", hub, sum(map(len, log.values()))) as process:
        hub.fill(log)
        before = time.process_time()
        process.begin()
        took = await process.took()
        return replace(took, hub_cpu=time.process_time() - before)
