"""Events of a server: what is asked of those that send them, and what of an event becomes a reading. Pure.

An event's identity is the content of the fields that were chosen, with its Time. Its EventId is not among them: every server
of a redundant pair makes its own. Source: OPC 10000-4, 5.12.1.5 (overflow), 7.7 (ContentFilter) and 7.22.3 (EventFilter).
"""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass
from functools import partial, reduce

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary

from edge_sender.config.events import CONDITION_ID, SUFFIX, Events, Step, field_path
from edge_sender.sources.opcua.addresses import Addresses, OddNodeError
from edge_sender.sources.opcua.decoding import Event
from edge_sender.sources.opcua.json_encoding import Values
from edge_sender.sources.opcua.notifications import NoReadingError
from edge_sender.sources.opcua.times import time_ns
from edge_sender.sources.opcua.walking import Kind, Walker
from wire.ids import Sample

OWN_FIELDS = ("EventType", "SourceNode", "Time")
"""Asked for in front of those that were chosen."""
LOST = frozenset({ua.ObjectIds.EventQueueOverflowEventType, ua.ObjectIds.RefreshRequiredEventType})
"""By events of these types a server says that it has dropped events of this subscription."""
SERVER = ua.NodeId(ua.ObjectIds.Server)


@dataclass(frozen=True, slots=True)
class EventChoice:
    """What is asked of one that sends events."""

    filter: ua.EventFilter
    fields: tuple[str, ...]
    """Those that were chosen, as the settings write them."""


def event_choice(events: Events, addresses: Addresses) -> EventChoice:
    """Raises OddNodeError, if the server does not have what it names."""
    paths = [((None, name),) for name in OWN_FIELDS] + [field_path(text) for text in events.fields]
    clauses = [_operand(path, addresses) for path in paths]
    types = [_node_id(text, addresses) for text in events.types]
    where = ua.ContentFilter(Elements=_elements(_wanted(types, events.min_severity)))
    return EventChoice(ua.EventFilter(SelectClauses=clauses, WhereClause=where), events.fields)


def model_choice() -> EventChoice:
    """For GeneralModelChangeEvents, of which only that they come is used. (OPC 10000-3, 9.32)"""
    wanted = _of_type(ua.NodeId(ua.ObjectIds.GeneralModelChangeEventType))
    filter_ = ua.EventFilter(SelectClauses=[_simple("EventType")], WhereClause=ua.ContentFilter(Elements=[wanted]))
    return EventChoice(filter_, ())


def event_sample(event: Event, choice: EventChoice, addresses: Addresses, values: Values) -> Sample:
    """The reading. Its source is the event's SourceNode, whichever object has sent it, so that an event that comes from two
    of them is one reading. Raises NoReadingError."""
    if len(event.fields) != len(OWN_FIELDS) + len(choice.fields):
        raise NoReadingError("undecodable", "the event has not as many fields as were asked for")
    event_type, source_node, time, *fields = event.fields
    try:
        if _kind(event_type) == Kind.NODE_ID and Walker(event_type, 1).node_id() in LOST:
            raise NoReadingError("overflow", "the server has dropped events; a longer queue or shorter publishing helps")
        data = {name: values.json(variant) for name, variant in zip(choice.fields, fields, strict=True)}
        ticks = Walker(time, 1).int64() if _kind(time) == Kind.DATE_TIME else None
        return Sample(_source(source_node, addresses), time_ns(ticks), data)
    except ValueError as error:
        raise NoReadingError("undecodable", str(error)) from None


def event_uri(node_id: ua.NodeId, addresses: Addresses) -> str:
    """Raises OddNodeError."""
    return f"{addresses.source_uri(node_id)}{SUFFIX}"


def _kind(variant: bytes) -> int:
    return variant[0]


def _source(variant: bytes, addresses: Addresses) -> str:
    """Events of no node in particular are the server's own. Raises ValueError."""
    node_id = nodeid_from_binary(Buffer(variant[1:])) if _kind(variant) == Kind.NODE_ID else SERVER
    return event_uri(SERVER if node_id.is_null() else node_id, addresses)


# --- what is asked


@dataclass(frozen=True, slots=True)
class Pair:
    """Two conditions, joined."""

    operator: ua.FilterOperator
    one: ua.ContentFilterElement | Pair
    two: ua.ContentFilterElement | Pair


def _operand(path: tuple[Step, ...], addresses: Addresses) -> ua.SimpleAttributeOperand:
    if path == ((None, CONDITION_ID),):
        condition = ua.NodeId(ua.ObjectIds.ConditionType)
        return ua.SimpleAttributeOperand(TypeDefinitionId=condition, BrowsePath=[], AttributeId=ua.AttributeIds.NodeId)
    return _simple(*(ua.QualifiedName(name, 0 if uri is None else _index(uri, addresses)) for uri, name in path))


def _simple(*names: ua.QualifiedName | str) -> ua.SimpleAttributeOperand:
    """With this type a server takes the path for events of any type."""
    return ua.SimpleAttributeOperand(
        TypeDefinitionId=ua.NodeId(ua.ObjectIds.BaseEventType),
        BrowsePath=[ua.QualifiedName(name) if isinstance(name, str) else name for name in names],
        AttributeId=ua.AttributeIds.Value,
    )


def _node_id(text: str, addresses: Addresses) -> ua.NodeId:
    """From `nsu=URI;s=identifier`. Raises OddNodeError."""
    uri, _, rest = text.removeprefix("nsu=").partition(";")
    index, kind, identifier = _index(uri, addresses), rest[:1], rest[2:]
    try:
        match kind:
            case "i":
                return ua.NodeId(int(identifier), index)
            case "g":
                return ua.NodeId(uuid.UUID(identifier), index)
            case "b":
                return ua.NodeId(base64.b64decode(identifier, validate=True), index)
            case _:
                return ua.NodeId(identifier, index)
    except ValueError:
        raise OddNodeError(f"{text} is no node id") from None


def _index(uri: str, addresses: Addresses) -> int:
    if uri not in addresses.namespaces:
        raise OddNodeError(f"the server has no namespace {uri}")
    return addresses.namespaces.index(uri)


def _wanted(types: list[ua.NodeId], min_severity: int | None) -> ua.ContentFilterElement | Pair | None:
    conditions = []
    if types:
        conditions.append(reduce(partial(Pair, ua.FilterOperator.Or), map(_of_type, types)))
    if min_severity is not None:
        least = ua.LiteralOperand(Value=ua.Variant(min_severity, ua.VariantType.UInt16))
        operands = [_simple("Severity"), least]
        conditions.append(ua.ContentFilterElement(ua.FilterOperator.GreaterThanOrEqual, operands))
    return reduce(partial(Pair, ua.FilterOperator.And), conditions) if conditions else None


def _of_type(type_id: ua.NodeId) -> ua.ContentFilterElement:
    return ua.ContentFilterElement(ua.FilterOperator.OfType, [ua.LiteralOperand(Value=ua.Variant(type_id))])


def _elements(wanted: ua.ContentFilterElement | Pair | None, at: int = 0) -> list[ua.ContentFilterElement]:
    """They refer to each other by their index, always to later ones; the first one is the whole."""
    if wanted is None:
        return []
    if not isinstance(wanted, Pair):
        return [wanted]
    ones = _elements(wanted.one, at + 1)
    behind = at + 1 + len(ones)
    operands = [ua.ElementOperand(at + 1), ua.ElementOperand(behind)]
    return [ua.ContentFilterElement(wanted.operator, operands), *ones, *_elements(wanted.two, behind)]
