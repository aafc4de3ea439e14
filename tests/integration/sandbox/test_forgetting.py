"""A chaos run makes a real Valkey forget, and stops where that showed nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from sandbox.chaos import forgetting
from sandbox.chaos.forgetting import LOST_KEYS, Forgetter, Way
from sandbox.peers.processes import ProcessError
from sandbox.peers.valkeys import replicated_valkey


@asynccontextmanager
async def writing(url: str) -> AsyncIterator[set[bytes]]:
    """Writes one key after the other; yields those that were acknowledged."""
    acknowledged, stop = set[bytes](), asyncio.Event()

    async def write() -> None:
        async with Redis.from_url(url, retry=Retry(ConstantBackoff(0.05), 100)) as client:
            for number in count():
                if stop.is_set():
                    return
                await client.set(f"key-{number}", 1)
                acknowledged.add(f"key-{number}".encode())
                await asyncio.sleep(0.005)

    task = asyncio.create_task(write())
    try:
        yield acknowledged
    finally:
        stop.set()
        await task


async def test_a_fail_over_waits_until_enough_is_lost_and_says_how_much() -> None:
    async with replicated_valkey() as valkey:
        forgetter = Forgetter(valkey)
        async with writing(valkey.url) as acknowledged:
            forgotten = await forgetter.forget("fail-over")
        lost = acknowledged - (await valkey.primary.contents()).keys()
        assert forgotten.keys_lost >= len(lost) >= LOST_KEYS
        assert forgetter.forgotten == [forgotten]


@pytest.mark.parametrize(("how", "words"), [("restart", "lost no key in a restart"), ("fail-over", "higher --rate")])
async def test_a_redis_that_forgets_nothing_stops_the_run(monkeypatch: pytest.MonkeyPatch, how: Way, words: str) -> None:
    monkeypatch.setattr(forgetting, "LOSE_SECONDS", 0.2)
    async with replicated_valkey() as valkey:
        forgetter = Forgetter(valkey)
        with pytest.raises(ProcessError, match=words):
            await forgetter.forget(how)
        assert forgetter.forgotten == []
