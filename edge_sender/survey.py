"""What a look at an OPC UA server shows, as plain data: `edge-sender browse` asks for it, and the OPC UA room answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class SurveyError(Exception):
    """The server can't be looked at; the message says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which part of the server is shown."""

    under: str | None = None
    """A node id (`nsu=URI;s=identifier`) or a browse path; None: all below Objects."""
    depth: int | None = None
    """How many levels below that; None: all."""
    most: int | None = None
    """How many nodes; None: all."""


@dataclass(slots=True)
class Variable:
    """What is known of a variable."""

    type: str = ""
    """Name of its data type, with its URI where it is none of the standard's own."""
    data: Any = None
    """What a reading of it would carry now."""
    time_ns: int | None = None
    unreadable: str | None = None
    """Why there is no value."""
    is_chosen: bool = False
    """Whether the source would subscribe to it."""
    asked_ms: float = 0.0
    granted_ms: float | None = None
    """The sampling interval that the server grants; None if it refuses."""
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A node in the tree. A node may be below several others: only the first time, what is below it is shown, too."""

    level: int
    name: str
    node: str
    """`nsu=URI;s=identifier`, as `nodes` takes it."""
    variable: Variable | None
    hidden: int = 0
    """Nodes right below it that are not shown, by `depth` or since they were shown elsewhere."""


@dataclass(slots=True)
class Notifier:
    """An object whose events can be subscribed to."""

    name: str
    node: str
    is_chosen: bool = False
    """Whether the source would subscribe to them."""
    refused: str | None = None
    """Why the server does not let it."""


@dataclass(frozen=True, slots=True)
class Survey:
    endpoint: str
    away: Sequence[str]
    """Servers that come before this one and can't be read, and why."""
    server_uri: str
    nodes: int
    """How many there are in all below Objects."""
    variables: int
    chosen: int
    entries: Sequence[Entry]
    more: int
    """Nodes that belong to what was asked for and are not shown, since there are too many."""
    notifiers: Sequence[Notifier]
    """Of what is shown; and the Server object, if it belongs to what was asked for."""
    odd: dict[str, str]
    """What could not be browsed, and why."""
