"""The library's OPC UA client, with a subscription that is noticed when it dies."""

from __future__ import annotations

from typing import Any

from asyncua import Client, Node, ua
from asyncua.common.subscription import Subscription

KEEP_ALIVE_SECONDS = 5.0
"""So often the server is asked to say that the subscription lives, where there is nothing else to say. Without a word for
half as long again the library makes it anew, since a server may drop it and keep the connection. By itself it would ask for
a word in three quarters of an hour."""
LIFETIME_SECONDS = 7200.0
"""So long the server is asked to keep the subscription, and what changes meanwhile, for a client that is away."""


class KeptAliveClient(Client):  # type: ignore[misc]  # the library's types are not used, see pyproject.toml
    """With the times above, as far as the server agrees."""

    def get_subscription_revised_params(
        self, params: ua.CreateSubscriptionParameters, results: ua.CreateSubscriptionResult
    ) -> None:
        """The server has the last word, and silence is measured by it. The library would ask once more for its own times."""
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
        """All variables in the tree of objects, without properties and without what the server says about itself."""
        found: list[Node] = []
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
                    found.append(node)
                else:
                    waiting.append(node)
        return found
