"""The production line of docs/edge.md: an OPC UA server that has what the page shows."""

from __future__ import annotations

from asyncua import Node, ua

from tests.support.plc import START, Plc

NAMESPACE = "urn:factory:machines"
SERVER_URI = "urn:factory:plc-1"
PRESS = {"state": "running", "temperature": 21.5}


async def build(server: Plc) -> None:
    await server.server.set_application_uri(SERVER_URI)
    line = await _folder(server, server.server.nodes.objects, "Line 1", "line-1")
    for press in ("press-1", "press-2"):
        below = await _folder(server, line, press, press)
        for name, value in PRESS.items():
            node_id = ua.NodeId(f"{press}/{name}", server.index(NAMESPACE))
            variable = await below.add_variable(node_id, _name(server, name), value)
            shown = ua.DataValue(ua.Variant(value), SourceTimestamp=START)
            await server.server.write_attribute_value(variable.nodeid, shown)


async def _folder(server: Plc, below: Node, name: str, identifier: str) -> Node:
    return await below.add_folder(ua.NodeId(identifier, server.index(NAMESPACE)), _name(server, name))


def _name(server: Plc, name: str) -> ua.QualifiedName:
    return ua.QualifiedName(name, server.index(NAMESPACE))
