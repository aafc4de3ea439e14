"""Active-passive senders that hear each other, as real processes: a takeover ahead of the lease, and split faults."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from sandbox.hub.stand_in import StandIn
from sandbox.peers.azurite import storage_connection_string
from sandbox.peers.links import Link
from tests.support import hub
from tests.support.senders import SenderProcess, ask_until, document, readings_of

NAMES = ("edge-1", "edge-2")
KEY = "a key of sixteen characters"
SENDING = ("active", "alone", "yielding", "standing-in")


def udp_ports() -> list[int]:
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in NAMES]
    for one in made:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in made]
    for one in made:
        one.close()
    return ports


class Pair:
    """Two senders; the witness of each can be cut off."""

    def __init__(self, stand_in: StandIn, witness: str, folder: Path, documents: list[str]) -> None:
        ports = udp_ports()
        self.senders = [
            SenderProcess(
                folder,
                name,
                stand_in.connection_string("telemetry"),
                sources,
                EDGE_HA="active-passive",
                EDGE_WITNESS=witness,
                EDGE_OVERLAP_SECONDS="30",
                EDGE_PEERS=f"127.0.0.1:{peer}",
                EDGE_PEERS_KEY=KEY,
                EDGE_PEERS_HOST="127.0.0.1",
                EDGE_PEERS_PORT=str(own),
                EDGE_HEARTBEAT_MS="1000",  # three seconds of silence: a process may stand still for one on a busy machine
                EDGE_SEND_TIMEOUT_SECONDS="30",
            )
            for name, sources, own, peer in zip(NAMES, documents, ports, reversed(ports), strict=True)
        ]

    def statuses(self) -> list[dict[str, Any]]:
        return [sender.status() or {"role": "", "peers": {}, "sources": []} for sender in self.senders]

    def roles(self) -> list[str]:
        return _roles(self.statuses())

    async def until_settled(self) -> int:
        """Which of them sends, once one does and they hear each other."""

        statuses: list[dict[str, Any]] = []

        def is_settled() -> bool:
            statuses[:] = self.statuses()
            return sorted(_roles(statuses)) == ["active", "passive"] and all(
                len(status["peers"]) == 1 for status in statuses
            )

        await ask_until(is_settled, lambda: f"they do not settle: {statuses}\n{self.senders[0].log_tail()}")
        return _roles(statuses).index("active")

    def kill(self) -> None:
        for sender in self.senders:
            sender.kill()


def _roles(statuses: list[dict[str, Any]]) -> list[str]:
    return [str(status["role"]) for status in statuses]


async def sent_by_source(stand_in: StandIn) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for event in await hub.read_all(stand_in.connection_string("telemetry")):
        for source, _, data in readings_of(event):
            found.setdefault(source, []).append(int(data["sequence"]))
    return found


@pytest.mark.timeout(240)
async def test_a_sender_that_is_killed_is_replaced_before_its_lease_ends_and_nothing_is_lost(
    stand_in: StandIn, azurite: str, namespace: str, tmp_path: Path
) -> None:
    source = {"name": "s", "kind": "synthetic", "identity": "sequence", "interval_seconds": 0.1}
    pair = Pair(stand_in, f"{azurite};ContainerName={namespace}", tmp_path, [document(source)] * 2)
    try:
        sending = await pair.until_settled()
        other = pair.senders[1 - sending]
        await ask_until(
            lambda: any(s["readings"] > 30 for s in (other.status() or {"sources": []})["sources"]), "it reads nothing"
        )
        pair.senders[sending].kill()
        await ask_until(lambda: pair.roles()[1 - sending] == "standing-in", "it does not stand in")
        await ask_until(lambda: pair.roles()[1 - sending] == "active", "the witness does not settle it")
        pair.senders[sending].start()
        await ask_until(lambda: pair.roles()[sending] == "passive", "the one that comes back does not wait")
        assert await pair.until_settled() == 1 - sending
    finally:
        pair.kill()
    (numbers,) = (await sent_by_source(stand_in)).values()
    assert sorted(set(numbers)) == list(range(min(numbers), max(numbers) + 1))


@pytest.mark.timeout(240)
async def test_what_either_of_two_can_read_arrives_once(
    stand_in: StandIn, azurite: str, namespace: str, tmp_path: Path
) -> None:
    """Each has the file that the other one lacks; both have a third."""
    documents = []
    for name in NAMES:
        folder = tmp_path / name
        folder.mkdir()
        of = {"kind": "file", "format": "jsonl", "identity": "sequence", "follow": True}
        documents.append(
            document(*({**of, "name": f, "uri": f"urn:{f}", "path": str(folder / f)} for f in ("x", "y", "both")))
        )

    def write(numbers: range) -> None:
        for name, files in zip(NAMES, (("x", "both"), ("y", "both")), strict=True):
            for file in files:
                with (tmp_path / name / file).open("a") as lines:
                    lines.writelines(json.dumps({"sequence": number}) + "\n" for number in numbers)

    write(range(10))
    pair = Pair(stand_in, f"{azurite};ContainerName={namespace}", tmp_path, documents)

    async def until_all_arrived(count: int) -> dict[str, list[int]]:
        async with asyncio.timeout(90):
            while True:
                found = await sent_by_source(stand_in)
                if [set(found.get(f"urn:{name}", ())) for name in ("x", "y", "both")] == [set(range(count))] * 3:
                    return found
                await asyncio.sleep(0.5)

    try:
        await until_all_arrived(10)
        write(range(10, 30))
        found = await until_all_arrived(30)
        await ask_until(lambda: sum(role in SENDING for role in pair.roles()) == 1, "not one of both sends")
        assert len(found["urn:x"]) == len(found["urn:y"]) == 30
    finally:
        pair.kill()


@pytest.mark.timeout(240)
async def test_replicas_that_are_cut_off_from_the_witness_go_on_with_one_sender(
    stand_in: StandIn, azurite: str, namespace: str, tmp_path: Path
) -> None:
    port = int(azurite.partition("BlobEndpoint=http://127.0.0.1:")[2].partition("/")[0])
    link = await Link("127.0.0.1", port).start()
    source = {"name": "s", "kind": "synthetic", "identity": "sequence"}
    witness = f"{storage_connection_string(f'http://127.0.0.1:{link.port}')};ContainerName={namespace}"
    pair = Pair(stand_in, witness, tmp_path, [document(source)] * 2)
    try:
        sending = await pair.until_settled()
        link.cut()
        await ask_until(lambda: pair.roles()[sending] == "alone", "the sender does not notice")
        assert (await pair.senders[1 - sending].answered_status())["role"] == "passive"
        link.mend()
        assert await pair.until_settled() == sending
    finally:
        pair.kill()
        await link.stop()
