"""What becomes a reading, and the pure decisions about sequence numbers, statuses and encoded values."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary, variant_to_binary
from hypothesis import given
from hypothesis import strategies as st

from edge_sender.config.nodes import Payload, TimeChoice
from edge_sender.sources.opcua.decoding import Change, notification_message, publish_result
from edge_sender.sources.opcua.json_encoding import Values
from edge_sender.sources.opcua.notifications import Form, NoReadingError, has_overflowed, sample_of, without_overflow
from edge_sender.sources.opcua.sequence import LAST, Gap, Numbers
from edge_sender.sources.opcua.walking import Walker

PLAIN = Values((), {})
VALUES = [
    ua.Variant(None, ua.VariantType.Null),
    ua.Variant(True),
    ua.Variant([1.5, 2.5], ua.VariantType.Double),
    ua.Variant([[1, 2], [3, 4]], ua.VariantType.Int32, Dimensions=[2, 2]),
    ua.Variant(["a", None, "ü"], ua.VariantType.String),
    ua.Variant(ua.LocalizedText("text", "de")),
    ua.Variant(ua.QualifiedName("name", 3)),
    ua.Variant(ua.NodeId("x", 2)),
    ua.Variant(ua.ExpandedNodeId(7, 2, NamespaceUri="urn:x", ServerIndex=3)),
    ua.Variant(ua.NodeId(b"\x01", 2, ua.NodeIdType.ByteString)),
    ua.Variant(ua.Argument(Name="a"), ua.VariantType.ExtensionObject),
    ua.Variant([ua.Variant(1), ua.Variant("x")], ua.VariantType.Variant),
    ua.Variant(ua.DataValue(ua.Variant(1), StatusCode=ua.StatusCode(5)), ua.VariantType.DataValue),
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_a_value_ends_where_the_library_ends_it(value: ua.Variant) -> None:
    encoded = variant_to_binary(value)
    walker = Walker(encoded + b"\xff" * 9)
    walker.variant()
    assert walker.at == len(encoded)


@given(st.binary(max_size=60))
def test_malformed_bytes_are_refused(data: bytes) -> None:
    walker = Walker(data)
    try:
        walker.variant()
    except ValueError:
        return
    assert 0 < walker.at <= len(data)


@pytest.mark.parametrize(
    "data", [b"\x80\xff\xff\xff\x7f", b"\x98\xff\xff\xff\x7f", b"\x18" * 100_000, b"\x86\xff\xff\xff\x7f"], ids=len
)
def test_values_without_end_are_refused_at_once(data: bytes) -> None:
    with pytest.raises(ValueError, match="end|nested"):
        Walker(data).variant()


def result(*notifications: Any, number: int = 7) -> bytes:
    message = ua.NotificationMessage(SequenceNumber=number, NotificationData=list(notifications))
    parameters = ua.PublishResult(SubscriptionId=5, AvailableSequenceNumbers=[6, 7], NotificationMessage=message)
    return bytes(struct_to_binary(parameters))


def test_a_publish_result_is_decoded_item_by_item() -> None:
    value = ua.DataValue(ua.Variant(1.5), StatusCode=ua.StatusCode(0x480), SourceTimestamp=ua.get_win_epoch())
    items = [ua.MonitoredItemNotification(3, value), ua.MonitoredItemNotification(4, ua.DataValue())]
    message = publish_result(
        result(ua.DataChangeNotification(items), ua.StatusChangeNotification(ua.StatusCode(0x800A0000)))
    )
    assert (message.subscription, message.number, message.is_keep_alive) == (5, 7, False)
    assert message.changes == [Change(3, variant_to_binary(ua.Variant(1.5)), 0x480, 0), Change(4)]
    assert message.statuses == [0x800A0000]


def test_a_keep_alive_has_no_content() -> None:
    assert publish_result(result()).is_keep_alive


@given(st.data())
def test_a_publish_result_that_was_cut_or_changed_never_ends_the_program(data: st.DataObject) -> None:
    items = [ua.MonitoredItemNotification(n, ua.DataValue(value)) for n, value in enumerate(VALUES)]
    encoded = bytearray(result(ua.DataChangeNotification(items)))
    for _ in range(data.draw(st.integers(0, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = publish_result(bytes(encoded[: data.draw(st.integers(0, len(encoded)))]))
    except ValueError:
        return
    assert len(message.changes) + message.unreadable >= 0


@pytest.mark.parametrize(
    ("expected", "number", "gap"),
    [
        (1, 1, None),
        (1, 4, Gap(1, 3)),
        (9, 5, None),
        (LAST, LAST, None),
        (LAST, 2, Gap(LAST, 2)),
        (LAST - 1, 1, Gap(LAST - 1, 2)),
    ],
)
def test_what_is_missing_before_a_message(expected: int, number: int, gap: Gap | None) -> None:
    assert Numbers(expected).gap_before(number) == gap


def test_numbers_go_round_from_the_last_to_1() -> None:
    numbers = Numbers(LAST)
    numbers.received(LAST)
    assert numbers.next == 1
    assert Gap(LAST - 1, 4).numbers() == [LAST - 1, LAST, 1, 2]


def test_a_server_that_numbers_wildly_is_not_asked_for_ever() -> None:
    assert len(Gap(1, 10**9).numbers()) == 1000


@pytest.mark.parametrize(
    ("status", "overflowed", "without"),
    [
        (0, False, 0),
        (0x480, True, 0),
        (0x80, False, 0x80),
        (0x400, False, 0x400),
        (0x80320480, True, 0x80320000),
        (0x580, True, 0x500),
    ],
)
def test_the_mark_of_an_overflow(status: int, overflowed: bool, without: int) -> None:
    assert has_overflowed(status) is overflowed
    assert without_overflow(status) == without


def change(value: Any = None, status: int = 0, ticks: int | None = None, server_ticks: int | None = None) -> Change:
    kind = ua.VariantType.Null if value is None else None
    return Change(1, variant_to_binary(ua.Variant(value, kind)), status, ticks, server_ticks)


@pytest.mark.parametrize(
    ("change", "payload", "data"),
    [
        (change(1.5), "value", {"value": 1.5, "status": 0}),
        (change(1.5, 0x480), "value", {"value": 1.5, "status": 0}),
        (change(None, 0x80320001), "value", {"value": None, "status": 0x80320001}),
        (change(float("nan")), "value", {"value": "NaN", "status": 0}),
        (change('{"a": 1}'), "json", {"a": 1}),
        (change(b"[1]"), "json", [1]),
        (change('{"a": NaN, "b": 1e999}'), "json", {"a": "NaN", "b": "1e999"}),
        (change("[" * 5000), "json", {"value": "[" * 5000, "status": 0}),
        (change("no json"), "json", {"value": "no json", "status": 0}),
        (change(5.0), "json", {"value": 5.0, "status": 0}),
        (change(None, 0x80000000), "json", {"value": None, "status": 0x80000000}),
    ],
)
def test_the_data_of_a_reading(change: Change, payload: Payload, data: Any) -> None:
    assert sample_of(change, "urn:a", Form(payload), PLAIN).data == data


@pytest.mark.parametrize(
    ("ticks", "time_ns"),
    [
        (None, None),
        (0, None),
        (-5, None),
        (2**63 - 1, None),
        (134_143_128_001_234_567, 1_769_839_200_123_456_700),
    ],
)
def test_the_source_time_of_a_reading(ticks: int | None, time_ns: int | None) -> None:
    """As exactly as the server gives it; where its count begins and ends is no time."""
    assert sample_of(change(1.0, ticks=ticks), "urn:a", Form(), PLAIN).time_ns == time_ns


NOON, LATER = 134_143_128_001_234_567, 134_143_128_009_999_999
NOON_NS, LATER_NS = 1_769_839_200_123_456_700, 1_769_839_200_999_999_900


@pytest.mark.parametrize(
    ("source", "server", "choice", "time_ns"),
    [
        (NOON, LATER, "source", NOON_NS),
        (NOON, LATER, "server", LATER_NS),
        (NOON, LATER, "source-or-server", NOON_NS),
        (None, LATER, "source", None),
        (0, LATER, "source-or-server", LATER_NS),
        (NOON, None, "server", None),
        (NOON, 0, "server", None),
        (None, None, "source-or-server", None),
    ],
)
def test_the_time_that_was_chosen(source: int | None, server: int | None, choice: TimeChoice, time_ns: int | None) -> None:
    sample = sample_of(change(1.0, ticks=source, server_ticks=server), "urn:a", Form(time=choice), PLAIN)
    assert sample.time_ns == time_ns


@pytest.mark.parametrize("has_picoseconds", [False, True])
@pytest.mark.parametrize("times", [(NOON, None), (None, LATER), (NOON, LATER)])
def test_both_times_are_found_beside_their_picoseconds(times: tuple[int | None, int | None], has_picoseconds: bool) -> None:
    """In the order of OPC 10000-6, 5.2.2.17. The library's own encoder has another one."""
    mask, fields = 0, b""
    for ticks, time_bit, picoseconds_bit in zip(times, (0x04, 0x08), (0x10, 0x20), strict=True):
        if ticks is not None:
            mask |= time_bit | (picoseconds_bit if has_picoseconds else 0)
            fields += struct.pack("<q", ticks) + (b"\x07\0" if has_picoseconds else b"")
    items = b"".join(struct.pack("<IB", handle, mask) + fields for handle in (1, 2))
    body = struct.pack("<i", 2) + items + struct.pack("<i", -1)
    envelope = b"\x01\0" + struct.pack("<H", ua.ObjectIds.DataChangeNotification_Encoding_DefaultBinary)
    notification = envelope + b"\x01" + struct.pack("<i", len(body)) + body
    message = notification_message(5, Walker(struct.pack("<Iqi", 7, 0, 1) + notification))
    assert message.changes == [Change(1, b"\0", 0, *times), Change(2, b"\0", 0, *times)]


def test_a_value_that_can_not_be_decoded_is_no_reading() -> None:
    with pytest.raises(NoReadingError, match="ends too early"):
        sample_of(Change(1, b"\x0b\0"), "urn:a", Form(), PLAIN)


def test_waiting_for_the_first_value_is_no_reading() -> None:
    with pytest.raises(NoReadingError, match="no value yet"):
        sample_of(change(None, ua.StatusCodes.BadWaitingForInitialData), "urn:a", Form(), PLAIN)
