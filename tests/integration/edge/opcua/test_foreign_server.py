"""node-opcua, a server that others wrote in another language: all of its demo address space, by two gateways."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asyncua import ua

from edge_sender import counters
from edge_sender.identity.rules import mint
from sandbox.peers.node import NODE, install_node_packages
from sandbox.peers.processes import free_port
from tests.support.plc import Reading, config_of, reading
from tests.support.senders import until

FOLDER = Path(__file__).parents[3] / "node_opcua"
VARIABLES = 3000
SECONDS = 240.0
NOT_READABLE = (ua.StatusCodes.BadNotReadable, ua.StatusCodes.BadUserAccessDenied)
"""Stamped for each subscription by itself."""


def all_uris(plant: Reading) -> set[str]:
    session = plant.source._session
    return set() if session is None else {item.uri for item in session._subscriptions.items.values()}


def is_complete(plant: Reading) -> bool:
    read = {sample.source for sample in plant.intake.samples}
    return plant.tally.subscribed > VARIABLES and read == all_uris(plant)


@asynccontextmanager
async def node_opcua(home: Path, *what: str) -> AsyncIterator[str]:
    """Its endpoint. It keeps its certificates below `home`."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        str(FOLDER / "server.cjs"),
        str(port),
        *what,
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath, "HOME": str(home)},
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(SECONDS):
            while not (line := await process.stdout.readline()).startswith(b"{"):
                assert line, "it ended before it was ready"
        yield f"opc.tcp://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


@pytest.mark.timeout(4 * SECONDS)
async def test_two_gateways_read_all_variables_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters, "MOST_LISTED", 10_000)
    await asyncio.to_thread(install_node_packages, FOLDER, SECONDS)
    async with node_opcua(tmp_path) as endpoint:
        choice: dict[str, Any] = {"namespace_uri": None, "nodes": {}, "sampling_ms": 500, "publishing_ms": 250}
        async with reading(endpoint, **choice) as one, reading(endpoint, **choice) as two:
            await until(lambda: is_complete(one) and is_complete(two), "variables are missing", SECONDS)
            assert all_uris(one) == all_uris(two)
            assert not one.tally.left_out
            assert (one.tally.troubled, two.tally.troubled) == ({}, {})
            first: list[dict[str, object]] = [{}, {}]
            for seen, plant in zip(first, (one, two), strict=True):
                for sample in plant.intake.samples:
                    seen.setdefault(sample.source, (sample.time_ns, sample.data))
            for uri, copy in first[0].items():
                if copy != first[1][uri] and "Simulation" not in uri:
                    assert {s.data["status"] for s in one.intake.samples if s.source == uri} <= set(NOT_READABLE), uri


@pytest.mark.timeout(2 * SECONDS)
async def test_two_gateways_read_the_same_events_though_each_asks_another_object(tmp_path: Path) -> None:
    """One asks the press, the other the server, by a supertype of what comes."""
    await asyncio.to_thread(install_node_packages, FOLDER, SECONDS)
    choice: dict[str, Any] = {"namespace_uri": None}
    events = {"types": [f"nsu=http://opcfoundation.org/UA/;i={ua.ObjectIds.SystemEventType}"], "min_severity": 500}
    by_press = {**events, "notifiers": [{"path": "/press"}]}
    async with (
        node_opcua(tmp_path, "events") as endpoint,
        reading(endpoint, **choice, events=by_press) as one,
        reading(endpoint, **choice, events=events) as two,
    ):
        await until(lambda: len(one.intake.samples) > 5 and len(two.intake.samples) > 5, "no events", SECONDS)
        assert (one.tally.lost, one.tally.left_out, two.tally.lost, two.tally.left_out) == ({}, {}, {}, {})
        assert not [what for what in (*one.tally.revised, *two.tally.revised) if what.startswith("fields")]
        rules = config_of(endpoint, **choice, events=events).rules
        last = max(one.intake.samples[0].time_ns or 0, two.intake.samples[0].time_ns or 0)
        until_ns = min(one.intake.samples[-1].time_ns or 0, two.intake.samples[-1].time_ns or 0)
        common = [
            [mint(sample, rules) for sample in plant.intake.samples if last <= (sample.time_ns or 0) <= until_ns]
            for plant in (one, two)
        ]
        assert common[0] == common[1]
        assert len(set(common[0])) == len(common[0]) > 1
    assert {sample.source for sample in one.intake.samples} == {"urn:test:node-opcua#nsu=urn:test:node-opcua;s=press;events"}
    assert {sample.data["Severity"] for sample in one.intake.samples} == {900}
