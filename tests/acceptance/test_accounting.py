"""The redundancy figures against an independent count: what the replicas sent, and the winners in the clean stream.

With losses, delays, conflicts, self-duplicates, batches, a late backlog, and service processes that are killed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sandbox.hub.stand_in import StandIn
from tests.support import edges, hub
from tests.support.processes import DEADLINE_SECONDS, ServiceProcess

REPLICAS, SOURCES, READINGS = 3, 12, 80
KILLS = 6
LAG_ERROR = 0.05
GROUPS = "groups: [{name: plant, devices: ['edge-*'], expected_replicas: 3, silent_after_seconds: 15}]\n"
Key = tuple[str, str]


@dataclass
class Copy:
    replica: int
    key: Key
    sequence: int
    content: int
    at_ms: int


@dataclass
class Plant:
    """What each replica sends, and when, independent of how the service counts."""

    rng: random.Random
    start_ms: int
    copies: list[Copy] = field(default_factory=list)
    """In the order in which each replica sends them."""

    def make(self) -> None:
        for replica in range(REPLICAS):
            mine = [copy for n in range(READINGS) for source in range(SOURCES) for copy in self._copies(replica, source, n)]
            self.copies += sorted(mine, key=lambda copy: copy.at_ms)

    def _copies(self, replica: int, source: int, n: int) -> list[Copy]:
        if (source * READINGS + n) % 37 == 5:
            return []  # lost by every replica
        if self.rng.random() < (0.02, 0.1, 0.2)[replica]:
            return []
        delay = int(self.rng.lognormvariate((2, 4, 5)[replica], 0.8)) + (4000 if replica == 2 and n < 20 else 0)
        at_ms = self.start_ms + 50 * n + 3 * source + delay
        deviates = self.rng.random() < 0.03
        times = 2 if self.rng.random() < 0.02 else 1
        key, content = (f"urn:plant:{source}", f"{source}-{n}"), int(deviates) * (replica + 1)
        return [Copy(replica, key, n, content, at_ms) for _ in range(times)]

    def messages(self) -> list[tuple[int, int, Any]]:
        """(replica, time, message) in chronological order: singly, or in batches whose boundaries differ."""
        made = []
        for replica in range(REPLICAS):
            mine = [copy for copy in self.copies if copy.replica == replica]
            while mine:
                size = 1 if replica == 0 else self.rng.randint(1, 9)
                chunk, mine = mine[:size], mine[size:]
                for copy in chunk:
                    copy.at_ms = max(copy.at_ms, chunk[-1].at_ms)  # enqueued together
                events = [_event(copy) for copy in chunk]
                message = edges.single(events[0]) if replica == 0 else edges.batch(events)
                made.append((replica, chunk[-1].at_ms, message))
        return sorted(made, key=lambda item: item[1])


def _event(copy: Copy) -> dict[str, Any]:
    source, reading_id = copy.key
    sequence = {"sequence": f"{copy.sequence:020}", "sequenceepoch": "1"}
    return {"specversion": "1.0", "type": "t", "source": source, "id": reading_id, "data": copy.content, **sequence}


async def winners(stand_in: StandIn) -> dict[Key, int]:
    """The replica whose copy of each reading was published, according to the clean stream."""
    replicas: dict[Key, int] = {}
    for event in await hub.read_all(stand_in.connection_string("clean")):
        properties = hub.properties(event)
        device = properties["iothub-connection-device-id"]
        replica = int((device.decode() if isinstance(device, bytes) else device).removeprefix("edge-"))
        if event.content_type == hub.BATCH:
            keys = [(part["source"], part["id"]) for part in hub.elements(event)]
        else:
            keys = [(properties["cloudEvents_source"].decode(), properties["cloudEvents_id"].decode())]
        for key in keys:
            assert key not in replicas, f"{key} was published twice"
            replicas[key] = replica
    return replicas


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1)]


async def until_counted(service: ServiceProcess, copies: int) -> None:
    """Wait until the figures include all copies: an answer may be a second old."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            groups = await asyncio.to_thread(service.ask, "groups")
            if groups and groups[0]["figures"]["24h"]["copies"] >= copies:
                return
            await asyncio.sleep(0.2)


