"""What a server is asked for, and what its events become; hostile ones cost themselves."""

from __future__ import annotations

from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary, variant_to_binary
from hypothesis import given
from hypothesis import strategies as st

from edge_sender.config.events import Events
from edge_sender.sources.opcua.addresses import Addresses, OddNodeError
from edge_sender.sources.opcua.decoding import Event, publish_result
from edge_sender.sources.opcua.events import EventChoice, event_choice, event_sample
from edge_sender.sources.opcua.items import Item, ItemSettings, item_revisions
from edge_sender.sources.opcua.json_encoding import Values
from edge_sender.sources.opcua.notifications import NoReadingError
from wire.ids import Sample

UA = "http://opcfoundation.org/UA/"
ADDRESSES = Addresses("urn:plc", (UA, "urn:plc", "urn:machines"))
VALUES = Values(ADDRESSES.namespaces, {})
TYPE = ua.NodeId(ua.ObjectIds.AlarmConditionType)
PRESS = ua.NodeId("press", 2)
TICKS = 134_142_192_000_000_001


def choice(**given: Any) -> EventChoice:
    return event_choice(Events.model_validate(given), ADDRESSES)


def time(ticks: int) -> bytes:
    return b"\x0d" + ticks.to_bytes(8, "little")


def sample(event_type: Any = TYPE, node: Any = PRESS, at: bytes | None = None, value: bytes | None = None) -> Sample:
    fields = (
        variant_to_binary(ua.Variant(event_type)),
        variant_to_binary(ua.Variant(node)),
        time(TICKS) if at is None else at,
        variant_to_binary(ua.Variant("jammed")) if value is None else value,
    )
    return event_sample(Event(1, fields), choice(fields=["Message"]), ADDRESSES, VALUES)


def evaluate(elements: list[ua.ContentFilterElement], kind: int, severity: int, at: int = 0) -> bool:
    """As a server does. A later element never refers to an earlier one."""
    element = elements[at]
    operands = element.FilterOperands
    if element.FilterOperator in (ua.FilterOperator.Or, ua.FilterOperator.And):
        assert all(operand.Index > at for operand in operands)
        results = [evaluate(elements, kind, severity, operand.Index) for operand in operands]
        return any(results) if element.FilterOperator == ua.FilterOperator.Or else all(results)
    if element.FilterOperator == ua.FilterOperator.OfType:
        return bool(operands[0].Value.Value == ua.NodeId(kind))
    assert element.FilterOperator == ua.FilterOperator.GreaterThanOrEqual
    assert [name.Name for name in operands[0].BrowsePath] == ["Severity"]
    return bool(severity >= operands[1].Value.Value)


@pytest.mark.parametrize("types", [[], [10], [10, 11], [10, 11, 12]])
@pytest.mark.parametrize("least", [None, 500])
def test_the_where_clause_means_one_of_the_types_and_the_severity(types: list[int], least: int | None) -> None:
    asked = choice(types=[f"nsu={UA};i={number}" for number in types], min_severity=least)
    elements = struct_from_binary(ua.EventFilter, ua.utils.Buffer(struct_to_binary(asked.filter))).WhereClause.Elements
    if not types and least is None:
        assert not elements
        return
    for kind in (10, 11, 12, 13):
        for severity in (499, 500):
            wanted = (not types or kind in types) and (least is None or severity >= least)
            assert evaluate(elements, kind, severity) is wanted


def test_the_names_of_fields_have_the_servers_own_index() -> None:
    clauses = choice(fields=["ActiveState/Id", "nsu=urn:machines;Force", "ConditionId"]).filter.SelectClauses[-3:]
    assert [[(name.NamespaceIndex, name.Name) for name in clause.BrowsePath] for clause in clauses] == [
        [(0, "ActiveState"), (0, "Id")],
        [(2, "Force")],
        [],
    ]
    assert clauses[2].AttributeId == ua.AttributeIds.NodeId
    assert clauses[2].TypeDefinitionId == ua.NodeId(ua.ObjectIds.ConditionType)


@pytest.mark.parametrize(
    ("text", "identifier"),
    [("s=a;b", "a;b"), ("i=7", 7), ("b=AAE=", b"\x00\x01")],
)
def test_types_by_each_kind_of_identifier(text: str, identifier: Any) -> None:
    [element] = choice(types=[f"nsu=urn:machines;{text}"]).filter.WhereClause.Elements
    assert element.FilterOperands[0].Value.Value == ua.NodeId(identifier, 2)


