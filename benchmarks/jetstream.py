"""NATS JetStream as a peer, as a process: each reading is published with its key as `Nats-Msg-Id`, by which the server drops
duplicates within a window.

    python -m benchmarks.jetstream     (options as JSON in the environment variable BENCH_PEER)

Its client is only what this needs. Source: the NATS client protocol, and JetStream's wire API.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient, PartitionContext

from benchmarks.naive import body_of, readings_of
from benchmarks.peer_process import NEVER, Peer, options

STREAM, SUBJECT = "CLEAN", "clean"
WINDOW_NS = 4 * 3600 * 10**9


class Nats:
    """One connection, over which one caller at a time publishes a batch or asks JetStream something."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._inbox = f"_INBOX.{uuid4().hex}".encode()
        """The subject on which this connection alone gets its answers."""
        writer.write(b'CONNECT {"verbose":false,"headers":true}\r\nSUB ' + self._inbox + b" 1\r\n")
        self._lock = asyncio.Lock()

    @classmethod
    async def connect(cls, port: int) -> Nats:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await reader.readline()  # INFO
        return cls(reader, writer)

    async def _answer(self) -> dict[str, Any]:
        while True:
            line = await self._reader.readline()
            if line.startswith(b"MSG"):
                payload = await self._reader.readexactly(int(line.split()[-1]) + 2)
                answer: dict[str, Any] = json.loads(payload)
                if "error" in answer:
                    raise RuntimeError(str(answer["error"]))
                return answer
            if line.startswith(b"PING"):
                self._writer.write(b"PONG\r\n")
            elif not line or line.startswith(b"-ERR"):
                raise ConnectionError(line.decode())

    async def ask(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        payload = json.dumps(body).encode()
        async with self._lock:
            self._writer.write(b"PUB $JS.API.%b %b %d\r\n%b\r\n" % (subject.encode(), self._inbox, len(payload), payload))
            return await self._answer()

    async def publish(self, messages: list[tuple[str, str, bytes]]) -> None:
        """Subjects, ids and bodies; returns when all are stored."""
        parts = []
        for subject, message_id, body in messages:
            head = b"NATS/1.0\r\nNats-Msg-Id: %b\r\n\r\n" % message_id.encode()
            sizes = (len(head), len(head) + len(body))
            parts.append(b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject.encode(), self._inbox, *sizes, head, body))
        async with self._lock:
            self._writer.write(b"".join(parts))
            await self._writer.drain()
            for _ in messages:
                await self._answer()

    async def make_stream(self) -> None:
        subjects = [SUBJECT, f"{SUBJECT}.>"]
        stream = {"name": STREAM, "subjects": subjects, "storage": "file", "duplicate_window": WINDOW_NS}
        await self.ask(f"STREAM.CREATE.{STREAM}", {**stream, "retention": "limits", "num_replicas": 1})

    async def close(self) -> None:
        self._writer.close()


class JetStream(Peer):
    def __init__(self, nats: Nats, folder: Path, *, by_key: bool) -> None:
        """`by_key`: each reading gets a subject of its own, so that the server counts distinct ones."""
        super().__init__()
        self._nats = nats
        self._folder = folder
        self._by_key = by_key

    async def position(self, partition_id: str) -> str:
        path = self._folder / partition_id
        return path.read_text() if path.exists() else NEVER

    async def handle(self, context: PartitionContext, events: list[EventData]) -> None:
        messages = []
        for event in events:
            for key, item in readings_of(event):
                body = json.dumps(item).encode() if item is not None else body_of(event)
                subject = f"{SUBJECT}.{key.rpartition('|')[2]}" if self._by_key else SUBJECT
                messages.append((subject, key, body))
        await self._nats.publish(messages)
        following = self._folder / f"{context.partition_id}.next"
        following.write_text(str(events[-1].sequence_number))
        following.replace(self._folder / context.partition_id)


async def main() -> None:
    chosen = options()
    nats = await Nats.connect(chosen["nats_port"])
    async with EventHubConsumerClient.from_connection_string(chosen["input"], chosen["consumer_group"]) as client:
        await JetStream(nats, Path(chosen["folder"]), by_key=chosen["by_key"]).run(client)


if __name__ == "__main__":
    asyncio.run(main())
