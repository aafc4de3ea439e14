"""What is asked of the server for each variable, and how what it granted differs. Pure.

Source: OPC 10000-4, 5.12.2 (CreateMonitoredItems), 5.13.2 (CreateSubscription) and 7.22.2 (DataChangeFilter).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from asyncua import ua

from edge_sender.config.nodes import Trigger
from edge_sender.sources.opcua.addresses import Key
from edge_sender.sources.opcua.events import EventChoice, model_choice
from wire.ids import Sample

TRIGGERS: dict[Trigger, ua.DataChangeTrigger] = {
    "status": ua.DataChangeTrigger.Status,
    "status-value": ua.DataChangeTrigger.StatusValue,
    "status-value-timestamp": ua.DataChangeTrigger.StatusValueTimestamp,
}
KEEP_ALIVE_SECONDS = 5.0
"""Interval at which the server is asked for a keep-alive while there is nothing to publish: silence means a loss."""
LIFETIME_SECONDS = 7200.0
"""How long the server is asked to keep the subscription, and the changes in the meantime, for a disconnected client."""
MODEL_HANDLE = 0
"""That of the item by which a server tells that nodes came or went."""
FILTER_REFUSED = frozenset(
    {
        ua.StatusCodes.BadMonitoredItemFilterUnsupported,
        ua.StatusCodes.BadMonitoredItemFilterInvalid,
        ua.StatusCodes.BadFilterNotAllowed,
        ua.StatusCodes.BadDeadbandFilterInvalid,
    }
)


@dataclass(frozen=True, slots=True)
class Deadband:
    amount: float
    is_percent: bool
    """Of the variable's EURange; otherwise in its own unit."""


@dataclass(frozen=True, slots=True)
class ItemSettings:
    """How one variable is subscribed to."""

    sampling_ms: float = 0.0
    """0: as fast as the server can."""
    publishing_ms: float = 100.0
    queue_size: int = 1000
    trigger: Trigger = "status-value-timestamp"
    deadband: Deadband | None = None
    heartbeat_seconds: float = 0.0
    is_filtered: bool = True
    """False: without a filter, for servers that refuse any."""

    def weaker(self) -> ItemSettings | None:
        """The same with less of a filter, for a variable whose server refused this one; None if there is none left."""
        if self.deadband is not None:
            return replace(self, deadband=None)
        return replace(self, is_filtered=False) if self.is_filtered else None


@dataclass(slots=True)
class Item:
    """A variable that is to be subscribed to, or is; or an object whose events are."""

    where: Key
    node_id: ua.NodeId
    uri: str
    asked: ItemSettings
    used: ItemSettings
    """What was asked, unless the server refused its filter."""
    events: EventChoice | None = None
    """What is asked of its events; None of a variable."""
    unaskable: str | None = None
    """Why the server can't even be asked for it."""
    handle: int = 0
    """This client's number for it, from 1 on."""
    subscription_id: int = 0
    server_id: int = 0
    """The server's number for it."""
    granted_ms: float | None = None
    """The sampling interval that the server grants."""
    is_delivered: bool = False
    """Whether a reading of it has come since it was subscribed to."""
    last: Sample | None = None
    """The last reading, where there is a heartbeat, and when it was last delivered, on the monotonic clock."""
    delivered_at: float = 0.0
    is_dead: bool = False
    """Whether the server said last that it knows no such node: what has its id later needs a new item."""


def subscription_request(publishing_ms: float) -> ua.CreateSubscriptionRequest:
    request = ua.CreateSubscriptionRequest()
    request.Parameters = ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=publishing_ms,
        RequestedLifetimeCount=round(LIFETIME_SECONDS * 1000 / publishing_ms),
        RequestedMaxKeepAliveCount=max(1, round(KEEP_ALIVE_SECONDS * 1000 / publishing_ms)),
        MaxNotificationsPerPublish=10_000,
        PublishingEnabled=True,
    )
    return request


def item_request(item: Item) -> ua.MonitoredItemCreateRequest:
    settings = item.used
    if item.events is not None:
        return _events_request(item.node_id, item.handle, item.events, settings.queue_size)
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=item.node_id, AttributeId=ua.AttributeIds.Value),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=ua.MonitoringParameters(
            ClientHandle=item.handle,
            SamplingInterval=settings.sampling_ms,
            Filter=_filter(settings) if settings.is_filtered else None,
            QueueSize=settings.queue_size,
            DiscardOldest=True,
        ),
    )


def model_request() -> ua.MonitoredItemCreateRequest:
    return _events_request(ua.NodeId(ua.ObjectIds.Server), MODEL_HANDLE, model_choice(), queue_size=1)


def _events_request(node_id: ua.NodeId, handle: int, choice: EventChoice, queue_size: int) -> ua.MonitoredItemCreateRequest:
    return ua.MonitoredItemCreateRequest(
        ItemToMonitor=ua.ReadValueId(NodeId=node_id, AttributeId=ua.AttributeIds.EventNotifier),
        MonitoringMode=ua.MonitoringMode.Reporting,
        RequestedParameters=ua.MonitoringParameters(
            ClientHandle=handle, SamplingInterval=0.0, Filter=choice.filter, QueueSize=queue_size, DiscardOldest=True
        ),
    )


def _filter(settings: ItemSettings) -> ua.DataChangeFilter:
    deadband, kind = settings.deadband, ua.DeadbandType.None_
    if deadband is not None:
        kind = ua.DeadbandType.Percent if deadband.is_percent else ua.DeadbandType.Absolute
    return ua.DataChangeFilter(
        Trigger=TRIGGERS[settings.trigger],
        DeadbandType=kind,
        DeadbandValue=0.0 if deadband is None else deadband.amount,
    )


def subscription_revisions(asked: ua.CreateSubscriptionParameters, granted: ua.CreateSubscriptionResult) -> Iterator[str]:
    asked_ms, granted_ms = asked.RequestedPublishingInterval, granted.RevisedPublishingInterval
    if granted_ms != asked_ms:
        yield f"publishing_ms {granted_ms:g} instead of {asked_ms:g}"
    lifetimes = granted.RevisedLifetimeCount * granted_ms / 1000, asked.RequestedLifetimeCount * asked_ms / 1000
    if lifetimes[0] < lifetimes[1]:
        yield f"lifetime {lifetimes[0]:g} s instead of {lifetimes[1]:g} s: what is interrupted for longer loses readings"


def item_revisions(item: Item, granted: ua.MonitoredItemCreateResult) -> Iterator[str]:
    asked, used = item.asked, item.used
    if granted.RevisedQueueSize != asked.queue_size:
        yield f"queue_size {granted.RevisedQueueSize} instead of {asked.queue_size}"
    if item.events is not None:
        yield from _refused_fields(item.events, granted.FilterResult)
        return
    if granted.RevisedSamplingInterval != asked.sampling_ms:
        yield f"sampling_ms {granted.RevisedSamplingInterval:g} instead of {asked.sampling_ms:g}"
    if used.deadband != asked.deadband:
        yield "deadband refused: every change is reported"
    if not used.is_filtered:
        yield "trigger refused: changes of status and value are reported"


def _refused_fields(choice: EventChoice, result: object) -> Iterator[str]:
    if not isinstance(result, ua.EventFilterResult):
        return
    own = len(choice.filter.SelectClauses) - len(choice.fields)
    for field, status in zip(choice.fields, (result.SelectClauseResults or [])[own:], strict=False):
        if not status.is_good():
            yield f"fields without {field} ({status.name}), which is null then"
