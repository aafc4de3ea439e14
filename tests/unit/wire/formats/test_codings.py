"""What is left of a coded body is coded as the body was."""

from __future__ import annotations

import gzip
import zlib

import pytest

from wire.formats.codings import uncoded

TEXT = b'{"a":1}'
ZIPPED = gzip.compress(TEXT, mtime=0)


@pytest.mark.parametrize(
    ("body", "content_type", "encoding"),
    [
        (TEXT, "application/json", "utf-8"),
        (TEXT, None, None),
        (ZIPPED, None, "GZip"),
        (zlib.compress(TEXT), "application/json", "deflate"),
        (gzip.compress(zlib.compress(TEXT), mtime=0), None, "deflate, gzip"),
        (ZIPPED, "application/json+gzip", "utf-8"),
        (ZIPPED, "application/json", None),
        (zlib.compress(ZIPPED), "application/json+gzip", "deflate"),
    ],
)
def test_a_body_comes_back_as_it_was_coded(body: bytes, content_type: str | None, encoding: str | None) -> None:
    text, codings = uncoded(body, content_type, encoding, 1000)
    assert text == TEXT
    again = codings.applied(b"[2]")
    assert uncoded(again, content_type, encoding, 1000) == (b"[2]", codings)


def test_a_body_that_only_says_it_is_gzip_is_read_as_it_is() -> None:
    assert uncoded(TEXT, "application/json+gzip", None, 1000)[0] == TEXT
