"""Subscribes to variables: in requests that the server accepts, and in as many subscriptions as that takes."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count

from asyncua import ua

from edge_sender.sources.opcua.connection import Connection
from edge_sender.sources.opcua.items import (
    FILTER_REFUSED,
    Item,
    item_request,
    item_revisions,
    model_request,
    subscription_request,
    subscription_revisions,
)
from edge_sender.sources.opcua.limits import Limits, Refused, Service, in_parts, name_of
from edge_sender.sources.opcua.subscription import Subscription, SubscriptionLostError

logger = logging.getLogger(__name__)

FULL = ua.StatusCodes.BadTooManyMonitoredItems


@dataclass(slots=True)
class Subscriptions:
    """All subscriptions of one session."""

    connection: Connection
    limits: Limits
    monotonic: Callable[[], float] = time.monotonic
    most_items: int | None = None
    """What the server says that one subscription may hold (MaxMonitoredItemsPerSubscription)."""
    open: dict[int, Subscription] = field(default_factory=dict)
    items: dict[int, Item] = field(default_factory=dict)
    """By handle."""
    refused: dict[str, str] = field(default_factory=dict)
    """Variables that the server did not accept, by URI, and why."""
    revised: Counter[str] = field(default_factory=Counter)
    _handles: count[int] = field(default_factory=lambda: count(1))

    async def add(self, items: Iterable[Item]) -> None:
        """Subscribe to more variables, or events. Raises what a lost connection or session raises."""
        groups: dict[float, list[Item]] = defaultdict(list)
        for item in items:
            if item.unaskable is not None:
                self._refuse(item, item.unaskable)
                continue
            item.handle = next(self._handles)
            groups[item.asked.publishing_ms].append(item)
        for publishing_ms, group in groups.items():
            await self._add(publishing_ms, group)

    async def remove(self, items: Iterable[Item]) -> None:
        """Delete monitored items; whether the server still had them does not matter."""
        groups: dict[int, list[Item]] = defaultdict(list)
        for item in items:
            groups[item.subscription_id].append(item)
        for subscription_id, group in groups.items():

            async def delete(part: Sequence[Item], subscription_id: int = subscription_id) -> Sequence[ua.StatusCode]:
                request = ua.DeleteMonitoredItemsRequest()
                request.Parameters.SubscriptionId = subscription_id
                request.Parameters.MonitoredItemIds = [item.server_id for item in part]
                results: Sequence[ua.StatusCode] = (
                    await self.connection.call(request, ua.DeleteMonitoredItemsResponse)
                ).Results
                return results

            await in_parts(self.limits, Service.MONITOR, group, delete)
            self.open[subscription_id].items -= len(group)
            self.open[subscription_id].is_full = False
            for item in group:
                del self.items[item.handle]

    async def watch_model(self) -> bool:
        """Ask for the events by which a server tells that nodes came or went; return whether it has them."""
        request = ua.CreateMonitoredItemsRequest()
        emptiest = min(self.open.values(), key=lambda subscription: subscription.items)
        request.Parameters.SubscriptionId = emptiest.id
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Neither
        request.Parameters.ItemsToCreate = [model_request()]
        try:
            results = (await self.connection.call(request, ua.CreateMonitoredItemsResponse)).Results
        except ua.UaStatusCodeError as error:
            logger.debug("model changes can't be subscribed to: %s", error)
            return False
        is_granted = bool(results and not results[0].StatusCode.is_bad())
        emptiest.items += is_granted
        return is_granted

    async def transfer(self) -> None:
        """Take the subscriptions over into a new session. Raises SubscriptionLostError."""
        request = ua.TransferSubscriptionsRequest()
        request.Parameters.SubscriptionIds = list(self.open)
        request.Parameters.SendInitialValues = False
        try:
            results = (await self.connection.call(request, ua.TransferSubscriptionsResponse)).Parameters.Results
        except ua.UaStatusCodeError as error:
            raise SubscriptionLostError(f"the server has dropped the session and its subscription ({error})") from None
        if bad := [result.StatusCode for result in results if not result.StatusCode.is_good()]:
            raise SubscriptionLostError(f"the server has dropped the session and its subscription ({bad[0].name})")

    def listen(self) -> None:
        """From now on, silence counts."""
        for subscription in self.open.values():
            subscription.heard_at = self.monotonic()

    def is_silent(self) -> bool:
        return any(subscription.is_silent(self.monotonic()) for subscription in self.open.values())

    async def _add(self, publishing_ms: float, items: Sequence[Item]) -> None:
        why = "the server grants no further subscription"
        while items and (subscription := await self._with_room(publishing_ms)) is not None:
            room = len(items) if self.most_items is None else self.most_items - subscription.items
            full = await self._create(subscription, items[:room])
            items = [*full, *items[room:]]
            if full and not subscription.items:  # not even a new subscription has room
                why = name_of(FULL)
                break
        for item in items:
            self._refuse(item, why)

    async def _with_room(self, publishing_ms: float) -> Subscription | None:
        for subscription in self.open.values():
            has_room = self.most_items is None or subscription.items < self.most_items
            if subscription.asked_ms == publishing_ms and has_room and not subscription.is_full:
                return subscription
        try:
            return await self._open(publishing_ms)
        except ua.UaStatusCodeError as error:
            if error.code != ua.StatusCodes.BadTooManySubscriptions:
                raise
            return None

    async def _open(self, publishing_ms: float) -> Subscription:
        request = subscription_request(publishing_ms)
        granted = (await self.connection.call(request, ua.CreateSubscriptionResponse)).Parameters
        self.revised.update(subscription_revisions(request.Parameters, granted))
        interval_ms = granted.RevisedPublishingInterval or publishing_ms
        subscription = Subscription(
            granted.SubscriptionId, publishing_ms, interval_ms * max(1, granted.RevisedMaxKeepAliveCount) / 1000
        )
        self.open[subscription.id] = subscription
        self.listen()
        return subscription

    async def _create(self, subscription: Subscription, items: Sequence[Item]) -> list[Item]:
        """Create the monitored items; return those for which the subscription had no room."""
        full: list[Item] = []
        while items:
            self.items.update((item.handle, item) for item in items)  # notifications may be faster than the answer
            again: list[Item] = []
            for item, result in zip(items, await self._request(subscription, items), strict=True):
                if not isinstance(result, Refused) and not result.StatusCode.is_bad():
                    self._accept(subscription, item, result)
                    continue
                code = result.code if isinstance(result, Refused) else result.StatusCode.value
                weaker = item.used.weaker() if code in FILTER_REFUSED and item.events is None else None
                if weaker is not None:
                    item.used = weaker
                    again.append(item)
                elif code == FULL:
                    full.append(item)
                else:
                    self._refuse(item, result.why if isinstance(result, Refused) else name_of(code))
            items = again
        subscription.is_full = bool(full)
        return full

    async def _request(
        self, subscription: Subscription, items: Sequence[Item]
    ) -> list[ua.MonitoredItemCreateResult | Refused]:
        async def create(part: Sequence[Item]) -> Sequence[ua.MonitoredItemCreateResult]:
            request = ua.CreateMonitoredItemsRequest()
            request.Parameters.SubscriptionId = subscription.id
            request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
            request.Parameters.ItemsToCreate = [item_request(item) for item in part]
            results: Sequence[ua.MonitoredItemCreateResult] = (
                await self.connection.call(request, ua.CreateMonitoredItemsResponse)
            ).Results
            return results

        return await in_parts(self.limits, Service.MONITOR, items, create)

    def _accept(self, subscription: Subscription, item: Item, granted: ua.MonitoredItemCreateResult) -> None:
        item.subscription_id, item.server_id = subscription.id, granted.MonitoredItemId
        item.granted_ms = granted.RevisedSamplingInterval
        subscription.items += 1
        self.refused.pop(item.uri, None)
        self.revised.update(item_revisions(item, granted))

    def _refuse(self, item: Item, why: str) -> None:
        self.items.pop(item.handle, None)
        self.refused[item.uri] = why
