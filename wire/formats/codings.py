"""Content codings of other senders' messages: undone to read a body, and applied again to what is left of it."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass

from wire.content_encoding import decoded

_GZIP_BYTES = b"\x1f\x8b"
_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Codings:
    """How a body was coded."""

    names: tuple[str, ...] = ()
    """In the order in which they were applied."""

    def applied(self, text: bytes) -> bytes:
        """The text, coded as the body was: what the message says of its body stays true."""
        for name in self.names:
            text = zlib.compress(text, _LEVEL) if name == "deflate" else gzip.compress(text, _LEVEL, mtime=0)
        return text


def uncoded(body: bytes, content_type: str | None, encoding: str | None, max_bytes: int) -> tuple[bytes, Codings]:
    """The body without its content codings. Gzip is also told by the suffix of the content type, or by its first bytes:
    OPC Publisher sends it with content-encoding `utf-8`. Raises UnreadableBodyError."""
    names = [part.strip().lower() for part in (encoding or "").split(",")]
    named = tuple(name for name in names if name in ("gzip", "x-gzip", "deflate"))
    text = decoded(body, encoding, max_bytes)
    is_gzip = text.startswith(_GZIP_BYTES) or (content_type or "").lower().endswith("+gzip")
    if is_gzip and text[:1] not in (b"{", b"["):
        return decoded(text, "gzip", max_bytes), Codings(("gzip", *named))
    return text, Codings(named)
