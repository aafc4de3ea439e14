"""Heartbeats over real UDP sockets: between two networks, past an intruder, and around a port that is taken."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edge_sender.peers import network
from edge_sender.peers.beats import Beats
from edge_sender.peers.network import PeerNetwork
from edge_sender.ports import Standing
from tests.support.senders import until

KEY = b"a key of sixteen characters"
HEARTBEAT = 0.05


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port


class End:
    def __init__(self, name: str, port: int, peer_port: int, key: bytes = KEY) -> None:
        self.own = Standing(name, False, False, True, True, True, frozenset({"x"}))
        self.heard: list[Standing] = []
        self.gone: list[str] = []
        beats = Beats(key, "line-1", name, f"session of {name}")
        self.network = PeerNetwork(beats, ("127.0.0.1", port), [("localhost", peer_port)], HEARTBEAT)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.network.run(lambda: self.own, self.heard.append, self.gone.append))
        try:
            yield
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def ports() -> tuple[int, int]:
    return free_udp_port(), free_udp_port()


async def test_two_replicas_hear_each_other_and_nobody_else(ports: tuple[int, int]) -> None:
    a, b = End("a", ports[0], ports[1]), End("b", ports[1], ports[0])
    intruder = End("a", free_udp_port(), ports[1], key=b"another key of some length")
    async with a.running(), b.running(), intruder.running():
        await until(lambda: len(a.heard) > 3 and len(b.heard) > 3, "they do not hear each other")
        await until(lambda: b.network.refused["forged"] > 3, "the intruder is not refused")
        assert ({peer.name for peer in a.heard}, {peer.name for peer in b.heard}) == ({"b"}, {"a"})
        assert intruder.heard == []
        assert b.heard[-1] == a.own


async def test_what_is_announced_is_heard_without_waiting_for_the_next_heartbeat(
    ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = End("a", ports[0], ports[1]), End("b", ports[1], ports[0])
    async with a.running(), b.running():
        await until(lambda: len(a.heard) > 0 and len(b.heard) > 0, "they do not hear each other")
        monkeypatch.setattr(a.network, "_heartbeat_seconds", 3600)
        count = len(b.heard)
        await until(lambda: len(b.heard) > count, "")  # the one that was due
        count = len(b.heard)
        a.network.announce()
        await until(lambda: len(b.heard) == count + 1, "it is not heard", 5)


async def test_a_port_that_is_taken_is_named_and_waited_for(ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "RETRY_SECONDS", 0.05)
    a, b = End("a", ports[0], ports[1]), End("b", ports[1], ports[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", ports[0]))
        async with a.running(), b.running():
            await until(lambda: a.network.problem is not None, "nothing is said of it")
            assert f"port {ports[0]}" in str(a.network.problem)
            taken.close()
            await until(lambda: len(a.heard) > 0 and a.network.problem is None, "the port is not used once it is free")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
async def test_a_machine_whose_process_was_killed_says_so(ports: tuple[int, int]) -> None:
    a, b = End("a", ports[0], ports[1]), End("b", ports[1], ports[0])
    async with a.running():
        async with b.running():
            await until(lambda: len(a.heard) > 0 and len(b.heard) > 0, "they do not hear each other")
            assert a.gone == []
        await until(lambda: a.gone[-1:] == ["b"], "nothing is said of it")
        a.gone.clear()
        async with b.running():
            count = len(a.heard)
            await until(lambda: len(a.heard) > count, "it is not heard again")
