"""Runs seeds of the simulation: `python -m tests.simulation.simulate [SEED …]`; without seeds, until interrupted."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass

import structlog

from tests.simulation.auditor import Verdict, audit
from tests.simulation.loop import SimulatedLoop, StuckError
from tests.simulation.scenario import ALL, EAST, WEST, Scenario
from tests.simulation.world import World

SCENARIOS = {
    "calm": Scenario(kills=0, freezes=0, lost_replies=0, failed_sends=0),
    "crashes": Scenario(),
    "many crashes": Scenario(kills=12, pods=3, trouble_seconds=60),
    "crash after crash": Scenario(readings=40, kills=20, pods=3, failed_sends=0.4, lost_replies=0.1, trouble_seconds=60),
    "zombies": Scenario(kills=1, freezes=6, pods=3, trouble_seconds=60, queueing_seconds=2.0),
    "bad sends": Scenario(kills=1, failed_sends=0.3),
    "bad network": Scenario(lost_replies=0.2, dropped_readers=0.2),
    "mark": Scenario(mode="mark", kills=4),
    "alone": Scenario(pods=1, kills=4),
    "relay": Scenario(readings=40, kills=10, freezes=0, pods=3, failed_sends=0, lost_replies=0, ahead_events=40),
    "redis forgets": Scenario(forgets=2, is_live=True, trouble_seconds=30),
    "redis forgets twice": Scenario(forgets=8, kills=1, pods=2, is_live=True, trouble_seconds=60),
    "redis forgets, crashes": Scenario(forgets=2, kills=8, freezes=2, pods=3, is_live=True, trouble_seconds=45),
    "redis forgets, cut off": Scenario(
        forgets=2, kills=1, freezes=0, pods=3, outputs=6, cut_offs=3, is_live=True, trouble_seconds=90
    ),
    "redis lags": Scenario(lags=3, kills=2, is_live=True, trouble_seconds=40),
    "redis lags, crashes": Scenario(lags=3, kills=8, freezes=3, pods=3, failed_sends=0.2, is_live=True, trouble_seconds=45),
    "redis lags, zombies": Scenario(
        readings=8, lags=6, kills=0, freezes=20, pods=2, queueing_seconds=3.0, is_live=True, trouble_seconds=50
    ),
    "redis returns": Scenario(returns=2, kills=4, freezes=2, failed_sends=0.3, is_live=True, trouble_seconds=30),
    "redis returns, slowly": Scenario(
        returns=3, kills=0, freezes=6, pods=3, failed_sends=0.3, queueing_seconds=4.0, is_live=True, trouble_seconds=30
    ),
    "redis lags, unnamed": Scenario(pods=1, kills=0, lags=3, shows_server=False, is_live=True, trouble_seconds=40),
    "redis returns, unnamed": Scenario(pods=1, kills=0, returns=2, shows_server=False, is_live=True, trouble_seconds=40),
    "retention": Scenario(
        kills=6,
        freezes=0,
        trouble_seconds=4,
        retention_seconds=30,
        outage_seconds=40,
        wrong_clocks=False,
        twice_in_one_event=0.3,
    ),
    "recreated": Scenario(kills=1, recreations=1),
    "reroutes": Scenario(kills=12, pods=3, trouble_seconds=60, reroutes=True, defects=0.05),
    "stops": Scenario(kills=2, freezes=0, stops=8, pods=3, trouble_seconds=40, queueing_seconds=4.0),
    "input added": Scenario(
        kills=2, freezes=2, pods=3, configurations=((WEST,), (WEST, EAST)), is_live=True, trouble_seconds=40
    ),
    "input removed": Scenario(
        kills=0, freezes=1, pods=3, configurations=((WEST, EAST), (WEST,)), is_live=True, trouble_seconds=40
    ),
    "resharded": Scenario(
        kills=2,
        freezes=3,
        pods=2,
        configurations=((ALL,),) * 3,
        shards=(2, 1, 2),
        queueing_seconds=3.0,
        is_live=True,
        trouble_seconds=60,
    ),
    "beyond limits, refused": Scenario(kills=8, trouble_seconds=30, beyond_limits="dead-letter"),
    "beyond limits, held": Scenario(kills=5, stops=2, trouble_seconds=30, beyond_limits="hold"),
    "defects": Scenario(defects=0.05),
    "cut off": Scenario(kills=1, freezes=0, pods=3, cut_offs=3, trouble_seconds=90),
    "failover": Scenario(kills=0, freezes=0, failovers=2, wrong_clocks=False),
    "expired": Scenario(kills=8, pods=3, expiries=6, failed_sends=0.2, trouble_seconds=40),
    "backlog": Scenario(kills=3, configured_retention_seconds=300),
    "repetitions": Scenario(readings=12, repeats=True, twice_in_one_event=0.1, window_seconds=60, trouble_seconds=150),
}
STUCK = "the pods did not finish"
MAY_DOUBLE = {"retention", "recreated", "expired"}
"""Only Redis, reading the winner again and the clean stream show what was published; where they are gone, it is published
once more."""
LOSES_COPIES = {"failover", "input removed", "beyond limits, refused"}
"""Not all copies are counted: the hub itself loses some, nobody reads them any more, or they are refused."""
LOSES_COUNTS = {"resharded", *(name for name in SCENARIOS if name.startswith("redis "))}
"""Redis forgets what it has counted, too, or it was counted in other shards."""


@dataclass(frozen=True)
class Failure:
    seed: int
    scenario: str
    what: str

    def __str__(self) -> str:
        return f"{self.what}; replay: python -m tests.simulation.simulate {self.seed}  (scenario {self.scenario!r})"


def scenario_of(seed: int) -> str:
    return list(SCENARIOS)[seed % len(SCENARIOS)]


def run(seed: int, name: str | None = None) -> Failure | None:
    """The same seed gives the same run, step by step."""
    name = name or scenario_of(seed)
    logs = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    rng = random.Random(seed)
    loop = SimulatedLoop(rng)
    asyncio.set_event_loop(loop)
    world = World(seed, SCENARIOS[name], loop, rng)
    try:
        loop.run_until_complete(world.run())
    except (TimeoutError, StuckError) as error:
        return Failure(seed, name, f"{STUCK} ({type(error).__name__})")
    finally:
        _abandon(loop)
        structlog.configure(**logs)  # other tests of this process read logs
    return _judge(seed, name, audit(world.emitted, world.clean.events)) or _check_accounts(seed, name, world)


def _judge(seed: int, name: str, verdict: Verdict) -> Failure | None:
    if verdict.lost:
        return Failure(seed, name, f"lost {verdict.lost}")
    if verdict.doubled and name not in MAY_DOUBLE:
        return Failure(seed, name, f"doubled {verdict.doubled}")
    return None


def _check_accounts(seed: int, name: str, world: World) -> Failure | None:
    """Each copy is counted once, whatever was lost, repeated or killed."""
    if name in MAY_DOUBLE | LOSES_COPIES | LOSES_COUNTS:
        return None
    counted, arrived = Counter(world.counted_copies()), Counter(world.arrived_copies())
    return None if counted == arrived else Failure(seed, name, f"counted {counted}, arrived {arrived}")


def _abandon(loop: SimulatedLoop) -> None:
    """Cancels the tasks that dead pods left behind, and those that these start while they end."""
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.wait(tasks, timeout=1000))
    asyncio.set_event_loop(None)
    loop.close()


def main() -> None:
    seeds = map(int, sys.argv[1:]) if len(sys.argv) > 1 else itertools.count(int(time.time()) * 1000)
    done, started = 0, time.monotonic()
    for seed in seeds:
        failure = run(seed)
        done += 1
        if failure is not None:
            raise SystemExit(f"after {done} seeds: {failure}")
        if done % 500 == 0:
            print(f"{done} seeds in {time.monotonic() - started:.0f} s: nothing lost, nothing twice", flush=True)
    print(f"{done} seeds: nothing lost, nothing twice")


if __name__ == "__main__":
    main()
