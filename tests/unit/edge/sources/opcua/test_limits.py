"""How large requests are after one was lost: halved, and grown back unless it is lost again."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from asyncua import ua

from edge_sender.sources.opcua.limits import GROW_AFTER, LEAST_AFTER_LOSS, MOST_PER_CALL, Limits, Service, in_parts


class Peer:
    """Whether it answers requests of this size. `sizes` are those that were asked for."""

    def __init__(self, most: int = MOST_PER_CALL) -> None:
        self.most = most
        self.sizes: list[int] = []

    async def call(self, part: Sequence[int]) -> Sequence[int]:
        self.sizes.append(len(part))
        if len(part) > self.most:
            raise ConnectionError
        return part


async def ask(limits: Limits, peer: Peer, nodes: int) -> None:
    items = list(range(nodes))
    assert await in_parts(limits, Service.READ, items, peer.call) == items


async def lost(limits: Limits, peer: Peer, nodes: int) -> None:
    with pytest.raises(ConnectionError):
        await ask(limits, peer, nodes)


async def test_a_size_that_was_lost_by_chance_is_grown_back_to_and_forgiven() -> None:
    limits, peer = Limits(), Peer(0)
    for _ in range(3):
        await lost(limits, peer, 1000)
    assert peer.sizes == [1000, 500, 250]
    peer.most = MOST_PER_CALL
    await ask(limits, peer, 125 * GROW_AFTER)
    assert limits.size(Service.READ) == 250
    await ask(limits, peer, 250)
    assert limits.size(Service.READ) == MOST_PER_CALL
    await lost(limits, Peer(0), 1000)
    await ask(limits, peer, 500 * GROW_AFTER)
    assert limits.size(Service.READ) == MOST_PER_CALL  # one loss now and then has no lasting effect


async def test_a_size_that_is_lost_each_time_is_not_tried_a_third_time() -> None:
    """A server that drops the connection instead of saying what is too much."""
    limits, peer = Limits(), Peer(300)
    losses = 0
    for _ in range(200):
        try:
            await ask(limits, peer, 2000)
        except ConnectionError:
            losses += 1
    assert limits.size(Service.READ) == 250
    assert losses == peer.sizes.count(1000) + peer.sizes.count(500)
    assert max(peer.sizes.count(1000), peer.sizes.count(500)) <= 2


async def test_small_requests_say_nothing_about_large_ones() -> None:
    limits, peer = Limits(), Peer(0)
    await lost(limits, peer, 1000)
    peer.most = MOST_PER_CALL
    for _ in range(2 * GROW_AFTER):
        await ask(limits, peer, 499)
    assert limits.size(Service.READ) == 500


async def test_a_small_request_was_not_too_large() -> None:
    limits = Limits()
    await lost(limits, Peer(0), LEAST_AFTER_LOSS)
    assert limits.size(Service.READ) == MOST_PER_CALL


async def test_what_the_server_refuses_stays_refused() -> None:
    limits, sizes = Limits(), []

    async def call(part: Sequence[int]) -> Sequence[int]:
        sizes.append(len(part))
        if len(part) > 300:
            raise ua.UaStatusCodeError(ua.StatusCodes.BadTooManyOperations)
        return part

    for _ in range(50):
        await in_parts(limits, Service.READ, range(1000), call)
    assert sizes.count(1000) == sizes.count(500) == 1
