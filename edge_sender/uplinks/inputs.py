"""The module's inputs: what edgeHub's routes bring from other modules, on the uplink's connection.

edgeHub keeps a message until it is acknowledged, and sends it again to a module that was killed before that.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from edge_sender.ports import ModuleMessage, UplinkError, nothing
from edge_sender.uplinks.acknowledging import MARK, Acknowledger, acknowledger_of
from edge_sender.uplinks.twin import TROUBLE

logger = logging.getLogger(__name__)

MOST_WAITING = 1000
"""Messages that are kept while nobody listens, which is for a moment when a source is replaced."""
SYSTEM = "$."
"""Names of what edgeHub says of a message begin so; the SDK puts it among the sender's properties."""


class ModuleInputs:
    def __init__(self, client: Callable[[], Any]) -> None:
        """`client` returns the SDK's. Raises UplinkError while there is none."""
        self._client = client
        self._listeners: dict[str, Callable[[ModuleMessage], None]] = {}
        self._waiting: deque[ModuleMessage] = deque()
        self._lock = asyncio.Lock()
        self._acknowledger: Acknowledger | None = None
        self._asked: Any = None
        """The client that was asked last; renewed certificates bring another one."""
        self.lost = 0

    @property
    def is_wanted(self) -> bool:
        return bool(self._listeners)

    @contextmanager
    def listening(self, name: str, take: Callable[[ModuleMessage], None]) -> Iterator[None]:
        self._listeners[name] = take
        waiting, self._waiting = self._waiting, deque()
        for message in waiting:
            self._dispatch(message)
        try:
            yield
        finally:
            del self._listeners[name]

    async def subscribe(self) -> None:
        """Raises UplinkError."""
        await self.ask()
        if not self._client().connected:
            raise UplinkError("the module is not connected to its hub")

    async def ask(self) -> None:
        """The SDK does this once; a repeated call costs nothing. It must precede the connection: a hub sends at once what
        waits, and the SDK drops what comes before. Raises UplinkError."""
        async with self._lock:
            client, loop = self._client(), asyncio.get_running_loop()
            if self._asked is not client:
                self._acknowledger, self._asked = acknowledger_of(client), client
            acknowledger = self._acknowledger

            async def on_message(message: Any) -> None:  # on the SDK's own thread
                if not loop.is_closed():
                    loop.call_soon_threadsafe(self._dispatch, _received(message, acknowledger))

            try:
                await asyncio.to_thread(setattr, client, "on_message_received", on_message)
            except TROUBLE as error:
                raise UplinkError(f"the module's inputs can't be heard: {error!r}") from error

    def _dispatch(self, message: ModuleMessage) -> None:
        """What nobody listens to goes to any listener, to be counted."""
        take = self._listeners.get(message.input) or next(iter(self._listeners.values()), None)
        if take is not None:
            take(message)
        elif len(self._waiting) < MOST_WAITING:
            self._waiting.append(message)
        else:
            message.acknowledge()
            self.lost += 1
            if self.lost == 1:
                logger.warning(
                    "messages of other modules arrive, and no source takes them; remove their routes to this module"
                )


def _received(message: Any, acknowledger: Acknowledger | None) -> ModuleMessage:
    data = message.data
    given = {str(name): "" if value is None else str(value) for name, value in message.custom_properties.items()}
    token = given.pop(MARK, None)
    acknowledge = nothing if acknowledger is None or token is None else partial(acknowledger.acknowledge, token)
    return ModuleMessage(
        message.input_name,
        data if isinstance(data, bytes) else str(data).encode(),
        message.content_type,
        message.content_encoding,
        {name: value for name, value in given.items() if not name.startswith(SYSTEM)},
        {name: value for name, value in given.items() if name.startswith(SYSTEM)},
        acknowledge,
    )
