"""The redundant servers of a source, and which of them is the fittest. Pure.

Source: OPC 10000-4, 6.6.2.4 (non-transparent redundancy, ServiceLevel).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge_sender.sources.opcua.capabilities import Health
from edge_sender.sources.opcua.limits import Limits
from edge_sender.sources.opcua.security import Channel

HEALTHY = 200
"""A server with a lower ServiceLevel is degraded (2 to 199), has no data (1), or is in maintenance (0)."""


@dataclass(slots=True, eq=False)
class Server:
    """One of the servers of a source, and what is known of it."""

    url: str
    channel: Channel | None = None
    limits: Limits = field(default_factory=Limits)
    stated_uri: str = ""
    """Its application URI, once it has said it."""


def preferred(found: Mapping[Server, Health]) -> Server | None:
    """The one with the highest level, of equal ones the first. Healthy levels are equal, and so is none at all."""
    return max(found, key=lambda server: _rank(found[server].level), default=None)


def healthier(found: Mapping[Server, Health], than: int | None) -> Server | None:
    """The preferred one of those that say that they have a higher level, if this one is low."""
    higher = {
        server: health
        for server, health in found.items()
        if than is not None and than < HEALTHY and health.level is not None and health.level > than
    }
    return preferred(higher)


def _rank(level: int | None) -> int:
    return HEALTHY if level is None else min(level, HEALTHY)


def unlike(servers: Sequence[Server]) -> str | None:
    """What to tell about servers of which two have different application URIs."""
    known = {server.stated_uri: server for server in servers if server.stated_uri}
    if len(known) < 2:
        return None
    named = " and ".join(f"{server.url} ({uri})" for uri, server in known.items())
    return (
        f"{named} have different application URIs, so a gateway that reads the other one makes other ids: "
        "set server_uri, to the same on all gateways"
    )
