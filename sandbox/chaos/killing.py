"""When a chaos run kills which pod: at any moment, or when the clean hub has a pod's events but has not told it so."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

from sandbox.chaos.pods import Pod, Pods
from sandbox.chaos.takeovers import Kill
from sandbox.hub.log import Faults

PAUSE_SECONDS = (0.5, 4.0)
"""Shortest and longest pause before a kill."""
AIMED_SHARE = 0.7
"""Share of kills that wait for an effect; the others come at any moment."""
LATE_ACK_SECONDS, LATE_ACK_SHARE = 0.3, 0.3
LONGEST_AIM = 1.3 * LATE_ACK_SECONDS
"""Most aimed kills come before the acknowledgement, and some just after it, when its readings are being confirmed."""
AIM_TIMEOUT_SECONDS = 10.0


@dataclass
class Killer:
    pods: Pods
    clean_faults: Faults
    rng: random.Random
    kills: list[Kill] = field(default_factory=list)
    spared: Pod | None = None

    def __post_init__(self) -> None:
        self.clean_faults.late_ack_seconds, self.clean_faults.late_ack_share = LATE_ACK_SECONDS, LATE_ACK_SHARE

    async def kill_one(self) -> None:
        """Kills a pod that is not spared, and starts it again at once."""
        await asyncio.sleep(self.rng.uniform(*PAUSE_SECONDS))
        pod = await self._whose_ack_is_held() if self.rng.random() < AIMED_SHARE else None
        if pod is None or pod is self.spared:
            pod = self.rng.choice([pod for pod in self.pods.all if pod is not self.spared])
        self.kills.append(Kill(pod.name, time.time()))
        await pod.kill()
        await pod.start()

    async def _whose_ack_is_held(self) -> Pod | None:
        """The pod whose events the clean hub holds while it still waits for the acknowledgement; None if nobody sends."""
        held: asyncio.Future[Pod] = asyncio.get_running_loop().create_future()
        by_port = {pod.clean_port: pod for pod in self.pods.all if pod is not self.spared}

        def on_late_ack(port: int) -> None:
            if port in by_port and not held.done():
                held.set_result(by_port[port])

        self.clean_faults.on_late_ack = on_late_ack
        try:
            async with asyncio.timeout(AIM_TIMEOUT_SECONDS):
                pod = await held
        except TimeoutError:
            return None
        finally:
            self.clean_faults.on_late_ack = None
        await asyncio.sleep(self.rng.uniform(0.0, LONGEST_AIM))
        return pod
