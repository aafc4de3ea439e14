"""A PLC's counter that starts over without an epoch: two gateways give each reading one id, also if one was restarted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from asyncua import Node, ua

from edge_sender.observability.telemetry import make_registry, status
from edge_sender.ports import Message
from edge_sender.sender import Sender
from tests.support.plc import NAMESPACE, Plc, plc
from tests.support.senders import running_sender, until

HOUR_MS = 3_600_000


@dataclass
class Sent:
    """What one gateway's hub has."""

    ids: list[tuple[str, str]] = field(default_factory=list)
    """Value and id of each reading."""
    epochs: list[str | None] = field(default_factory=list)

    async def connect(self) -> None:
        return

    async def lost(self) -> None:
        await asyncio.Event().wait()

    async def send(self, message: Message) -> None:
        for part in json.loads(message.body):
            self.ids.append((part["data"]["value"], part["id"]))
            self.epochs.append(part.get("sequenceepoch"))

    async def close(self) -> None:
        return


@asynccontextmanager
async def gateway(endpoint: str, spool: Path, sent: Sent) -> AsyncIterator[Sender]:
    source = {"name": "plc", "kind": "opcua", "endpoint": endpoint, "namespace_uri": NAMESPACE, "publishing_ms": 50}
    counting = {"counter": "/value", "restarts": "new-epoch"}
    given = {**source, "identity": "sequence", "sequence": counting}
    async with running_sender(given, sent, spool_path=str(spool)) as one:
        yield one


async def counter(server: Plc) -> Node:
    return await server.add("n", counted(5))


def counted(number: int) -> ua.Variant:
    """In JSON it is text, as all numbers of 64 bits."""
    return ua.Variant(number, ua.VariantType.UInt64)


async def test_two_gateways_agree_about_a_restart_of_the_counter(tmp_path: Path) -> None:
    one, two = Sent(), Sent()
    async with plc(counter) as server:
        node = server.server.get_node(ua.NodeId("n", server.index()))
        async with gateway(server.endpoint, tmp_path / "1.db", one) as sender:
            async with gateway(server.endpoint, tmp_path / "2.db", two):
                await until(lambda: len(one.ids) == len(two.ids) == 1, "the counter is not read")
            await server.show(node, counted(0), at_ms=2 * HOUR_MS)  # the second gateway is down
            async with gateway(server.endpoint, tmp_path / "2.db", two):
                await until(lambda: len(one.ids) == len(two.ids) == 2, "the restart is not read")
                await server.show(node, counted(5), at_ms=2 * HOUR_MS + 5)
                await until(lambda: len(one.ids) == len(two.ids) == 3, "the counter does not go on")
            assert make_registry(sender).get_sample_value(
                "edge_counter_restarts_total", {"source": "plc", "reason": "restarted"}
            )
            (shown,) = status(sender)["sources"]
    assert one == two
    assert [value for value, _ in one.ids] == ["5", "0", "5"]
    assert len(set(one.ids)) == 3
    assert one.epochs == [None, "@2026-01-31T08:00:00.000000Z", "@2026-01-31T08:00:00.000000Z"]
    (uri,) = shown["counter_restarts"]["sources"]
    assert uri.endswith(";s=n")
    assert shown["counter_restarts"] == {
        "restarted": 1,
        "untimed": 0,
        "sources": {uri: "its counter went back to 0; its epoch is now @2026-01-31T08:00:00.000000Z"},
    }
