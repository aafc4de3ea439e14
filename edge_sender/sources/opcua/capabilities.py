"""What the server says about itself: its names, and how much it accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from asyncua import ua

from edge_sender.sources.opcua.addresses import Addresses, addresses_of, stated_uri
from edge_sender.sources.opcua.connection import Connection
from edge_sender.sources.opcua.limits import Limits, Refused, Service, in_parts

SERVERS = ua.ObjectIds.Server_ServerArray
NAMESPACES = ua.ObjectIds.Server_NamespaceArray
PER_SUBSCRIPTION = ua.ObjectIds.Server_ServerCapabilities_MaxMonitoredItemsPerSubscription
PER_CALL = {
    Service.READ: ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    Service.BROWSE: ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
    Service.MONITOR: ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall,
}
LEVEL = ua.ObjectIds.Server_ServiceLevel
SUPPORT = ua.ObjectIds.Server_ServerRedundancy_RedundancySupport


@dataclass(frozen=True, slots=True)
class Health:
    """What a server says about its fitness, among redundant ones."""

    level: int | None
    """Its ServiceLevel, 0 to 255; None if it does not say."""
    is_transparent: bool
    """Whether redundant servers behind it appear as this one. (OPC 10000-5, 12.5: RedundancySupport)"""
    stated_uri: str
    """Its application URI; empty if it does not say."""


async def read_health(connection: Connection, limits: Limits) -> Health:
    """Raises what a lost connection raises."""
    level, support, servers = await _read(connection, limits, (LEVEL, SUPPORT, SERVERS))
    return Health(
        level if isinstance(level, int) else None,
        support == ua.RedundancySupport.Transparent,
        stated_uri(servers),
    )


async def read_addresses(connection: Connection, limits: Limits, server_uri: str | None = None) -> Addresses:
    """Raises ua.UaError without them, and what a lost connection raises."""
    servers, namespaces = await _read(connection, limits, (SERVERS, NAMESPACES))
    return addresses_of(servers, namespaces, server_uri)


async def read_limits(connection: Connection, limits: Limits) -> int | None:
    """Take over the limits of requests; return how many items one subscription may hold, None if the server does not say."""
    per_subscription, *per_call = await _read(connection, limits, (PER_SUBSCRIPTION, *PER_CALL.values()))
    limits.declare(dict(zip(PER_CALL, per_call, strict=True)))
    return per_subscription if isinstance(per_subscription, int) and per_subscription > 0 else None


async def _read(connection: Connection, limits: Limits, node_ids: Sequence[int]) -> list[Any]:
    results = await in_parts(limits, Service.READ, node_ids, connection.read)
    return [None if isinstance(result, Refused) else result for result in results]
