"""What is compiled comes to the same result as Python, byte for byte and type for type, or to none. The tests of decoding
and encoding run with both; these are about what lies between."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from azure.eventhub._pyamqp._encode import encode_frame
from azure.eventhub._pyamqp.performatives import TransferFrame
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.events import Load, input_log
from dedup_service.adapters.eventhubs.below_sdk import decoding, encoding
from dedup_service.adapters.eventhubs.below_sdk.frames import Link, events_at, transfer_at
from dedup_service.adapters.eventhubs.below_sdk.native import PYTHON, codec_of
from dedup_service.adapters.eventhubs.below_sdk.values import NotDecodableError
from dedup_service.core.events import InputEvent
from dedup_service.core.outgoing import OutgoingEvent
from dedup_service.core.property_types import Long, Symbol, Timestamp, Uint, Ulong
from dedup_service.errors import UndeliverableError
from sandbox.amqp.messages import APPLICATION_PROPERTIES, annotated, data_section, section
from tests.property.test_event_decoding import HUB, messages
from tests.property.test_event_encoding import EVENTS, NAMES, VALUES
from tests.support.native import native_codec, native_module

pytestmark = pytest.mark.skipif(native_module() is None, reason="there is no C compiler, or no Python.h")

TYPED = st.integers(-(2**63), 2**63 - 1).map(Timestamp) | st.integers(-(2**63), 2**63 - 1).map(Long)
OTHERS = st.integers(0, 2**32 - 1).map(Uint) | st.integers(0, 2**64 - 1).map(Ulong) | st.just(Symbol("s"))
LINK = Link(channel=5, handle=300)
RECORDED = [entry.message for batch in (1, 20) for entry in input_log(Load(40, replicas=1, batch=batch))["0"][:2]]


def module() -> ModuleType:
    """Configured."""
    assert native_codec().is_native
    found = native_module()
    assert found is not None
    return found


def with_types(event: InputEvent | None) -> Any:
    if event is None:
        return None
    maps = (event.annotations, event.application_properties)
    return repr(event), type(event.creation_time), [type(value) for named in maps for value in named.values()]


def agree(data: bytes, at: int, end: int) -> bool:
    """Whether the compiled decoder has decoded these bytes, to the same event; False where it left them to Python."""
    compiled = module().decode("3", data, at, end)
    if compiled is None:
        return False
    assert with_types(compiled) == with_types(decoding.decode("3", data, at, end))
    return True


def agree_on_frames(data: bytes, link: Link, most: int = 100, until: int = 2**20) -> int:
    """How many events were decoded from these frames, the same by both; the compiled decoder may stop earlier."""
    compiled, end = module().events("3", data, 0, most, until, *link)
    expected, python_end = events_at("3", data, 0, len(compiled), until, *link)
    assert end == python_end
    assert [with_types(event) for event in compiled] == [with_types(event) for event in expected]
    return len(compiled)


def frame(payload: bytes, link: Link = LINK, *, more: bool | None = False, tag: bytes = b"t") -> bytes:
    head, body = encode_frame(TransferFrame(link.handle, 1, tag, 0, True, more, payload=payload))
    return head + link.channel.to_bytes(2, "big") + bytes(body or b"")


def encoded(event: OutgoingEvent) -> bytes | None:
    own = (event.message_id, event.correlation_id, event.content_type, event.content_encoding)
    message: bytes | None = module().encode(event.body, *own, event.properties)
    return message


@given(payload=messages(), before=st.binary(max_size=20), behind=st.binary(max_size=20))
def test_any_message_is_decoded_alike_or_left_to_python(payload: bytes, before: bytes, behind: bytes) -> None:
    agree(before + payload + behind, len(before), len(before) + len(payload))


@given(payload=st.sampled_from(RECORDED) | messages(), data=st.data())
def test_a_message_with_wrong_bytes_is_decoded_alike_or_left_to_python(payload: bytes, data: st.DataObject) -> None:
    """Where Python can't decode it, this fails unless the compiled decoder leaves it to Python."""
    wrong = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 3))):
        wrong[data.draw(st.integers(0, min(len(wrong), 400) - 1))] = data.draw(st.integers(0, 255))
    agree(bytes(wrong), 0, len(wrong))


@given(payload=st.sampled_from(RECORDED) | messages(), size=st.integers(0, 2000))
def test_nothing_behind_the_end_is_read(payload: bytes, size: int) -> None:
    """The rest of the message is there, but belongs to nobody: what comes out is what comes out without it."""
    end = min(size, len(payload))
    try:
        expected = with_types(decoding.decode("3", payload[:end], 0, end))
    except NotDecodableError:
        expected = None
    assert with_types(module().decode("3", payload, 0, end)) in (expected, None)


def test_every_truncation_of_a_usual_message_is_left_to_python() -> None:
    for payload in RECORDED:
        assert [end for end in range(len(payload) + 1) if module().decode("3", payload, 0, end)] == [len(payload)]


def test_usual_messages_are_decoded_without_python() -> None:
    types = {"a": "text", "b": b"\xff", "c": None, "d": True, "e": -1, "f": 0.5, "g": 2**40, "h": "x" * 300}
    typed = section(APPLICATION_PROPERTIES, types) + data_section(b"x" * 300)
    for payload in (*RECORDED, annotated(HUB, typed)):
        assert agree(payload, 0, len(payload))


def test_made_up_names_are_each_read_as_they_are() -> None:
    for number in range(20):
        made_up = {f"n{number}-{n}": n for n in range(200)} | {"\u00b5" * 9: 0, "n" * 200: 1}
        payload = annotated(HUB, section(APPLICATION_PROPERTIES, made_up) + data_section(b"x"))
        assert agree(payload, 0, len(payload))


