"""Heartbeats as bytes: what is believed, and what is not."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sender.peers.beats import MAC_BYTES, MAX_BYTES, Beats, RefusedError
from edge_sender.ports import Standing

KEY = b"a key of sixteen characters"


def beats(name: str, session: str, key: bytes = KEY, group: str = "line-1") -> Beats:
    return Beats(key, group, name, session)


def says(name: str, **given: object) -> Standing:
    usual = {"is_sender": True, "holds": True, "is_fit": True, "can_send": True, "is_ready": False}
    fields = {"name": name, **usual, "reads": frozenset({"x"}), "positions": {"x": "1:2:3:4:5"}, **given}
    return Standing(**fields)  # type: ignore[arg-type]  # of different types, each right for its field


def refused(by: Beats, beat: bytes) -> str:
    with pytest.raises(RefusedError) as error:
        by.decode(beat)
    assert by.refused[error.value.reason] > 0
    return error.value.reason


def test_two_replicas_believe_each_other_after_one_beat_each() -> None:
    a, b = beats("a", "1"), beats("b", "2")
    assert refused(b, a.encode(says("a"))) == "unproven"
    assert a.decode(b.encode(says("b"))) == says("b")
    assert b.decode(a.encode(says("a", is_fit=False))) == says("a", is_fit=False)


def proven() -> tuple[Beats, Beats]:
    a, b = beats("a", "1"), beats("b", "2")
    refused(b, a.encode(says("a")))
    a.decode(b.encode(says("b")))
    return a, b


def test_a_beat_that_was_recorded_is_not_believed_again() -> None:
    a, b = proven()
    first, second = a.encode(says("a")), a.encode(says("a"))
    b.decode(first)
    b.decode(second)
    assert [refused(b, beat) for beat in (first, second)] == ["replayed", "replayed"]


def test_nothing_recorded_before_a_restart_is_believed_and_it_does_not_disturb_the_living() -> None:
    a, b = proven()
    old = [a.encode(says("a")) for _ in range(3)]
    for beat in old:
        b.decode(beat)
    again = beats("b", "3")
    assert {refused(again, beat) for beat in old} == {"unproven"}
    assert again.decode(_answered(a, again)) == says("a")
    restarted = beats("a", "4")
    refused(again, restarted.encode(says("a")))
    restarted.decode(again.encode(says("b")))
    again.decode(restarted.encode(says("a")))
    for beat in old:  # repeated while both live: what they say to each other is still believed
        assert refused(again, beat) == "unproven"
        assert restarted.decode(again.encode(says("b"))) == says("b")
        assert again.decode(restarted.encode(says("a"))) == says("a")


def _answered(a: Beats, to: Beats) -> bytes:
    """A beat of `a` after it has seen one of the other."""
    a.decode(to.encode(says("b")))
    return a.encode(says("a"))


@pytest.mark.parametrize(
    ("name", "other", "reason"),
    [
        ("a", beats("a", "9", key=b"another key of some length"), "forged"),
        ("a", beats("a", "9", group="line-2"), "foreign"),
        ("b", beats("b", "9"), "same-name"),
        ("b", beats("b", "2"), "own"),
    ],
)
def test_foreign_ones_are_refused_by_reason(name: str, other: Beats, reason: str) -> None:
    _, b = proven()
    assert refused(b, other.encode(says(name))) == reason


@given(st.binary(max_size=MAX_BYTES + 100), st.integers(0, 200))
def test_whatever_arrives_is_refused_and_nothing_else_happens(data: bytes, at: int) -> None:
    a, b = proven()
    assert refused(b, data) == "forged"
    beat = bytearray(a.encode(says("a")))
    beat[at % len(beat)] ^= 1
    assert refused(b, bytes(beat)) == "forged"


def test_a_beat_never_exceeds_its_size_and_leaves_positions_out_before_sources() -> None:
    a, b = proven()
    names = frozenset(f"source {number:060d}" for number in range(60))
    heard = b.decode(a.encode(says("a", reads=names, positions=dict.fromkeys(names, "1" * 100))))
    assert (heard.reads, heard.positions) == (names, {})
    many = a.encode(says("a", reads=frozenset(f"source {number:060d}" for number in range(1000))))
    assert MAC_BYTES < len(many) <= MAX_BYTES
    assert 0 < len(b.decode(many).reads) < 1000


@pytest.mark.parametrize(
    "text", [b"7", b"[]", b"{", b'{"v": 1, "group": "line-1"}', b'{"v": 1, "group": "line-1", "name": "a"}']
)
def test_what_is_signed_and_no_beat_of_this_version_is_refused(text: bytes) -> None:
    b = beats("b", "2")
    assert refused(b, hmac.digest(KEY, text, hashlib.sha256) + text) == "foreign"
