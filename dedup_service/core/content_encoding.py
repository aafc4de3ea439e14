"""Undoes the content codings of a body (wire/content_encoding.py), with an error of this service."""

from __future__ import annotations

from dedup_service.errors import UndeliverableError
from wire import content_encoding
from wire.content_encoding import UnreadableBodyError


def decoded(body: bytes, encoding: str | None, max_bytes: int) -> bytes:
    """Raises UndeliverableError."""
    try:
        return content_encoding.decoded(body, encoding, max_bytes)
    except UnreadableBodyError as error:
        raise UndeliverableError(error.reason, error.detail) from None
