"""The edge's uplink port as a list of the messages that were sent."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from edge_sender.ports import Message


@dataclass
class ListUplink:
    messages: list[Message] = field(default_factory=list)

    async def connect(self) -> None:
        return

    async def lost(self) -> None:
        await asyncio.Event().wait()

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    async def close(self) -> None:
        return

    def ids(self) -> dict[tuple[str, int], str]:
        """Ids by source and the machine's own counter."""
        parts = [part for message in self.messages for part in json.loads(message.body)]
        return {(part["source"], part["data"]["sequence"]): part["id"] for part in parts}
