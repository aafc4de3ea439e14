"""Child processes of a demo or drill: started with a log file each, awaited until ready, killed or stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STOP_SECONDS = 15.0


FIRST_PORT, LAST_PORT = 10_000, 32_000
"""Below those that systems give to outgoing connections: one of these could take the port before it is listened to."""


CANNOT_CONTINUE = 2
"""Exit status of a program that gave up before it had a verdict."""

ENDED = "ended unexpectedly"


class ProcessError(Exception):
    """A child ended or was not ready in time; the message includes the end of its log."""


def free_port() -> int:
    """A port of 127.0.0.1 that is currently unused. Raises ProcessError."""
    for port in random.SystemRandom().sample(range(FIRST_PORT, LAST_PORT), 1000):  # nobody's seed makes two choose the same
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise ProcessError(f"no port from {FIRST_PORT} to {LAST_PORT} is free")


class Child:
    """One process, `python -m module arguments`, in a session of its own so that Ctrl-C reaches only the parent."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, name: str, arguments: list[str], environment: Mapping[str, str], log_folder: Path) -> Child:
        log = log_folder / f"{name}.log"
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=file,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        return cls(name, process, log)

    async def line(self, timeout_seconds: float) -> dict[str, Any]:
        """The next JSON line that the child prints, the first one of which says that it is ready. Raises ProcessError."""
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), timeout_seconds)
        except TimeoutError:
            raise ProcessError(f"{self.name} said nothing within {timeout_seconds:.0f} s\n{self.log_tail()}") from None
        if not line:
            raise ProcessError(f"{self.name} {ENDED}\n{self.log_tail()}")
        description: dict[str, Any] = json.loads(line)
        return description

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    def require_running(self) -> None:
        """Raises ProcessError."""
        if not self.is_running:
            raise ProcessError(f"{self.name} {ENDED}\n{self.log_tail()}")

    def log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])

    async def kill(self) -> None:
        if self.is_running:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        if self.is_running:
            self._process.send_signal(number)

    def terminate(self) -> None:
        """Send SIGTERM without waiting for the process to end."""
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)

    async def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if the process has not ended after STOP_SECONDS."""
        self.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            await self.kill()
