"""OPC UA servers that are there at once: the standard's thousands of nodes are made once in a process, not for each server.

The library makes them in one to two seconds. It can read them from a file instead, in the way that is followed here.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterable, Iterator, MutableMapping
from functools import cache
from pathlib import Path

from asyncua import Server, ua
from asyncua.server.address_space import AddressSpace, NodeData, NodeManagementService
from asyncua.server.internal_server import InternalServer
from asyncua.server.user_managers import UserManager


class Nodes(MutableMapping[ua.NodeId, NodeData]):
    """A server's own nodes; the standard's are copied when they are asked for first.

    As with the library's file, one goes over those only that were: no other ones have references to a server's nodes.
    """

    def __init__(self, standard: Iterable[ua.NodeId]) -> None:
        self._standard = dict.fromkeys(standard)
        """Those that are not copied yet."""
        self._own: dict[ua.NodeId, NodeData] = {}

    def __getitem__(self, node_id: ua.NodeId) -> NodeData:
        try:
            return self._own[node_id]
        except KeyError:
            del self._standard[node_id]
            node = self._own[node_id] = pickle.loads(_encoded(node_id))  # noqa: S301  # encoded below, in this process
            return node

    def __setitem__(self, node_id: ua.NodeId, node: NodeData) -> None:
        self._standard.pop(node_id, None)
        self._own[node_id] = node

    def __delitem__(self, node_id: ua.NodeId) -> None:
        if node_id in self._standard:
            del self._standard[node_id]
        else:
            del self._own[node_id]

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._own or node_id in self._standard

    def __iter__(self) -> Iterator[ua.NodeId]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)


class QuickInternalServer(InternalServer):
    async def load_standard_address_space(self, shelf_file: Path | None = None) -> None:
        self.aspace._nodes = Nodes(await asyncio.to_thread(_standard_nodes))


def quick_server(user_manager: UserManager | None = None) -> Server:
    return Server(iserver=QuickInternalServer(user_manager))


@cache
def _standard_nodes() -> dict[ua.NodeId, NodeData]:
    """No server has these nodes themselves, so that they stay as they are."""
    from asyncua.server.standard_address_space.standard_address_space import fill_address_space

    space = AddressSpace()
    fill_address_space(NodeManagementService(space))
    return dict(space._nodes)


@cache
def _encoded(node_id: ua.NodeId) -> bytes:
    return pickle.dumps(_standard_nodes()[node_id], pickle.HIGHEST_PROTOCOL)
