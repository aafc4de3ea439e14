"""A whole deployment in one event loop: the real assignment, worker and pipeline of several pods on in-memory stores.

The faults, all drawn from the seed: pods are killed at any await and started again or frozen for longer than their lease,
replies are lost, sends are applied without acknowledgement or not at all, connections drop, events are delivered again, wall
clocks are wrong and jump, partitions are slow, and Redis forgets.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from dedup_service.core.accounting import total
from dedup_service.core.events import DEVICE_ID, MESSAGE_SOURCE, InputEvent
from dedup_service.core.leases import LeaseRecord
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.core.times import rfc3339
from tests.doubles.markers import MemoryServer
from tests.doubles.memory import (
    MemoryCheckpoints,
    MemoryClaims,
    MemoryHub,
    MemoryLeases,
    MemoryPublisher,
)
from tests.simulation.pods import Pod
from tests.simulation.scenario import (
    BACKLOG_MS,
    CLOCK_ERROR_SECONDS,
    INPUTS,
    LEASE_SECONDS,
    NOISE,
    SEND_TIMEOUT_SECONDS,
    START_MS,
    WINDOWS_OF_REPETITIONS,
    Scenario,
)
from wire.cloudevents import BATCH_CONTENT_TYPE

FINISH_SECONDS = 400
"""Simulated time after which pods that have not finished stand still."""


class SimulatedClock:
    """The stores' clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return START_MS + int(self._loop.time() * 1000)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class World:
    def __init__(self, seed: int, scenario: Scenario, loop: asyncio.AbstractEventLoop, rng: random.Random) -> None:
        self.seed, self.scenario, self.rng, self.loop = seed, scenario, rng, loop
        self.clock: Any = SimulatedClock(loop)
        self.claims = MemoryClaims(self.clock)
        inputs = [str(n) for n in range(INPUTS)]
        self.leases = MemoryLeases(self.clock, inputs, ttl_seconds=LEASE_SECONDS)
        self.hub = MemoryHub(self.clock, {name: [] for name in inputs}, batch_size=rng.choice([1, 3, 8]))
        self.server = MemoryServer(self.clock, self.claims, shows_id=scenario.shows_server)
        outputs: dict[str, list[OutgoingEvent]] = {str(n): [] for n in range(scenario.outputs)}
        self.clean = MemoryPublisher(outputs, clock=self.clock, timeout_seconds=SEND_TIMEOUT_SECONDS)
        self.dead = MemoryPublisher({"0": []})
        self.checkpoints = MemoryCheckpoints()
        self.slowness = {name: rng.choice([0.001, 0.01, 0.2]) for name in inputs}
        self.in_trouble = True
        self.emitted: list[str] = []
        self.delivered: dict[int, list[str]] = {replica: [] for replica in range(INPUTS)}
        self.late: list[InputEvent] = []
        self.pods: list[Pod] = []
        self.cut_off: Pod | None = None
        self.failovers = 0
        self.version = 0
        """Which of the scenario's configurations was rolled out last."""

    # --- the plant and its replicas

    def emit(self) -> None:
        """Each replica has its own partition and batch boundaries, and lacks about half the readings of some sources."""
        first = len(self.emitted)
        self.emitted += [f"{n % 4}-{n}" for n in range(first, first + self.scenario.readings)]
        oldest = self.clock.now_ms() - self.rng.choice([10_000, min(BACKLOG_MS, int(self.retention_ms / 2))])
        for replica in range(INPUTS):
            mine = [r for r in self.emitted[first:] if int(r[0]) % INPUTS != replica or self.rng.random() < 0.5]
            self.delivered[replica] += mine
            self._send(replica, mine, oldest)

    async def _measure(self) -> None:
        """Each replica is late by a time of its own, and its copies come in its own order of events."""
        delays = [self.rng.choice([0.0, 1.0, 10.0, 40.0]) for _ in range(INPUTS)]
        sending: list[asyncio.Task[None]] = []
        while self.loop.time() < self.scenario.trouble_seconds:
            first, measured_ms = len(self.emitted), self.clock.now_ms()
            self.emitted += [f"{n % 4}-{n}" for n in range(first, first + self.rng.randint(1, 6))]
            for replica in range(INPUTS):
                mine = [r for r in self.emitted[first:] if int(r[0]) % INPUTS != replica or self.rng.random() < 0.5]
                sending.append(asyncio.create_task(self._deliver(replica, mine, measured_ms, delays[replica])))
            await asyncio.sleep(self.rng.uniform(0.1, 2.0))
        await asyncio.gather(*sending)

    async def _deliver(self, replica: int, readings: list[str], measured_ms: int, delay: float) -> None:
        await asyncio.sleep(delay * self.rng.random())
        self.delivered[replica] += readings
        self._send(replica, readings, self.clock.now_ms(), measured_ms)

    def _time_of(self, reading: str, measured_ms: int | None) -> dict[str, str]:
        """The same on every replica: some sources have no clock, and that of one is ahead, as far as is allowed."""
        if measured_ms is None or reading[0] == "0":
            return {}
        ahead_ms = int(CLOCK_ERROR_SECONDS * 1000) if reading[0] == "1" else 0
        return {"time": rfc3339(measured_ms + ahead_ms)}

    async def _repeat(self) -> None:
        """What a replica repeats, the others may not: only its own repetitions can keep the claims."""
        window = self.scenario.window_seconds
        held = {replica: self.rng.sample(mine, len(mine) // 3) for replica, mine in self.delivered.items()}
        end = self.loop.time() + WINDOWS_OF_REPETITIONS * window
        while self.loop.time() < end:
            await asyncio.sleep(self.rng.uniform(0.1, 0.25) * window)
            for replica, readings in held.items():
                self._send(replica, readings, self.clock.now_ms())

    def _send(self, replica: int, readings: list[str], oldest_ms: int, measured_ms: int | None = None) -> None:
        log = self.hub.partitions[str(replica)]
        if self.scenario.beyond_limits is not None and replica == 0:
            readings = [reading for reading in readings for _ in range(NOISE)]
        while readings:
            size = self.rng.choice([1, 1, 2, 5])
            chunk, readings = readings[:size], readings[size:]
            if self.scenario.twice_in_one_event and self.rng.random() < self.scenario.twice_in_one_event:
                chunk.append(chunk[0])
            body, content_type, properties = self._encode(chunk, measured_ms)
            annotations = {DEVICE_ID: f"edge-{replica}", MESSAGE_SOURCE: "Telemetry"}
            if self.rng.random() < 0.1:  # not telemetry, although it looks like it; it must not suppress any
                twin = {**annotations, MESSAGE_SOURCE: "twin"}
                self._append(log, replica, body, content_type, properties, twin, oldest_ms)
            self._append(log, replica, body, content_type, properties, annotations, oldest_ms)

    def _encode(self, readings: list[str], measured_ms: int | None) -> tuple[bytes, str | None, dict[str, Any]]:
        attributes = [{"id": r, "source": f"urn:{r[0]}", **self._time_of(r, measured_ms)} for r in readings]
        if len(readings) == 1 and self.rng.random() < 0.5:
            properties = {f"cloudEvents_{name}": value for name, value in attributes[0].items()}
            return json.dumps({"reading": readings[0]}).encode(), None, properties
        elements: list[Any] = [{**a, "data": {"reading": r}} for a, r in zip(attributes, readings, strict=True)]
        if self.rng.random() < 0.1:
            elements.insert(self.rng.randint(0, len(elements)), {"broken": True})
        return json.dumps(elements).encode(), BATCH_CONTENT_TYPE, {}

    def _append(
        self,
        log: list[InputEvent],
        replica: int,
        body: bytes,
        content_type: str | None,
        properties: Mapping[str, Any],
        annotations: Mapping[str, Any],
        oldest_ms: int,
    ) -> None:
        span = max(1, self.clock.now_ms() - oldest_ms)
        log.append(
            InputEvent(
                partition_id=str(replica),
                sequence_number=len(log),
                offset=str(len(log)),
                enqueued_ms=oldest_ms + span * len(log) // (self.scenario.readings * 2),
                body=body,
                content_type=content_type,
                application_properties=properties,
                annotations=annotations,
            )
        )

    @property
    def retention_ms(self) -> int:
        return int(self.scenario.retention_seconds * 1000)

    @property
    def configured_retention_ms(self) -> int:
        configured = self.scenario.configured_retention_seconds
        return self.retention_ms if configured is None else int(configured * 1000)

    def first_kept(self, partition: str) -> int:
        """The first sequence number that is still within the retention."""
        log, oldest = self.hub.partitions[partition], self.clock.now_ms() - self.retention_ms
        return next((event.sequence_number for event in log if event.enqueued_ms >= oldest), len(log))

    # --- accounting

    def arrived_copies(self) -> dict[str, int]:
        """Replica → number of copies of readings in its partition."""
        return {
            f"edge-{partition}": sum(
                event.body.decode().count('"reading"') for event in log if event.annotations[MESSAGE_SOURCE] == "Telemetry"
            )
            for partition, log in self.hub.partitions.items()
        }

    def counted_copies(self) -> dict[str, int]:
        counts = total(counted for (kind, _, _), counted in self.claims.ledger.counts.items() if kind.startswith("source"))
        numbers = {name: number for (_, name), number in self.claims.numbers.items()}
        return {name: sum(counts[f"{letter}{number}"] for letter in "fdsb") for name, number in numbers.items()}

    # --- a run

    async def run(self) -> None:
        """Raises TimeoutError when the pods do not finish although all faults are over."""
        self.emit()
        if self.scenario.outage_seconds:
            self._hold_back()
        self.pods = self._new_pods(0)
        for pod in self.pods:
            pod.start()
        repeating = asyncio.create_task(self._repeat()) if self.scenario.repeats else None
        measuring = asyncio.create_task(self._measure()) if self.scenario.is_live else None
        troubles = [self._kill] * self.scenario.kills + [self._freeze] * self.scenario.freezes
        troubles += [self._stop] * self.scenario.stops
        troubles += [self._reconfigure] * (len(self.scenario.configurations) - 1)
        troubles += [self._cut_off] * self.scenario.cut_offs + [self._expire] * self.scenario.expiries
        troubles += [self._fail_over] * self.scenario.failovers
        troubles += [self._lag] * self.scenario.lags + [self._return] * self.scenario.returns
        troubles += [self._forget] * self.scenario.forgets + [self._recreate] * self.scenario.recreations
        times = sorted(self.rng.uniform(0.0, self.scenario.trouble_seconds) for _ in troubles)
        self.rng.shuffle(troubles)
        for at, trouble in zip(times, troubles, strict=True):
            await asyncio.sleep(max(0.0, at - self.loop.time()))
            await trouble()
        if self.scenario.outage_seconds:
            await self._outage()
        for plant in (repeating, measuring):
            if plant is not None:
                await plant
        self.in_trouble = False
        await self._until_finished()
        for pod in self.pods:
            pod.kill()

    async def _until_finished(self) -> None:
        async with asyncio.timeout(FINISH_SECONDS):
            while not self._is_finished():
                await asyncio.sleep(0.5)

    def _is_finished(self) -> bool:
        """Judged by record or checkpoint, because a former owner may have moved a checkpoint back."""
        read = [partition for item in self.pods[0].inputs for partition in item.partitions]
        return all(self._is_finished_in(partition, self.hub.partitions[partition]) for partition in read)

    def _is_finished_in(self, partition: str, log: list[InputEvent]) -> bool:
        if self.first_kept(partition) == len(log):
            return True
        record = self._record(partition)
        finished = record.finished if record is not None else None
        if self.failovers or (finished is not None and finished.is_a_time):  # numbers say nothing
            return not log or (finished.enqueued_ms if finished else 0) >= log[-1].enqueued_ms
        return max(self._finished(partition), self.first_kept(partition) - 1) >= len(log) - 1

    def _record(self, partition: str) -> LeaseRecord | None:
        lease = self.leases.stored.get(partition)
        return LeaseRecord.decode(lease.record) if lease is not None and lease.record is not None else None

    def _finished(self, partition: str) -> int:
        record = self._record(partition)
        if self.hub.incarnation > 1:  # a checkpoint does not say which incarnation it belongs to
            is_of_this_hub = record is not None and record.incarnation == self.hub.incarnation
            return record.finished.sequence_number if record and record.finished and is_of_this_hub else -1
        positions = [self.checkpoints.positions.get(partition), record.finished if record is not None else None]
        return max((position.sequence_number for position in positions if position is not None), default=-1)

    async def _kill(self) -> None:
        pod = self.rng.choice(self.pods)
        pod.kill()
        await asyncio.sleep(self.rng.choice([0.0, 0.5, 8.0]))
        pod.start()

    async def _stop(self) -> None:
        pod = self.rng.choice(self.pods)
        await pod.stop()
        await asyncio.sleep(self.rng.choice([0.0, 0.5, 8.0]))
        pod.start()

    def _new_pods(self, version: int) -> list[Pod]:
        inputs, shards = self.scenario.configurations[version], self.scenario.shards[version % len(self.scenario.shards)]
        return [Pod(self, f"pod-{n}-of-{version}", inputs, shards) for n in range(self.scenario.pods)]

    async def _reconfigure(self) -> None:
        """A rolling update: each pod is asked to leave once another one with the next configuration has started."""
        self.version += 1
        new = self._new_pods(self.version)
        for n, pod in enumerate(new):
            pod.start()
            await asyncio.sleep(self.rng.choice([0.0, 0.5, 3.0]))
            await self.pods[n].stop()
            self.pods[n] = pod
            if self.scenario.kills and self.rng.random() < 0.3:
                await self._kill()
            await asyncio.sleep(self.rng.choice([0.0, 0.5, 3.0]))

    async def _freeze(self) -> None:
        self.rng.choice(self.pods).freeze(self.rng.uniform(1.0, 3 * LEASE_SECONDS))

    def _hold_back(self) -> None:
        """Keeps back all that the last replica has sent.

        The retention may drop what the others sent before it is read, so only what the last replica holds must arrive.
        """
        log = self.hub.partitions[str(INPUTS - 1)]
        self.late, log[:] = log[:], []
        held = "".join(event.body.decode() for event in self.late if event.annotations[MESSAGE_SOURCE] == "Telemetry")
        self.emitted = [reading for reading in self.emitted if f'"reading": "{reading}"' in held]

    async def _outage(self) -> None:
        for pod in self.pods:
            pod.kill()
        await asyncio.sleep(self.scenario.outage_seconds)
        now_ms = self.clock.now_ms()
        self.hub.partitions[str(INPUTS - 1)] += [replace(event, enqueued_ms=now_ms) for event in self.late]
        for pod in self.pods:
            pod.start()

    async def _recreate(self) -> None:
        """The readings in the old hub are gone with it; all those in the new one must arrive."""
        for log in self.hub.partitions.values():
            log.clear()
        self.hub.incarnation += 1
        already = len(self.emitted)
        self.emit()
        self.emitted = self.emitted[already:]
        for log in self.hub.partitions.values():
            log[:] = [replace(event, enqueued_ms=self.clock.now_ms()) for event in log]

    async def _cut_off(self) -> None:
        self.cut_off = self.cut_off or self.rng.choice(self.pods)
        pod = self.rng.choice(self.pods)
        if pod is not self.cut_off and self.cut_off.reaches_hub_at != float("inf"):
            pod = self.cut_off
        pod.reaches_hub_at = float("inf") if pod is self.cut_off else self.loop.time() + self.rng.uniform(1.0, 60.0)
        pod.hub_is_silent = self.rng.random() < 0.5

    async def _fail_over(self) -> None:
        """The numbers of the events that are lost go to new ones. Pods read on, or were dead meanwhile."""
        await self._until_finished()
        are_dead = self.rng.random() < 0.5
        for pod in self.pods if are_dead else []:
            pod.kill()
        await asyncio.sleep(self.rng.uniform(5.0, 20.0))
        kept = {name: self.rng.randint(0, len(log)) for name, log in self.hub.partitions.items()}
        for name, log in self.hub.partitions.items():
            del log[kept[name] :]
        self.emit()
        now_ms = self.clock.now_ms()
        for name, log in self.hub.partitions.items():
            log[kept[name] :] = [replace(event, enqueued_ms=now_ms + n) for n, event in enumerate(log[kept[name] :])]
        self.failovers += 1
        await asyncio.sleep(self.rng.uniform(0.0, 20.0))
        for pod in self.pods if are_dead else []:
            pod.start()

    async def _expire(self) -> None:
        self.clean.expired = max(len(log) for log in self.clean.partitions.values())

    async def _forget(self) -> None:
        self._become_another_server(({}, {}, {}, None, None, {}, {}, None, frozenset()))

    async def _lag(self) -> None:
        """What was acknowledged since the replica was copied is lost."""
        replica = self._copy_of_redis()
        await asyncio.sleep(self.rng.choice([0.01, 0.3, 3.0]) * self.rng.random())
        self._become_another_server(replica)

    async def _return(self) -> None:
        replica = self._copy_of_redis()
        await self._forget()
        await asyncio.sleep(self.rng.uniform(5.0, 25.0))
        self._become_another_server(replica)

    def _copy_of_redis(self) -> tuple[Any, ...]:
        stores = (
            self.claims.stored,
            self.claims.numbers,
            self.leases.stored,
            self.leases.sample,
            self.server.marker,
            self.server.turns,
            self.server.others,
            self.server.shards,
            self.server.ending,
        )
        return copy.deepcopy(stores)

    def _become_another_server(self, stores: tuple[Any, ...]) -> None:
        self.claims.stored, self.claims.numbers, self.leases.stored, self.leases.sample, *of_server = stores
        self.server.marker, self.server.turns, self.server.others, self.server.shards, self.server.ending = of_server
        self.server.id += 1
