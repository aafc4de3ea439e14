"""A compressed body is read to its end, or refused: a part of it never passes for the whole (R3)."""

from __future__ import annotations

import gzip
import zlib
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dedup_service.core.content_encoding import decoded
from dedup_service.errors import UndeliverableError
from tests.support.cpu_time import seconds_of
from wire.content_encoding import CHUNK_BYTES, MAX_CODINGS

LIMIT = 100_000


def raw_deflate(text: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(text) + compressor.flush()


def reason_of(body: bytes, encoding: str, limit: int = LIMIT) -> str:
    with pytest.raises(UndeliverableError) as caught:
        decoded(body, encoding, limit)
    return caught.value.reason


@given(parts=st.lists(st.binary(max_size=200), min_size=1, max_size=20))
def test_all_members_of_a_gzip_body_are_read(parts: list[bytes]) -> None:
    assert decoded(b"".join(map(gzip.compress, parts)), "gzip", LIMIT) == b"".join(parts)


@given(text=st.binary(max_size=2000), name=st.sampled_from(["gzip", "GZip", "x-gzip", " gzip ,", "deflate", "Deflate"]))
def test_names_are_those_of_the_rfc_in_any_case(text: bytes, name: str) -> None:
    compress = zlib.compress if "deflate" in name.lower() else gzip.compress
    assert decoded(compress(text), name, LIMIT) == text


@given(text=st.binary(max_size=2000))
def test_deflate_without_its_zlib_format_is_read_too(text: bytes) -> None:
    assert decoded(raw_deflate(text), "deflate", LIMIT) == text


def test_codings_are_undone_in_reverse_order() -> None:
    body = gzip.compress(zlib.compress(b"text"))
    assert decoded(body, "deflate, gzip", LIMIT) == b"text"
    assert reason_of(body, "gzip, deflate") == "unreadable-body"


@pytest.mark.parametrize("name", [None, "", "identity", "utf-8", "UTF-8, identity"])
def test_other_names_do_not_change_the_bytes(name: str | None) -> None:
    assert decoded(b"\x1f\x8b as it is", name, LIMIT) == b"\x1f\x8b as it is"


@pytest.mark.parametrize("name", ["br", "zstd", "compress", "gzip, br"])
def test_a_coding_that_can_not_be_undone_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(UndeliverableError, match=name.rpartition(" ")[2]):
        decoded(gzip.compress(b"[]"), name, LIMIT)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (gzip.compress(b"one") + gzip.compress(b"two")[:-4], "gzip"),
        (gzip.compress(b"one") + b"something else", "gzip"),
        (gzip.compress(b"one") + bytes(512), "gzip"),
        (gzip.compress(b"one")[:5], "gzip"),
        (b"", "gzip"),
        (b"[]", "gzip"),
        (zlib.compress(b"one") + b"x", "deflate"),
        (zlib.compress(b"one") + zlib.compress(b"two"), "deflate"),
        (zlib.compress(b"one")[:-1], "deflate"),
        (b"[]", "deflate"),
    ],
    ids=range(10),
)
def test_what_can_not_be_read_to_its_end_is_refused_as_a_whole(body: bytes, name: str) -> None:
    assert reason_of(body, name) == "unreadable-body"


@pytest.mark.parametrize("members", [1, 2, 50])
def test_the_limit_is_for_all_members_together(members: int) -> None:
    body = gzip.compress(b"0" * 1000) * members
    assert decoded(body, "gzip", 1000 * members) == b"0" * 1000 * members
    assert reason_of(body, "gzip", 1000 * members - 1) == "decompressed-too-large"


def test_too_many_codings_are_refused() -> None:
    body = b"text"
    for _ in range(MAX_CODINGS + 1):
        body = gzip.compress(body)
    assert reason_of(body, "gzip," * (MAX_CODINGS + 1)) == "unreadable-body"


def test_members_cost_what_they_hold_and_not_what_follows_them() -> None:
    """Read to the end of the body for each member, the larger one would cost the square of the smaller."""
    member = gzip.compress(b"")

    assert decoded(member * 1000, "gzip", LIMIT) == b""
    small, large = (seconds_of(partial(decoded, member * count, "gzip", LIMIT)) for count in (1000, 16_000))
    assert len(member) * 1000 > CHUNK_BYTES
    assert large < 64 * small
