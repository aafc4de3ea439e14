"""Asks for the references of many nodes, in requests that the server accepts."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from asyncua import ua

from edge_sender.sources.opcua.connection import Connection
from edge_sender.sources.opcua.limits import Limits, Refused, Service, in_parts, name_of


class Follow(IntEnum):
    """Which references."""

    CHILDREN = ua.ObjectIds.HierarchicalReferences
    SUBTYPES = ua.ObjectIds.HasSubtype


CLASSES = {Follow.CHILDREN: ua.NodeClass.Object | ua.NodeClass.Variable, Follow.SUBTYPES: ua.NodeClass.DataType}
"""Which nodes at their other end."""


async def references_of(
    connection: Connection, limits: Limits, nodes: Sequence[ua.NodeId], follow: Follow
) -> list[tuple[ua.NodeId, list[ua.ReferenceDescription] | Refused]]:
    """Those of each node, all of them. Raises what a lost connection or session raises."""

    async def first(part: Sequence[ua.NodeId]) -> Sequence[ua.BrowseResult]:
        request = ua.BrowseRequest()
        request.Parameters.NodesToBrowse = [_description(node, follow) for node in part]
        return await _finish(connection, (await connection.call(request, ua.BrowseResponse)).Results)

    async def alone(part: Sequence[ua.NodeId]) -> Sequence[ua.BrowseResult]:
        return [result for node in part for result in await first([node])]

    results = await in_parts(limits, Service.BROWSE, nodes, first)
    short = [index for index, result in enumerate(results) if _lacks_continuation(result)]
    again = await in_parts(limits, Service.BROWSE, [nodes[index] for index in short], alone)
    for index, result in zip(short, again, strict=True):
        results[index] = result
    return [(node, _references(result)) for node, result in zip(nodes, results, strict=True)]


async def _finish(connection: Connection, results: Sequence[ua.BrowseResult]) -> Sequence[ua.BrowseResult]:
    """Add the references that did not fit into the first answer, so that the server can forget its continuation points."""
    for result in results:
        point = result.ContinuationPoint
        while point:
            request = ua.BrowseNextRequest()
            request.Parameters.ContinuationPoints = [point]
            more = (await connection.call(request, ua.BrowseNextResponse)).Parameters.Results[0]
            result.References = [*result.References, *more.References]
            result.StatusCode, point = more.StatusCode, more.ContinuationPoint
    return results


def _description(node: ua.NodeId, follow: Follow) -> ua.BrowseDescription:
    return ua.BrowseDescription(
        NodeId=node,
        BrowseDirection=ua.BrowseDirection.Forward,
        ReferenceTypeId=ua.NodeId(follow),
        IncludeSubtypes=True,
        NodeClassMask=CLASSES[follow],
        ResultMask=ua.BrowseResultMask.All,
    )


def _lacks_continuation(result: ua.BrowseResult | Refused) -> bool:
    return not isinstance(result, Refused) and result.StatusCode.value == ua.StatusCodes.BadNoContinuationPoints


def _references(result: ua.BrowseResult | Refused) -> list[ua.ReferenceDescription] | Refused:
    if isinstance(result, Refused):
        return result
    return Refused(name_of(result.StatusCode.value)) if result.StatusCode.is_bad() else list(result.References or ())
