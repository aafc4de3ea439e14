"""The first notification of a subscription repeats the last value. What was sent already is not sent again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asyncua import ua

from edge_sender.ports import Message
from edge_sender.sender import Sender
from tests.support.plc import NAMESPACE, Plc, plc
from tests.support.senders import running_sender, until


@dataclass
class ListUplink:
    sent: list[tuple[str, Any]] = field(default_factory=list)
    """Identifier and value of each reading."""

    async def connect(self) -> None:
        return

    async def lost(self) -> None:
        await asyncio.Event().wait()

    async def send(self, message: Message) -> None:
        self.sent += [(part["source"].rpartition("=")[2], part["data"]["value"]) for part in json.loads(message.body)]

    async def close(self) -> None:
        return


@asynccontextmanager
async def sender(endpoint: str, spool: Path) -> AsyncIterator[tuple[Sender, ListUplink]]:
    source = {"name": "plc", "kind": "opcua", "endpoint": endpoint, "namespace_uri": NAMESPACE, "identity": "source-time"}
    uplink = ListUplink()
    async with running_sender({**source, "publishing_ms": 50}, uplink, spool_path=str(spool)) as one:
        yield one, uplink


async def two(server: Plc) -> None:
    await server.add("a", 1)
    await server.add("b", 1)


async def test_what_was_sent_is_not_sent_again_after_restarts_of_either_side(tmp_path: Path) -> None:
    first = plc(two)
    server = await first.__aenter__()
    async with sender(server.endpoint, tmp_path / "s.db") as (one, uplink):
        await until(lambda: sorted(uplink.sent) == [("a", 1), ("b", 1)], "nothing is sent")
        await first.__aexit__(None, None, None)
        async with plc(two, port=server.port) as again:
            tally = one.sources[0].tally
            assert tally is not None
            skipped = tally.skipped
            await until(lambda: skipped["repeated"] == 2, "the restarted server is not read")
            await again.show(again.server.get_node(ua.NodeId("a", 2)), 2, at_ms=1)
            await until(lambda: uplink.sent[2:] == [("a", 2)], "the new value is not sent")
    async with plc(two, port=server.port) as third:
        await third.show(third.server.get_node(ua.NodeId("a", 2)), 3, at_ms=2)
        async with sender(third.endpoint, tmp_path / "s.db") as (again_one, uplink):
            await until(lambda: uplink.sent == [("a", 3)], "what changed meanwhile is not sent")
            tally = again_one.sources[0].tally
            assert tally is not None
            assert tally.skipped["repeated"] == 1
            await third.show(third.server.get_node(ua.NodeId("b", 2)), 1, at_ms=5)
            await until(lambda: uplink.sent[1:] == [("b", 1)], "an equal value at a new time is not sent")
