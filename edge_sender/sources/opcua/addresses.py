"""What a node is called, by the URIs of its server and namespace: its text for people, and the URI of its readings. Pure.

Source: OPC 10000-6, 5.1.12 (text of a NodeId) and 5.2.2.9 (its encoding).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from asyncua import ua

from wire.uris import as_uri

KINDS = {ua.NodeIdType.String: "s", ua.NodeIdType.Guid: "g", ua.NodeIdType.ByteString: "b"}
Key = tuple[int, Any]
"""Namespace index and identifier: the same for every encoding of a node id."""


class OddNodeError(ValueError):
    """This node can't be a source; the message says why."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """The server's own names, which must be read anew at every connection: a restarted server may number them otherwise."""

    server_uri: str
    """Its application URI, or what the settings give in its place."""
    namespaces: tuple[str, ...]
    """By index; the server's own namespace has the name `server_uri`."""
    stated_uri: str = ""
    """What the server itself calls its own namespace."""

    def continues(self, other: Addresses) -> bool:
        """Whether every name is as in `other`; there may be further namespaces."""
        return self.server_uri == other.server_uri and self.namespaces[: len(other.namespaces)] == other.namespaces

    def source_uri(self, node_id: ua.NodeId) -> str:
        """The same on every replica: never the endpoint or the namespace index. Raises OddNodeError."""
        namespace_uri, text = self._namespace_uri(node_id), _identifier(node_id)
        text = text.hex() if isinstance(text, bytes) else text
        return f"{as_uri(self.server_uri)}#nsu={_quoted(namespace_uri, ':/')};{_kind(node_id)}={_quoted(text, '/:@')}"

    def text(self, node_id: ua.NodeId) -> str:
        """`nsu=URI;s=identifier`. Raises OddNodeError."""
        namespace_uri, text = self._namespace_uri(node_id), _identifier(node_id)
        text = base64.b64encode(text).decode() if isinstance(text, bytes) else text
        return f"nsu={namespace_uri};{_kind(node_id)}={text}"

    def local(self, node_id: ua.NodeId) -> ua.NodeId:
        """The node id with a namespace index, also where the server names the namespace's URI. Raises OddNodeError."""
        if not isinstance(node_id, ua.ExpandedNodeId):
            return node_id
        if node_id.ServerIndex:
            raise OddNodeError("it is on another server")
        if not node_id.NamespaceUri:
            return ua.NodeId(node_id.Identifier, node_id.NamespaceIndex, node_id.NodeIdType)
        uri = self.server_uri if node_id.NamespaceUri == self.stated_uri else node_id.NamespaceUri
        if uri not in self.namespaces:
            raise OddNodeError("its namespace is not in the server's list")
        kind = node_id.NodeIdType
        short = kind in (ua.NodeIdType.TwoByte, ua.NodeIdType.FourByte)
        index = self.namespaces.index(uri)
        return ua.NodeId(node_id.Identifier, index, ua.NodeIdType.Numeric if short else kind)

    def _namespace_uri(self, node_id: ua.NodeId) -> str:
        index: int = node_id.NamespaceIndex
        if index >= len(self.namespaces):
            raise OddNodeError(f"its namespace index {index} is not in the server's list")
        return self.namespaces[index]


def addresses_of(servers: Any, namespaces: Sequence[Any] | None, server_uri: str | None = None) -> Addresses:
    """From the server's ServerArray and NamespaceArray, and from the settings. Raises ua.UaError, if there is no name.

    A server has a namespace of its own, which is called like itself: redundant servers differ there, too.
    """
    stated = stated_uri(servers)
    if not stated and server_uri is None:  # without it, two servers would be one
        raise ua.UaError("the server does not say its application URI (ServerArray): set server_uri")
    name = server_uri or stated
    names = ("" if uri is None else str(uri) for uri in namespaces or ())
    return Addresses(name, tuple(name if stated and uri == stated else uri for uri in names), stated)


def stated_uri(servers: Any) -> str:
    """The application URI in a ServerArray; empty if it is none."""
    return servers[0] if isinstance(servers, list) and servers and isinstance(servers[0], str) else ""


def key(node_id: ua.NodeId) -> Key:
    return node_id.NamespaceIndex, node_id.Identifier


def printable(text: str) -> str:
    """Text for logs and the status: a server's names may contain bytes that are no UTF-8, or line breaks."""
    return text.encode("utf-8", "backslashreplace").decode().encode("unicode_escape").decode("ascii").replace("\\\\x", "\\x")


def _kind(node_id: ua.NodeId) -> str:
    return KINDS.get(node_id.NodeIdType, "i")


def _identifier(node_id: ua.NodeId) -> str | bytes:
    if node_id.Identifier is None:
        raise OddNodeError("its identifier is null")
    identifier = node_id.Identifier
    return identifier if isinstance(identifier, bytes) else str(identifier)


def _quoted(text: str, safe: str) -> str:
    """Percent-encoded; bytes that are no UTF-8, which the library keeps as surrogates, as they are."""
    return quote(text, safe=safe, errors="surrogateescape")
