"""A line for each change of state, and none for each attempt: a server may be away for days."""

from __future__ import annotations

import logging

import pytest

from edge_sender.sources.opcua.connection import Connection
from sandbox.peers.processes import free_port
from tests.support.plc import Plc, plc, reading
from tests.support.senders import until


async def one(server: Plc) -> None:
    await server.add("a", 1)


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """Grows with each attempt to reach the server."""
    made: list[Connection] = []
    open_channel = Connection._open_channel

    async def noting(connection: Connection) -> None:
        made.append(connection)
        await open_channel(connection)

    monkeypatch.setattr(Connection, "_open_channel", noting)
    return made


async def test_a_server_that_is_away_costs_a_line_each_time_and_no_traceback(
    caplog: pytest.LogCaptureFixture, attempts: list[Connection]
) -> None:
    def lines() -> list[str]:
        return [record.getMessage() for record in caplog.records if "sources.opcua" in record.name]

    caplog.set_level(logging.INFO)
    port = free_port()
    async with reading(f"opc.tcp://127.0.0.1:{port}") as plant:
        await until(lambda: len(attempts) > 4, "it does not try again")
        assert len(lines()) == 1
        async with plc(one, port=port):
            await until(lambda: plant.source.is_up, "the server is not read")
            before = lines()
            assert any("subscribed to 1 variables" in line for line in before)
        await until(lambda: not plant.source.is_up, "it does not notice")
        attempts.clear()
        await until(lambda: len(attempts) > 4, "it does not try again")
        told = lines()[len(before) :]
    assert 1 <= len(told) <= 2, told
    assert not [record for record in caplog.records if record.exc_info and not record.name.startswith("asyncua")]
