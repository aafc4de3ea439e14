"""A large OPC UA server: 50,000 variables that change once a minute. How long until all are subscribed to, and its cost.

The server is asyncua's, in a process of its own. Its share of the time is measured as well: it is as busy as the edge.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import psutil
from asyncua import Node, Server, ua

from benchmarks.edge import DEVICE, START_SECONDS, cpu_seconds, without_aiohttp
from benchmarks.results import Section, at_least, at_most, middle
from sandbox.demo.demo import free_mqtt_host
from sandbox.peers.processes import Child, free_port

NAMESPACE = "urn:bench:machines"
COUNT = 50_000
PER_FOLDER = 100
"""asyncua compares a new node with all others in its folder: with thousands in each, the server is not built in minutes."""
MINUTE_SECONDS = 60.0
TICK_SECONDS = 0.1
BUILD_SECONDS = 300.0
SUBSCRIBE_SECONDS = 300.0
SETTLE_SECONDS, SECONDS = 10.0, 30.0


async def serve(port: int, count: int) -> None:
    """Each variable changes once a minute, one after the other."""
    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://127.0.0.1:{port}")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    index = await server.register_namespace(NAMESPACE)
    nodes: list[Node] = []
    for number in range(count):
        if number % PER_FOLDER == 0:
            name = f"machine-{number // PER_FOLDER}"
            folder = await server.nodes.objects.add_folder(ua.NodeId(name, index), f"{index}:{name}")
        node = await folder.add_variable(ua.NodeId(f"v{number}", index), f"{index}:v{number}", 0.0)
        await server.write_attribute_value(node.nodeid, stamped(0.0))
        nodes.append(node)
    async with server:
        print(json.dumps({"ready": True}), flush=True)
        started, done = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - started) * count / MINUTE_SECONDS)
            for number in range(done, due):
                await server.write_attribute_value(nodes[number % count].nodeid, stamped(float(number)))
            done = due
            await asyncio.sleep(TICK_SECONDS)


def stamped(value: float) -> ua.DataValue:
    """With a source time, without which the edge drops a reading."""
    return ua.DataValue(ua.Variant(value), SourceTimestamp=datetime.now(UTC))


async def run_edge(hub: dict[str, Any], server: psutil.Process, endpoint: str, folder: Path) -> list[float]:
    """Return [s until all are subscribed to, CPU s of the edge until then, of the server, readings/s sent, share of a core,
    RSS in MB]."""
    port = free_port()
    source = {"name": "plant", "kind": "opcua", "endpoint": endpoint, "namespace_uri": NAMESPACE}
    environment = {
        **without_aiohttp(folder),
        "EDGE_SOURCES": json.dumps({"sources": [source]}),
        "EDGE_REPLICA": DEVICE,
        "EDGE_UPLINK": "iot",
        "EDGE_CONNECTION_STRING": hub["devices"][DEVICE],
        "EDGE_CA_FILE": hub["ca_file"],
        "EDGE_SPOOL_PATH": str(folder / "spool.db"),
        "EDGE_HTTP_PORT": str(port),
        "EDGE_IDENTITY_CHECK_SECONDS": "0",
    }
    started, server_before = time.monotonic(), cpu_seconds(server)
    edge = await Child.start("edge", ["edge_sender", "run"], environment, folder)
    try:
        process = psutil.Process(edge.pid)
        while (await _status(port))["subscribed"] < COUNT:
            if time.monotonic() - started > SUBSCRIBE_SECONDS:
                raise TimeoutError(f"not subscribed after {SUBSCRIBE_SECONDS} s\n{edge.log_tail()}")
            await asyncio.sleep(0.5)
        took, of_edge, of_server = time.monotonic() - started, cpu_seconds(process), cpu_seconds(server) - server_before
        while (await _status(port))["waiting"] > COUNT / MINUTE_SECONDS:  # first the value of each variable is sent
            await asyncio.sleep(0.5)
        await asyncio.sleep(SETTLE_SECONDS)
        before, at, sent = cpu_seconds(process), time.monotonic(), (await _status(port))["sent"]
        await asyncio.sleep(SECONDS)
        used, seconds = cpu_seconds(process) - before, time.monotonic() - at
        readings = (await _status(port))["sent"] - sent
        return [took, of_edge, of_server, readings / seconds, used / seconds, process.memory_info().rss / 1e6]
    finally:
        await edge.stop()


async def _status(port: int) -> dict[str, int]:
    def ask() -> dict[str, int]:
        try:
            with urlopen(f"http://127.0.0.1:{port}/v1/status", timeout=10) as response:
                status = json.load(response)
        except (URLError, TimeoutError):  # while it starts
            return {"subscribed": 0, "waiting": 0, "sent": 0}
        subscribed = status["sources"][0]["variables"]["subscribed"]
        return {"subscribed": subscribed, "waiting": status["spool"]["readings"], "sent": status["sent"]["readings"]}

    return await asyncio.to_thread(ask)


async def many_variables(rounds: int) -> Section:
    section = Section(
        f"The edge sender at a server with {COUNT:,} variables",
        f"Each changes once a minute. Until all are subscribed to, and then for {SECONDS:g} s. The server is asyncua's, "
        "which needs a core of its own; where it is the slower one, its time is what is measured.",
        ["", "s until subscribed", "CPU s of the edge", "CPU s of the server", "readings/s", "share of a core", "RSS MB"],
    )
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-many-")))
        port = free_port()
        hub_child = await Child.start(
            "hub", ["sandbox", "hub", "--host", free_mqtt_host(), "--amqp-port", "0", "--device", DEVICE], {}, folder
        )
        server_child = await Child.start("server", ["benchmarks.many_variables", str(port), str(COUNT)], {}, folder)
        stack.push_async_callback(hub_child.kill)
        stack.push_async_callback(server_child.kill)
        hub = await hub_child.line(START_SECONDS)
        await server_child.line(BUILD_SECONDS)
        server, endpoint = psutil.Process(server_child.pid), f"opc.tcp://127.0.0.1:{port}"
        took = []
        for number in range(rounds):
            (own := folder / str(number)).mkdir()
            took.append(await run_edge(hub, server, endpoint, own))
        section.rows.append([f"{COUNT:,} variables", *(middle(values) for values in zip(*took, strict=True))])
    seconds, rate = float(section.rows[0][1] or 0), float(section.rows[0][4] or 0)
    section.targets += [
        at_most("edge: s until 50,000 variables are subscribed to", 60.0, seconds),
        at_least("edge: readings/s of 50,000 variables", 0.95 * COUNT / MINUTE_SECONDS, rate),
    ]
    return section


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    given = parser.parse_args()
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    asyncio.run(serve(given.port, given.count))
