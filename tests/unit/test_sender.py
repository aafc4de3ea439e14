"""The edge sender: R2, retries that reuse ids, bounded buffer, orderly end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from edge_sender import sender as module
from edge_sender.batcher import BatchLimits
from edge_sender.identity import Sample, parse_rules
from edge_sender.ports import MessageRefusedError, UplinkError
from edge_sender.readings import Message
from edge_sender.sender import Sender, SenderOptions


@dataclass
class FakeSource:
    on_sample: Callable[[Sample], None] | None = None

    async def start(self, on_sample: Callable[[Sample], None]) -> None:
        self.on_sample = on_sample

    async def close(self) -> None:
        self.on_sample = None


@dataclass
class FakeUplink:
    attempts: list[Message] = field(default_factory=list)
    delivered: list[Message] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self) -> None:
        await self.gate.wait()

    async def send(self, message: Message) -> None:
        await self.gate.wait()
        self.attempts.append(message)
        if self.failures:
            raise self.failures.pop(0)
        self.delivered.append(message)

    async def close(self) -> None:
        return


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_BACKOFF_SECONDS", 0.001)


def make(uplink: FakeUplink, *, batch: int = 1, buffer: int = 1000, identity: str = "sequence") -> tuple[Sender, FakeSource]:
    options = SenderOptions(parse_rules(identity), "t", BatchLimits(batch, 4096, 0.01), buffer, max_in_flight=4)
    source = FakeSource()
    return Sender(options, source, uplink, time.monotonic), source


def sample(number: int) -> Sample:
    return Sample("urn:a", number, {"sequence": number})


async def play(sender: Sender, source: FakeSource, count: int, until: Callable[[], bool], flush_seconds: float = 5) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(sender.run(stop, flush_seconds))
    async with asyncio.timeout(10):
        while source.on_sample is None:
            await asyncio.sleep(0)
        for number in range(count):
            source.on_sample(sample(number))
        while not until():
            await asyncio.sleep(0.001)
        stop.set()
        await running


async def test_a_retry_sends_the_same_bytes_and_ids() -> None:
    uplink = FakeUplink(failures=[UplinkError("lost"), UplinkError("lost")])
    uplink.gate.set()
    sender, source = make(uplink)
    await play(sender, source, 1, lambda: bool(uplink.delivered))
    assert uplink.attempts == [uplink.delivered[0]] * 3
    assert (sender.counters.retries, sender.counters.sent_readings) == (2, 1)


async def test_readings_taken_before_the_uplink_is_up_are_sent_in_order() -> None:
    uplink = FakeUplink()
    sender, source = make(uplink, batch=7)

    def open_gate() -> bool:
        uplink.gate.set()
        return sum(message.readings for message in uplink.delivered) == 50

    await play(sender, source, 50, open_gate)
    found = [part["data"]["sequence"] for message in uplink.delivered for part in json.loads(message.body)]
    assert found == list(range(50))


async def test_stopping_flushes_what_is_buffered() -> None:
    uplink = FakeUplink()
    uplink.gate.set()
    sender, source = make(uplink, batch=1000)
    await play(sender, source, 5, lambda: True)
    assert sum(message.readings for message in uplink.delivered) == 5


async def test_stopping_does_not_wait_for_ever_for_a_dead_uplink() -> None:
    uplink = FakeUplink()
    sender, source = make(uplink)
    await play(sender, source, 5, lambda: True, flush_seconds=0.05)
    assert uplink.delivered == []


async def test_a_full_buffer_drops_the_oldest_and_counts_them() -> None:
    uplink = FakeUplink()
    sender, source = make(uplink, buffer=10)

    def open_gate() -> bool:
        uplink.gate.set()
        return len(uplink.delivered) == 10

    await play(sender, source, 25, open_gate)
    assert sender.counters.dropped_by_full_buffer == 15
    assert sorted(json.loads(message.body)["sequence"] for message in uplink.delivered) == list(range(15, 25))


async def test_a_message_that_can_never_be_sent_is_given_up_and_counted() -> None:
    uplink = FakeUplink(failures=[MessageRefusedError("too large")])
    uplink.gate.set()
    sender, source = make(uplink)
    await play(sender, source, 3, lambda: len(uplink.delivered) == 2)
    assert (sender.counters.refused, sender.counters.sent_readings) == (1, 2)


async def test_a_reading_without_identity_is_counted_and_not_sent() -> None:
    uplink = FakeUplink()
    uplink.gate.set()
    sender, _ = make(uplink)
    sender.on_sample(Sample("urn:a", 1, {"no": "sequence"}))
    sender.on_sample(Sample("urn:a", 1, {"sequence": 1, "value": float("nan")}))
    assert (sender.counters.without_identity, sender.counters.readings) == (2, 0)