@pytest.mark.parametrize("text", ["i=x", "g=1", "b=?"])
def test_types_that_are_no_node_ids_are_told(text: str) -> None:
    with pytest.raises(OddNodeError, match="is no node id"):
        choice(types=[f"nsu=urn:machines;{text}"])


def test_an_event_has_all_digits_of_its_time_and_the_name_of_its_source() -> None:
    assert sample() == Sample("urn:plc#nsu=urn:machines;s=press;events", 1_769_745_600_000_000_100, {"Message": "jammed"})


@pytest.mark.parametrize("node", [None, ua.NodeId()])
def test_an_event_of_no_node_is_the_servers(node: Any) -> None:
    assert sample(node=node).source == f"urn:plc#nsu={UA};i=2253;events"


@pytest.mark.parametrize("at", [b"\x00", time(0), variant_to_binary(ua.Variant("noon"))])
def test_an_event_without_a_time(at: bytes) -> None:
    assert sample(at=at).time_ns is None


@pytest.mark.parametrize("kind", [ua.ObjectIds.EventQueueOverflowEventType, ua.ObjectIds.RefreshRequiredEventType])
def test_what_says_that_events_are_lost_is_no_reading(kind: int) -> None:
    with pytest.raises(NoReadingError) as error:
        sample(ua.NodeId(kind))
    assert error.value.reason == "overflow"
    assert sample(ua.NodeId(kind, 2)).data  # of another namespace: another type


def test_an_event_of_an_odd_node_or_with_other_fields_is_undecodable() -> None:
    with pytest.raises(NoReadingError) as odd:
        sample(node=ua.NodeId("x", 9))
    with pytest.raises(NoReadingError) as short:
        event_sample(Event(1, (b"\x00",) * 3), choice(fields=["Message"]), ADDRESSES, VALUES)
    assert odd.value.reason == short.value.reason == "undecodable"


def test_a_field_that_the_server_does_not_know_is_told() -> None:
    asked = choice(fields=["Message", "Nonsense"])
    item = Item((0, 1), PRESS, "urn:x", ItemSettings(), ItemSettings(), asked)
    statuses = [ua.StatusCode()] * 4 + [ua.StatusCode(ua.StatusCodes.BadNodeIdUnknown)]
    granted = ua.MonitoredItemCreateResult(RevisedQueueSize=10, FilterResult=ua.EventFilterResult(statuses))
    assert list(item_revisions(item, granted)) == [
        "queue_size 10 instead of 1000",
        "fields without Nonsense (BadNodeIdUnknown), which is null then",
    ]


def message(events: list[ua.EventFieldList]) -> bytes:
    notification = ua.NotificationMessage(SequenceNumber=7, NotificationData=[ua.EventNotificationList(events)])
    return bytes(struct_to_binary(ua.PublishResult(SubscriptionId=5, NotificationMessage=notification)))


def test_events_in_a_publish_result() -> None:
    fields = [ua.Variant(TYPE), ua.Variant([1.5, 2.5]), ua.Variant(None)]
    found = publish_result(message([ua.EventFieldList(3, fields), ua.EventFieldList(4, [])]))
    assert found.events == [Event(3, tuple(map(variant_to_binary, fields))), Event(4, ())]
    assert not found.is_keep_alive


@given(st.data())
def test_events_that_were_cut_or_changed_never_end_the_program(data: st.DataObject) -> None:
    fields = [ua.Variant(TYPE), ua.Variant(PRESS), ua.Variant(ua.get_win_epoch()), ua.Variant(ua.LocalizedText("x"))]
    encoded = bytearray(message([ua.EventFieldList(1, fields), ua.EventFieldList(1, fields)]))
    for _ in range(data.draw(st.integers(0, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = publish_result(bytes(encoded[: data.draw(st.integers(0, len(encoded)))]))
    except ValueError:
        return
    asked = choice(fields=["Message"])
    for event in found.events:
        try:
            taken = event_sample(event, asked, ADDRESSES, VALUES)
        except NoReadingError:
            continue
        assert taken.source.endswith(";events")
