"""How the OPC UA server stamps readings: once for all subscribers, or for each subscription separately.

Real servers do both. Stamping per subscription gives every gateway a different SourceTimestamp for the same reading,
shifted by a phase that is constant for the subscription and a jitter that is not.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import Any

from asyncua import ua
from asyncua.server.address_space import AddressSpace
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.monitored_item_service import MonitoredItemService
from asyncua.server.subscription_service import SubscriptionService

from sandbox.plant.sources import NS_PER_SECOND, measured


@dataclass(frozen=True, slots=True)
class Stamping:
    """Shares of a source's interval: a subscription's phase is within ± `phase`, the jitter within ± `jitter`."""

    phase: float = 0.2
    jitter: float = 0.1
    samples: bool = False
    """Whether each subscription also takes a sample of its own, with the value at the time of its stamp."""


def sampled(value: ua.DataValue) -> ua.DataValue:
    """The same telegram with what is measured at the time of its stamp."""
    if value.Value is None or not value.Value.Value:
        return value
    telegram, at = json.loads(value.Value.Value), value.SourceTimestamp.replace(tzinfo=UTC)
    telegram["value"] = measured(telegram["sequence"], round(at.timestamp() * NS_PER_SECOND))
    return replace(value, Value=ua.Variant(json.dumps(telegram, separators=(",", ":")), ua.VariantType.String))


class StampedItems(MonitoredItemService):
    """The monitored items of one subscription, which stamps its notifications itself."""

    def __init__(
        self,
        subscription: InternalSubscription,
        address_space: AddressSpace,
        *,
        intervals_ns: Mapping[ua.NodeId, int],
        stamping: Stamping,
        rng: random.Random,
    ) -> None:
        super().__init__(subscription, address_space)
        self._intervals_ns = intervals_ns
        self._jitter = stamping.jitter
        self._samples = stamping.samples
        self._rng = rng
        self._phase = rng.uniform(-stamping.phase, stamping.phase)

    async def datachange_callback(self, handle: int, value: ua.DataValue, error: ua.StatusCode | None = None) -> None:
        if error is None and value.SourceTimestamp is not None:
            item = self._monitored_items[self._monitored_datachange[handle]]
            interval_ns = self._intervals_ns.get(item.read_value_id.NodeId, 0) if item.read_value_id else 0
            shift = (self._phase + self._rng.uniform(-self._jitter, self._jitter)) * interval_ns
            value = replace(value, SourceTimestamp=value.SourceTimestamp + timedelta(microseconds=int(shift / 1000)))
            if self._samples:
                value = sampled(value)
        await super().datachange_callback(handle, value, error)


class StampingSubscriptions(SubscriptionService):
    """Gives every new subscription its own stamping."""

    def __init__(
        self, server: InternalServer, intervals_ns: Mapping[ua.NodeId, int], stamping: Stamping, rng: random.Random
    ) -> None:
        super().__init__(server.aspace, server)
        self._intervals_ns = intervals_ns
        self._stamping = stamping
        self._rng = rng

    async def create_subscription(
        self,
        params: ua.CreateSubscriptionParameters,
        callback: Callable[..., Any],
        session_id: ua.NodeId,
        request_callback: Callable[..., Any] | None = None,
    ) -> ua.CreateSubscriptionResult:
        result = await super().create_subscription(params, callback, session_id, request_callback)
        subscription = self.subscriptions[result.SubscriptionId]
        subscription.monitored_item_srv = StampedItems(
            subscription, self.aspace, intervals_ns=self._intervals_ns, stamping=self._stamping, rng=self._rng
        )
        return result