@pytest.mark.parametrize(("at", "end"), [(-1, 5), (3, 2), (0, 10_000), (10_000, 10_000)])
def test_places_outside_the_bytes_are_left_to_python(at: int, end: int) -> None:
    assert module().decode("3", RECORDED[0], at, end) is None


LINKS = st.builds(Link, st.sampled_from([0, 1, 5, 2**16 - 1]), st.sampled_from([0, 1, 255, 256, 2**32 - 1]))


@given(
    payloads=st.lists(st.sampled_from(RECORDED) | messages(), min_size=1, max_size=4),
    link=LINKS,
    other=LINKS,
    more=st.sampled_from([False, None, True]),
    tag=st.binary(max_size=300),
)
def test_any_frames_are_decoded_alike_or_left_to_python(
    payloads: list[bytes], link: Link, other: Link, more: bool | None, tag: bytes
) -> None:
    frames = b"".join(frame(payload, link, tag=tag) for payload in payloads)
    agree_on_frames(frames + frame(payloads[0], other, more=more), link)


@given(data=st.data(), size=st.integers(0, 3000))
def test_frames_with_wrong_bytes_or_in_parts_are_decoded_alike_or_left_to_python(data: st.DataObject, size: int) -> None:
    wrong = bytearray(frame(RECORDED[0]) + frame(RECORDED[-1]))
    for _ in range(data.draw(st.integers(1, 3))):
        wrong[data.draw(st.integers(0, 59) | st.integers(0, len(wrong) - 1))] = data.draw(st.integers(0, 255))
    agree_on_frames(bytes(wrong), LINK)
    agree_on_frames(bytes(wrong[:size]), LINK)


def test_usual_frames_are_decoded_without_python() -> None:
    frames = [frame(payload) for payload in RECORDED]
    together = b"".join(frames)
    assert agree_on_frames(together, LINK) == len(frames)
    assert agree_on_frames(together, LINK, most=2) == 2
    assert agree_on_frames(together, LINK, until=len(frames[0])) == 1
    assert agree_on_frames(together, LINK, until=len(frames[0]) + 1) == 2
    assert agree_on_frames(together[:-1], LINK) == len(frames) - 1


@pytest.mark.parametrize("code", [0x40, 0x41, 0x42, 0x44, 0x50, 0x53, 0x56, 0xA0])
def test_what_is_no_handle_names_no_link(code: int) -> None:
    """Not even that of handle 0, which may be written without a byte."""
    link = Link(5, 0)
    usual = frame(RECORDED[0], link)
    at = usual.index(b"\x00\x53\x14\xc0") + 6
    odd = usual[:at] + bytes([code]) + usual[at + 1 :]
    assert transfer_at(usual, 0, link) is not None
    assert transfer_at(odd, 0, link) is None
    assert agree_on_frames(odd, link) == 0


@pytest.mark.parametrize(
    "last", [frame(RECORDED[0], more=True), frame(RECORDED[0], Link(5, 301)), frame(RECORDED[0], Link(6, 300)), frame(b"")]
)
def test_both_stop_before_what_is_no_whole_event_of_the_link(last: bytes) -> None:
    frames = frame(RECORDED[0]) + last + frame(RECORDED[0])
    assert agree_on_frames(frames, LINK) == 1
    assert events_at("3", frames, 0, 100, 2**20, *LINK)[1] == len(frame(RECORDED[0]))


@given(event=EVENTS, more=st.dictionaries(NAMES, VALUES | TYPED | OTHERS, max_size=3))
def test_any_event_is_encoded_alike_or_left_to_python(event: OutgoingEvent, more: dict[str, Any]) -> None:
    mixed = OutgoingEvent(
        event.body,
        event.content_type,
        event.content_encoding,
        event.message_id,
        event.correlation_id,
        {**event.properties, **more},
        1,
    )
    message = encoded(mixed)
    assert message is None or message == encoding.encode(mixed)


@pytest.mark.parametrize("size", [0, 255, 256, 5000, 300_000])
def test_usual_events_are_encoded_without_python(size: int) -> None:
    properties = {
        "a": "\u00b5" * size,
        "b": Timestamp(2**40),
        "c": Long(-1),
        "d": 2**31,
        "e": -1,
        "f": 0.5,
        "g": None,
        "h": False,
    }
    for named in (properties, {}):
        event = OutgoingEvent(b"x" * size, "text/plain", None, "m", None, named, 1)
        assert encoded(event) == encoding.encode(event)


@pytest.mark.parametrize("value", [2**64, object(), "\ud800", [1], Ulong(1)])
def test_what_is_left_to_python_leaves_no_error_behind(value: Any) -> None:
    event = OutgoingEvent(b"", None, None, None, None, {"odd": value}, 1)
    assert encoded(event) is None
    try:
        expected: bytes | str = PYTHON.encode(event)
    except UndeliverableError as error:
        expected = str(error)
    try:
        found: bytes | str = native_codec().encode(event)
    except UndeliverableError as error:
        found = str(error)
    assert found == expected


def test_a_module_that_was_not_compiled_or_is_another_one_is_not_used() -> None:
    class Other(SimpleNamespace):
        def configure(self, *types: type) -> None:
            pass

    other = Other(decode=lambda *_: None, encode=lambda *_: b"")
    for useless in (None, SimpleNamespace(), other):
        assert codec_of(cast("ModuleType | None", useless)) is PYTHON
