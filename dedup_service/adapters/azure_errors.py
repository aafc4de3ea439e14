"""Turns errors of the Azure SDKs into this service's own, and adds time-outs to calls that have none."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError, ResourceNotFoundError
from azure.eventhub.exceptions import AuthenticationError, EventHubError

from dedup_service.errors import DedupError, Dependency, UnavailableError

logger = logging.getLogger(__name__)

SDK_ERRORS = (EventHubError, AzureError, OSError, asyncio.TimeoutError)
CALL_TIMEOUT_SECONDS = 10.0
"""Limit for one metadata or store call; the SDK itself would wait forever for a peer that has fallen silent."""
CLOSE_TIMEOUT_SECONDS = 3.0
_REFUSED = (AuthenticationError, ClientAuthenticationError, ResourceNotFoundError)
_REFUSED_WORDS = ("Status code: 404", "not-found", "unauthorized")


def problem(error: BaseException) -> str:
    """The error on one line: the SDK's messages repeat themselves over many."""
    text = str(getattr(error, "message", None) or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(dict.fromkeys(lines))[:300] if lines else 'no message'}"


def is_refused(error: BaseException) -> bool:
    """Whether the credentials or the name were not accepted."""
    return isinstance(error, _REFUSED) or any(word in problem(error) for word in _REFUSED_WORDS)


@contextlib.asynccontextmanager
async def unavailable(dependency: Dependency, timeout_seconds: float = CALL_TIMEOUT_SECONDS) -> AsyncIterator[None]:
    """Raises UnavailableError for any error of the SDK, and for silence. Only for calls that change nothing or are
    idempotent."""
    try:
        async with asyncio.timeout(timeout_seconds):
            yield
    except DedupError:
        raise
    except Exception as error:  # also a defect of the SDK
        raise UnavailableError(dependency, problem(error), refused=is_refused(error)) from error


async def close_quietly(client: Any) -> None:
    """Closes an SDK client, and abandons one that hangs or fails while closing."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
            await client.close()
    except Exception as error:  # noqa: BLE001  # whatever it is, nobody needs the client any more
        logger.debug("a client did not close in order: %s", problem(error))
