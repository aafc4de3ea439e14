"""Samples messages of OPC Publisher 2.5 to 2.9: one value of one node each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wire.formats.messages import Part, Path
from wire.formats.opc_events import event
from wire.formats.opc_values import as_text, data_value, refused


def is_sample(message: Mapping[str, Any]) -> bool:
    return isinstance(message.get("NodeId"), str) and ("Value" in message or "EndpointUrl" in message)


def sample(root: Path, message: Mapping[str, Any], server: str) -> Part:
    """`EndpointUrl` does not name the server: it is the address by which this gateway knows it."""
    node, value = message["NodeId"], message.get("Value")
    server = _application_uri(message) or server
    if not node:
        return refused(root, "no-node", "the NodeId is empty")
    if not server:
        return refused(root, "no-source", "neither ApplicationUri nor the option `constant` names the server")
    if isinstance(value, dict) and "EventId" in value:
        return event(root, (server, node), value)
    # Version 2.5 could write the members of the data value beside `NodeId`.
    field = value if isinstance(value, dict) else message
    return data_value(root, (server, node), field, is_repetition=message.get("Heartbeat") is True)


def _application_uri(message: Mapping[str, Any]) -> str:
    """In version 2.5 it stands in `MonitoredItem`."""
    if uri := as_text(message.get("ApplicationUri")):
        return uri
    item = message.get("MonitoredItem")
    return as_text(item.get("ApplicationUri")) if isinstance(item, dict) else ""
