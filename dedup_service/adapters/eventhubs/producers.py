"""The connections to a hub over which is sent: one for each of its partitions, and one for questions about it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from azure.eventhub.aio import EventHubProducerClient

from dedup_service.adapters.azure_errors import close_quietly
from dedup_service.adapters.eventhubs.below_sdk.opening import is_cut_off, open_promptly, open_without_asking

METADATA = "metadata"
IDLE_SECONDS = 300.0
"""A connection over which nothing was sent for so long is closed: each pod has one for each partition of the hub, and a
namespace has room for a limited number of them. The next send opens it again."""


class Producers:
    def __init__(self, connect: Callable[[], EventHubProducerClient]) -> None:
        self._connect = connect
        self._clients: dict[str, EventHubProducerClient] = {}
        self._used_at: dict[str, float] = {}
        """By partition, in seconds of the loop's clock."""
        self._locks: dict[str, asyncio.Lock] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def metadata(self) -> EventHubProducerClient:
        """It has no connection between two questions."""
        return self._client(METADATA)

    def lock(self, partition_id: str) -> asyncio.Lock:
        """To be held by who opens, or sends."""
        return self._locks.setdefault(partition_id, asyncio.Lock())

    def of(self, partition_id: str) -> EventHubProducerClient:
        """The partition's client; a new one where its connection is cut off."""
        if self._is_cut_off(partition_id):
            self.forget(partition_id)
        return self._client(partition_id)

    def cut_off(self) -> list[str]:
        """The partitions whose connections are."""
        return [name for name in self._clients if self._is_cut_off(name)]

    def _is_cut_off(self, partition_id: str) -> bool:
        client = self._clients.get(partition_id)
        return client is not None and is_cut_off(client, partition_id)

    def _client(self, name: str) -> EventHubProducerClient:
        loop = asyncio.get_running_loop()
        self._used_at[name] = loop.time()
        if name not in self._clients:
            client = self._clients[name] = self._connect()
            open_promptly(client)
            if name != METADATA:
                open_without_asking(client, name)
                loop.call_later(IDLE_SECONDS, self._close_if_idle, name, client)
        return self._clients[name]

    def _close_if_idle(self, name: str, client: EventHubProducerClient) -> None:
        if self._clients.get(name) is not client:
            return
        loop = asyncio.get_running_loop()
        left = self._used_at[name] + IDLE_SECONDS - loop.time()
        if left > 0 or self.lock(name).locked():
            loop.call_later(max(left, IDLE_SECONDS / 10), self._close_if_idle, name, client)
        else:
            self.forget(name)

    def forget(self, partition_id: str) -> None:
        """Drops the partition's client: what an abandoned send left in its queue must never be written, and a client in an
        unknown state may never work again."""
        client = self._clients.pop(partition_id)
        closing = asyncio.create_task(close_quietly(client))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        await asyncio.gather(*self._closing, *(close_quietly(client) for client in self._clients.values()))
