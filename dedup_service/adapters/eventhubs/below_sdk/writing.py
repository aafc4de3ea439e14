"""Ends a send at its time-out even if nobody could look at the clock: the process may be frozen, like a paused machine, when
the SDK is about to write. The event loop notices the time-out only after that write."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from azure.eventhub.aio import EventHubProducerClient


@contextlib.contextmanager
def writing_until(client: EventHubProducerClient, partition_id: str, ends_at: float) -> Iterator[None]:
    """Meanwhile, a write on the partition's connection that comes after `ends_at`, by the event loop's clock, is an error
    instead. The SDK has no public way to do it; if its internals change, this does nothing."""
    handler = getattr(client._producers.get(partition_id), "_handler", None)
    transport = getattr(getattr(handler, "_connection", None), "_transport", None)
    write = getattr(transport, "_write", None)
    if transport is None or write is None:
        yield
        return
    loop = asyncio.get_running_loop()

    async def write_in_time(data: bytes) -> None:
        if loop.time() >= ends_at:
            raise TimeoutError("the time for this send was over before it was written")
        await write(data)

    transport._write = write_in_time
    try:
        yield
    finally:
        del transport._write