@pytest.fixture
def config_file(tmp_path: Path) -> str:
    path = tmp_path / "groups.yaml"
    path.write_text(GROUPS)
    return str(path)


async def test_the_figures_are_exact(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str, config_file: str
) -> None:
    rng = random.Random(4)
    plant = Plant(rng, int(time.time() * 1000) - 30_000)
    plant.make()
    messages = plant.messages()
    services = [ServiceProcess(stand_in, redis_url, tmp_path, namespace, DEDUP_CONFIG_FILE=config_file) for _ in range(2)]
    try:
        telemetry = stand_in.namespace.hubs["telemetry"]
        kill_at = {len(messages) * (n + 1) // (KILLS + 1) for n in range(KILLS)}
        for place, (replica, at_ms, message) in enumerate(messages):
            edges.deliver(telemetry, replica, f"edge-{replica}", message, at_ms)
            await asyncio.sleep(0.005)
            if place in kill_at:
                victim = rng.choice(services)
                await asyncio.sleep(rng.uniform(0.0, 2.0))
                victim.process.kill()
                await victim.wait()
                victim.start()
        for service in services:
            await service.until_finished(stand_in)
            await until_counted(service, len(plant.copies))
        groups, replicas, gaps = [
            await services[n % 2].answer(what) for n, what in enumerate(("groups", "replicas", "gaps?limit=500"))
        ]
        won = await winners(stand_in)
    finally:
        for service in services:
            service.process.kill()
            service.process.wait()
    check(plant, won, groups[0], replicas, gaps["items"])


def check(plant: Plant, won: dict[Key, int], group: dict[str, Any], replicas: Any, gaps: list[dict[str, Any]]) -> None:
    by_key: dict[Key, list[Copy]] = defaultdict(list)
    for copy in plant.copies:
        by_key[copy.key].append(copy)
    assert set(won) == set(by_key)
    first = {key: next(c for c in copies if c.replica == won[key]) for key, copies in by_key.items()}

    figures = group["figures"]["24h"]
    delivered = Counter(len({copy.replica for copy in copies}) for copies in by_key.values())
    assert figures["readings"] == len(by_key)
    assert figures["copies"] == len(plant.copies)
    assert {int(k): n for k, n in figures["by_replicas"].items()} == dict(delivered)
    assert figures["sole_source_share"] == pytest.approx(delivered[1] / len(by_key))
    conflicts = [copy for key, copies in by_key.items() for copy in copies if copy.content != first[key].content]
    assert figures["conflicts"] == len(conflicts)

    for item in replicas:
        number, mine = int(item["replica"].removeprefix("edge-")), item["figures"]["24h"]
        keys = {copy.key for copy in plant.copies if copy.replica == number}
        assert mine["copies"] == sum(copy.replica == number for copy in plant.copies)
        assert mine["coverage"] == pytest.approx(len(keys) / len(by_key))
        assert mine["first"] == sum(replica == number for replica in won.values())
        assert mine["first_share"] == pytest.approx(mine["first"] / len(by_key))
        assert mine["self_duplicates"] == mine["copies"] - len(keys)
        assert mine["sole"] == sum({c.replica for c in copies} == {number} for copies in by_key.values())
        assert mine["conflicts"] == sum(copy.replica == number for copy in conflicts)
        lags = [
            float(max(0, next(c for c in by_key[key] if c.replica == number).at_ms - first[key].at_ms))
            for key in keys
            if won[key] != number
        ]
        for name, share in (("lag_p50_ms", 0.5), ("lag_p99_ms", 0.99)):
            # A replica whose partition was processed before the others has won everything, and has no lag.
            assert mine[name] == (pytest.approx(percentile(lags, share), rel=LAG_ERROR, abs=1) if lags else None)

    missing: set[Key] = set()
    for source in range(SOURCES):
        seen = sorted(copy.sequence for copy in plant.copies if copy.key[0] == f"urn:plant:{source}")
        missing |= {(f"urn:plant:{source}", str(n)) for n in range(seen[0], seen[-1]) if n not in seen}
    assert {(gap["source"], str(n)) for gap in gaps for n in range(gap["first"], gap["last"] + 1)} == missing
    assert figures["missing"] == len(missing)
