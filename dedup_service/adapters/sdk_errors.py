"""What the Event Hubs SDK raises, as this service's own errors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from azure.core.exceptions import AzureError
from azure.eventhub.exceptions import AuthenticationError, EventHubError

from dedup_service.errors import UnavailableError

SDK_ERRORS = (EventHubError, AzureError, OSError, asyncio.TimeoutError)


def problem(error: BaseException) -> str:
    """One line: the SDK's messages repeat themselves over many."""
    text = str(getattr(error, "message", None) or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(dict.fromkeys(lines))[:300] if lines else 'no message'}"


@contextlib.contextmanager
def unavailable(what: str) -> Iterator[None]:
    """Raise UnavailableError for the SDK's errors; for calls that change nothing."""
    try:
        yield
    except SDK_ERRORS as error:
        text = problem(error)
        refused = isinstance(error, AuthenticationError) or "Status code: 404" in text or "not-found" in text
        raise UnavailableError(what, text, refused=refused) from error
