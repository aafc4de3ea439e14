"""How often the hubs' metadata is asked for: each question costs the SDK a connection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from dedup_service.joined import Joined
from dedup_service.partitions.sampling import IDLE_SECONDS, Sampling
from dedup_service.telemetry import Telemetry
from tests.doubles.memory import MemoryClaims, MemoryClock, MemoryLeases, MemoryPublisher
from tests.support.groups import admission_of
from tests.support.shared import shared_of

OUTPUTS = [str(n) for n in range(8)]
INTERVAL_SECONDS = 3.0


@dataclass(slots=True)
class CountingHub(MemoryPublisher):
    asked: int = 0

    async def ends(self) -> dict[str, int]:
        self.asked += 1
        await asyncio.sleep(0)
        return {partition: len(log) - 1 for partition, log in self.partitions.items()}


@dataclass
class Deployment:
    clock: MemoryClock = field(default_factory=MemoryClock)
    clean: CountingHub = field(default_factory=lambda: CountingHub({name: [] for name in OUTPUTS}))
    leases: MemoryLeases = field(init=False)

    def __post_init__(self) -> None:
        self.leases = MemoryLeases(self.clock, [])

    def pod(self, outputs: list[str] = OUTPUTS) -> Sampling:
        shared = shared_of(
            admission_of(),
            self.clock,
            Telemetry(),
            claims=MemoryClaims(self.clock),
            clean=self.clean,
            dead_letters=None,
            clean_partitions=outputs,
        )
        return Sampling(shared, self.leases, INTERVAL_SECONDS)


async def rounds(pod: Sampling, deployment: Deployment, seconds: float, *, sends: bool) -> None:
    """As the assignment makes them."""
    for _ in range(round(seconds / 0.5)):
        deployment.clock.ms += 500
        pod.saw(deployment.leases.sample)
        pod._shared.newest_sample.is_behind |= sends
        pod.take_if_due()
        for _ in range(10):
            await asyncio.sleep(0)


async def test_all_partitions_of_all_pods_begin_with_one_sample() -> None:
    deployment = Deployment()
    pods = [deployment.pod() for _ in range(5)]
    samples = await asyncio.gather(*(pod.first() for pod in pods for _ in range(20)))
    assert samples == [dict.fromkeys(OUTPUTS, -1)] * 100
    assert deployment.clean.asked == 1


async def test_a_sample_that_lacks_an_output_is_not_begun_with() -> None:
    """The output that it lacks would be read back from its beginning."""
    deployment = Deployment()
    await deployment.leases.save_sample({"0": 5}, INTERVAL_SECONDS)
    assert (await deployment.pod().first()).keys() == set(OUTPUTS)


async def test_nobody_asks_where_the_clean_stream_ends_while_nothing_is_sent() -> None:
    deployment = Deployment()
    pod = deployment.pod()
    await rounds(pod, deployment, 10 * IDLE_SECONDS, sends=False)
    assert deployment.clean.asked <= 11
    deployment.clean.asked = 0
    await rounds(pod, deployment, 10 * INTERVAL_SECONDS, sends=True)
    assert 9 <= deployment.clean.asked <= 11


async def test_what_many_ask_at_once_is_asked_once_and_no_answer_is_older_than_its_question() -> None:
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        mine = asked
        await asyncio.sleep(0.01)
        return mine

    joined = Joined(ask)
    first = [asyncio.create_task(joined.get()) for _ in range(50)]
    await asyncio.sleep(0.005)
    later = [asyncio.create_task(joined.get()) for _ in range(50)]
    assert await asyncio.gather(*first) == [1] * 50
    assert await asyncio.gather(*later) == [2] * 50
