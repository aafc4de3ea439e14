"""What the sender needs from outside: a source of samples, and an uplink."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edge_sender.identity import Sample
from edge_sender.readings import Message


class UplinkError(Exception):
    """The message may or may not have arrived: send it again, with the same ids."""


class MessageRefusedError(Exception):
    """The message can never be sent; the sender counts its readings and goes on."""


class Uplink(Protocol):
    """Takes messages to the hub, at least once."""

    async def connect(self) -> None:
        """Raises UplinkError when the hub can't be reached; may be called again."""
        ...

    async def send(self, message: Message) -> None:
        """Returns when the hub has acknowledged. Raises UplinkError or MessageRefusedError. May run concurrently."""
        ...

    async def close(self) -> None: ...


class Source(Protocol):
    """Calls `on_sample` for every sample until it is closed; reconnects by itself."""

    async def start(self, on_sample: Callable[[Sample], None]) -> None: ...

    async def close(self) -> None: ...
