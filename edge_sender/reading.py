"""The tasks of the sources: each is started, ended and started again without the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 10.0
"""A task that failed is started again after this time."""
MIN_PROOF_SECONDS, MAX_PROOF_SECONDS = 0.5, 5.0
"""What was just started counts as working when it is up and has not failed for the first time; after the second it need not
be up, since its server may be away."""
POLL_SECONDS = 0.05


class Readers:
    """Runs each task until it is stopped or has finished. One that fails costs itself only."""

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}
        """Tasks that failed and wait for another start, and with what."""
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self._tasks[name] = asyncio.create_task(self._keep_running(name, work))

    async def stop(self, names: Iterable[str] | None = None) -> None:
        """Ends the tasks of these names, as far as there are any; without names, all."""
        ended = [task for name in list(self._tasks if names is None else names) if (task := self._tasks.pop(name, None))]
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        self.failures = {name: failure for name, failure in self.failures.items() if name in self._tasks}

    async def prove(self, names: Iterable[str], are_up: Callable[[], bool]) -> str | None:
        """Wait until what was just started seems to work. Returns what the first one failed with, if one did."""
        started = tuple(names)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while started and (passed := loop.time() - began) < MAX_PROOF_SECONDS:
            await asyncio.sleep(POLL_SECONDS)
            for name in started:
                if name in self.failures:
                    return f"{name}: {self.failures[name]}"
            if passed >= MIN_PROOF_SECONDS and are_up():
                break
        return None

    async def _keep_running(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        told = ""
        while True:
            try:
                await work()
                return
            except Exception as error:
                self.failures[name] = repr(error)
                if told != repr(error):
                    told = repr(error)
                    logger.exception(
                        "%s has failed; it is started again every %g s, and all else goes on", name, AGAIN_SECONDS
                    )
            await asyncio.sleep(AGAIN_SECONDS)
            self.failures.pop(name, None)
