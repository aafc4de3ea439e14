"""A session that runs by itself, so that a source may have two for a moment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from edge_sender.sources.opcua.session import Session


@dataclass(frozen=True, slots=True)
class Running:
    session: Session
    task: asyncio.Task[None]

    async def serves(self) -> bool:
        """Returns once its server is read, or can't be."""
        served = asyncio.create_task(self.session.has_served.wait())
        try:
            await asyncio.wait((served, self.task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            served.cancel()
        return not self.task.done()

    async def serves_on(self, seconds: float) -> bool:
        """Returns whether it still does after this time; at once, if not."""
        await asyncio.wait((self.task,), timeout=seconds)
        return not self.task.done()

    @property
    def error(self) -> BaseException | None:
        """Why it has ended."""
        return self.task.exception()

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
