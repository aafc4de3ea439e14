"""Undoes the content codings of a body, whole or not at all, under a limit on the result.

A body that was read in part must never pass for the whole: the readings behind the part would be lost, or published
unclaimed. Source: RFC 9110 §8.4 (content codings), RFC 1952 §2.2 (a gzip file is a series of members), RFC 1950 (zlib).
"""

from __future__ import annotations

import zlib

MAX_CODINGS = 4
"""Each one may cost as much as the limit on the result allows."""
CHUNK_BYTES = 8 * 1024
"""Read at a time, so that a body of thousands of tiny members is not copied again for each of them."""
GZIP, ZLIB, RAW_DEFLATE = 31, 15, -15
"""Formats, as zlib's `wbits`."""
UNSUPPORTED = frozenset(("br", "compress", "x-compress", "dcb", "dcz", "pack200-gzip", "exi", "zstd", "aes128gcm"))
"""Registered codings that can't be undone here. Other names, such as `utf-8`, do not change the bytes."""


class UnreadableBodyError(ValueError):
    """`reason` is from a fixed set, and a metric label."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def decoded(body: bytes, content_encoding: str | None, max_bytes: int) -> bytes:
    """The body without its codings, which are listed in the order in which they were applied.

    Raises UnreadableBodyError when the body can't be read to its end, or is larger than `max_bytes`."""
    if content_encoding is None:
        return body
    names = [name for part in content_encoding.split(",") if (name := part.strip().lower())]
    if len(names) > MAX_CODINGS:
        raise UnreadableBodyError("unreadable-body", f"{len(names)} content-encodings, more than {MAX_CODINGS}")
    for name in reversed(names):
        if name in ("gzip", "x-gzip"):
            body = _inflated(body, GZIP, name, max_bytes)
        elif name == "deflate":
            body = _inflated(body, ZLIB if _has_zlib_header(body) else RAW_DEFLATE, name, max_bytes)
        elif name in UNSUPPORTED:
            raise UnreadableBodyError("unreadable-body", f"content-encoding {name} is not supported")
    return body


def _has_zlib_header(body: bytes) -> bool:
    """Some senders write `deflate` without the zlib format that the RFC requires."""
    return len(body) >= 2 and body[0] & 0x0F == zlib.DEFLATED and int.from_bytes(body[:2], "big") % 31 == 0


def _inflated(body: bytes, wbits: int, name: str, max_bytes: int) -> bytes:
    """All members, concatenated; only gzip has more than one."""
    parts: list[bytes] = []
    at, room = 0, max_bytes
    inflater = zlib.decompressobj(wbits)
    try:
        while at < len(body):
            if inflater.eof:
                if wbits != GZIP:
                    raise UnreadableBodyError("unreadable-body", f"there are {len(body) - at} bytes behind the {name} body")
                inflater = zlib.decompressobj(wbits)
            chunk = body[at : at + CHUNK_BYTES]
            text = inflater.decompress(chunk, room + 1)
            room -= len(text)
            if room < 0:
                raise UnreadableBodyError("decompressed-too-large", f"more than {max_bytes} bytes")
            parts.append(text)
            at += len(chunk) - len(inflater.unused_data)
    except zlib.error as error:
        raise UnreadableBodyError("unreadable-body", f"the body is not {name}: {error}") from None
    if not inflater.eof:
        raise UnreadableBodyError("unreadable-body", f"the {name} body is truncated")
    return b"".join(parts)
