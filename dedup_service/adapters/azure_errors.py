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
_CUT_OFF_WORDS = "ErrorCondition.SocketError"
_SHUT_OUT_WORDS = ("amqp:link:stolen", "amqp:resource-limit-exceeded")
"""The first: a reader with an epoch has the partition. The second: five readers without one already have it."""


def _text(error: BaseException) -> str:
    return str(getattr(error, "message", None) or error)


def problem(error: BaseException) -> str:
    """The error on one line: the SDK's messages repeat themselves over many."""
    lines = [line.strip() for line in _text(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(dict.fromkeys(lines))[:300] if lines else 'no message'}"


def is_refused(error: BaseException) -> bool:
    """Whether the credentials or the name were not accepted. The hub's condition stands at the end of a long message."""
    return isinstance(error, _REFUSED) or any(word in _text(error) for word in _REFUSED_WORDS)


def is_cut_off(error: BaseException) -> bool:
    """Whether the connection broke or could not be made, as the SDK says at the end of its message."""
    return _CUT_OFF_WORDS in _text(error)


def is_shut_out(error: BaseException) -> bool:
    """Whether other readers of the consumer group keep this one from its partition."""
    return any(word in _text(error) for word in _SHUT_OUT_WORDS)


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
