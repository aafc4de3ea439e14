"""The library's OPC UA client, made to notice when a subscription dies."""

from __future__ import annotations

from typing import Any

from asyncua import Client, Node, ua
from asyncua.common.subscription import Subscription

KEEP_ALIVE_SECONDS = 5.0
"""Interval at which the server is asked for a keep-alive while there is no change to publish. After a silence of 1.5 times
this interval the library recreates the subscription, since a server may drop it and keep the connection. By default the
library would ask for a keep-alive only every 45 minutes."""
LIFETIME_SECONDS = 7200.0
"""How long the server is asked to keep the subscription, and the changes in the meantime, for a disconnected client."""


class KeptAliveClient(Client):  # type: ignore[misc]  # the library's types are not used, see pyproject.toml
    """Requests the times above and accepts those that the server grants."""

    def get_subscription_revised_params(
        self, params: ua.CreateSubscriptionParameters, results: ua.CreateSubscriptionResult
    ) -> None:
        """Take over the server's times, by which silence is measured. The library would ask once more for its own."""
        params.RequestedPublishingInterval = results.RevisedPublishingInterval or params.RequestedPublishingInterval
        params.RequestedLifetimeCount = results.RevisedLifetimeCount
        params.RequestedMaxKeepAliveCount = results.RevisedMaxKeepAliveCount

    async def subscribe(self, publishing_ms: float, handler: Any) -> Subscription:
        return await self.create_subscription(
            ua.CreateSubscriptionParameters(
                RequestedPublishingInterval=publishing_ms,
                RequestedLifetimeCount=round(LIFETIME_SECONDS * 1000 / publishing_ms),
                RequestedMaxKeepAliveCount=max(1, round(KEEP_ALIVE_SECONDS * 1000 / publishing_ms)),
                MaxNotificationsPerPublish=10_000,
                PublishingEnabled=True,
            ),
            handler,
        )

    async def variables(self) -> list[Node]:
        """All variables below Objects, without properties and without the server's own Server object."""
        variables: list[Node] = []
        seen, waiting = {(0, ua.ObjectIds.Server)}, [self.nodes.objects]
        while waiting:
            children = await waiting.pop().get_references(
                refs=ua.ObjectIds.HierarchicalReferences,
                direction=ua.BrowseDirection.Forward,
                nodeclassmask=ua.NodeClass.Object | ua.NodeClass.Variable,
            )
            for child in children:
                key = (child.NodeId.NamespaceIndex, child.NodeId.Identifier)
                if key in seen or child.ReferenceTypeId == ua.NodeId(ua.ObjectIds.HasProperty):
                    continue
                seen.add(key)
                node = self.get_node(child.NodeId)
                if child.NodeClass == ua.NodeClass.Variable:
                    variables.append(node)
                else:
                    waiting.append(node)
        return variables
