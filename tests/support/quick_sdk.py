"""Takes two waits out of the Event Hubs SDK in the process of the tests. It does what it does, only sooner.

For every connection, even without TLS, it reads all public authorities: three quarters of the CPU of a short one. No test
reaches an address that one of them vouches for. And while it opens a link it looks every 50 ms for the next answer, 25 times
until something is sent, whenever the answers came. Services that tests run as processes, and the SDK's own live tests, have
neither change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import certifi
import pytest
import trustme
from azure.eventhub.aio import _client_base_async as opening

POLL_SECONDS, SOONER_SECONDS = 0.05, 0.002


class _Asyncio:
    """As the SDK's module that opens links sees it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    @staticmethod
    async def sleep(seconds: float, **_: Any) -> None:
        await asyncio.sleep(SOONER_SECONDS if seconds == POLL_SECONDS else seconds)


@contextmanager
def quick_sdk(folder: Path) -> Iterator[None]:
    """`folder` takes the list of one authority, which nobody's certificate is from."""
    authorities = folder / "ca.pem"
    trustme.CA().cert_pem.write_to_path(authorities)
    patch = pytest.MonkeyPatch()
    patch.setattr(certifi, "where", lambda: str(authorities))
    patch.setattr(opening, "asyncio", _Asyncio())
    yield
    patch.undo()
