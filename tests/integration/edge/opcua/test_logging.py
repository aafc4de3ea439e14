"""A line for each change of state, and none for each attempt: a server may be away for days."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sandbox.peers.processes import free_port
from tests.support.plc import NAMESPACE, Plc, plc
from tests.support.senders import SenderProcess, document, until

NOWHERE = "Endpoint=sb://127.0.0.1:9/;SharedAccessKeyName=a;SharedAccessKey=b;EntityPath=x;UseDevelopmentEmulator=true"
AWAY_SECONDS = 8.0
"""Enough for several attempts."""


async def one(server: Plc) -> None:
    await server.add("a", 1)


async def test_a_server_that_is_away_costs_a_line_each_time_and_no_traceback(tmp_path: Path) -> None:
    port = free_port()
    source = {"name": "plc", "kind": "opcua", "namespace_uri": NAMESPACE, "identity": "source-time"}
    process = SenderProcess(tmp_path, "edge", NOWHERE, document({**source, "endpoint": f"opc.tcp://127.0.0.1:{port}"}))

    def is_up() -> bool:
        status = process.status()
        return status is not None and status["sources"][0]["up"]

    def lines() -> list[str]:
        return [line for line in process.log_path.read_text().splitlines() if "sources.opcua" in line or "Traceback" in line]

    try:
        await until(lambda: process.status() is not None, "it does not start")
        await asyncio.sleep(AWAY_SECONDS)
        assert len(lines()) == 1
        async with plc(one, port=port):
            await until(is_up, "the server is not read")
        before = lines()
        assert any("subscribed to 1 variables" in line for line in before)
        await until(lambda: not is_up(), "it does not notice")
        await asyncio.sleep(AWAY_SECONDS)
        told = lines()[len(before) :]
        assert 1 <= len(told) <= 2, told
        assert not any("Traceback" in line for line in lines())
    finally:
        process.kill()
