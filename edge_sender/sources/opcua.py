"""OPC UA source: every change of value or source time of the chosen variables is a sample."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from asyncua import Node, ua
from asyncua.client.ua_client import UaClientState
from asyncua.common.subscription import DataChangeNotif, Subscription

from edge_sender.ports import Intake
from edge_sender.sources.opcua_client import KeptAliveClient
from edge_sender.sources.opcua_security import Channel, User
from wire.ids import Sample
from wire.times import nanoseconds

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
CLOSE_SECONDS = 2.0
MAX_RECONNECT_SECONDS = 2.0
WATCH_SECONDS = 2.0
SILENCE = 3.0
"""Number of keep-alive intervals after which a silent subscription is given up: the library has failed to recreate it."""


class OpcUaSource:
    """Subscribes to all variables of one namespace.

    `payload` is "value" (data = value and status) or "json" (the variable holds JSON text, which becomes the data).
    """

    def __init__(
        self,
        name: str,
        endpoint: str,
        namespace_uri: str,
        *,
        payload: str,
        publishing_ms: float,
        queue_size: int,
        channel: Channel | None = None,
        user: User | None = None,
    ) -> None:
        self.name = name
        self._endpoint = endpoint
        self._namespace_uri = namespace_uri
        self._payload = payload
        self._publishing_ms = publishing_ms
        self._queue_size = queue_size
        self._channel = channel
        self._user = user
        self._client: KeptAliveClient | None = None
        self._subscription: Subscription | None = None
        self._wanted_items = 0
        self._is_subscribed = False
        self._intake: Intake | None = None
        self._uris: dict[ua.NodeId, str] = {}
        self._used: tuple[bytes, bytes, bytes] | None = None
        """Contents of the channel's files when it was opened."""

    @property
    def is_up(self) -> bool:
        return self._is_subscribed and self._client is not None and self._client.state is UaClientState.CONNECTED

    async def run(self, intake: Intake) -> None:
        self._intake = intake
        try:
            while True:
                await self._subscribe_until_it_works()
                await self._watch()
                await self._close()
        finally:
            await self._close()

    async def _subscribe_until_it_works(self) -> None:
        warned = False
        while True:
            try:
                await self._subscribe()
                return
            except Exception as error:  # noqa: BLE001  # whatever a server answers must not end the other sources
                if not warned:
                    logger.warning("%s: %s can't be subscribed to, retrying: %r", self.name, self._endpoint, error)
                warned = True
                await self._close()
                await asyncio.sleep(RETRY_SECONDS)

    async def _watch(self) -> None:
        """Returns when the client must be replaced. It reconnects by itself and asks for what it missed, but it silently
        leaves out variables that a restarted server does not have yet, recreates a dead subscription only once, and keeps
        using the old certificates."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if problem := self._problem():
                logger.warning("%s: %s; subscribing again", self.name, problem)
                return

    def _problem(self) -> str | None:
        if not self.is_up:
            return "the certificates were renewed while it was disconnected" if self._is_renewed() else None
        if self._live_items() < self._wanted_items:
            return "the server lost variables of the subscription"
        if self._subscription is not None and self._subscription.is_stale(SILENCE):
            return "the server is silent about the subscription"
        return None

    def _live_items(self) -> int:
        """Number of monitored items, for which the library has no public call."""
        return 0 if self._subscription is None else len(self._subscription._monitored_items)

    def _is_renewed(self) -> bool:
        if self._channel is None:
            return False
        try:
            return self._channel.contents() != self._used
        except OSError:
            return False  # they are just being replaced

    async def _close(self) -> None:
        client, self._client, self._is_subscribed = self._client, None, False
        if client is not None:
            try:
                await asyncio.wait_for(client.disconnect(), CLOSE_SECONDS)
            except Exception as error:  # noqa: BLE001  # the session is abandoned in any case
                logger.info("%s: the session did not close cleanly: %r", self.name, error)

    async def _subscribe(self) -> None:
        client = KeptAliveClient(self._endpoint, auto_reconnect=True, reconnect_max_delay=MAX_RECONNECT_SECONDS)
        self._client = client
        if self._channel is not None:
            self._used = self._channel.contents()
            await self._channel.secure(client)
        if self._user is not None:
            client.set_user(self._user.name)
            client.set_password(self._user.password)
        await client.connect()
        nodes = await self._variables(client)
        if not nodes:
            raise ua.UaError(f"the namespace {self._namespace_uri!r} has no variables")
        subscription = self._subscription = await client.subscribe(self._publishing_ms, self)
        results = await subscription.create_monitored_items(
            [self._request(node, handle) for handle, node in enumerate(nodes, start=1)]
        )
        refused = [result for result in results if isinstance(result, ua.StatusCode)]
        if len(refused) == len(nodes):
            raise ua.UaError(f"all {len(nodes)} variables were refused, the first with {refused[0].name}")
        if refused:
            logger.warning("%s: %d variables were refused, the first with %s", self.name, len(refused), refused[0].name)
        self._wanted_items = self._live_items()
        self._is_subscribed = True
        logger.info("%s: subscribed to %d variables of %s", self.name, len(nodes) - len(refused), self._endpoint)

    async def _variables(self, client: KeptAliveClient) -> list[Node]:
        index = await client.get_namespace_index(self._namespace_uri)
        server_uri = (await client.get_node(ua.ObjectIds.Server_ServerArray).read_value())[0]
        nodes = [node for node in await client.variables() if node.nodeid.NamespaceIndex == index]
        self._uris = {node.nodeid: source_uri(server_uri, self._namespace_uri, node.nodeid) for node in nodes}
        return nodes

    def _request(self, node: Node, handle: int) -> ua.MonitoredItemCreateRequest:
        """With a queue on the server, and triggered by the time stamp too: an equal value at a new time is a new reading."""
        parameters = ua.MonitoringParameters(
            ClientHandle=handle,
            SamplingInterval=0.0,
            Filter=ua.DataChangeFilter(Trigger=ua.DataChangeTrigger.StatusValueTimestamp),
            QueueSize=self._queue_size,
            DiscardOldest=True,
        )
        item = ua.ReadValueId(NodeId=node.nodeid, AttributeId=ua.AttributeIds.Value)
        return ua.MonitoredItemCreateRequest(
            ItemToMonitor=item, MonitoringMode=ua.MonitoringMode.Reporting, RequestedParameters=parameters
        )

    def datachange_notification(self, node: Node, value: Any, data: DataChangeNotif) -> None:
        """Called by the library's subscription."""
        data_value = data.monitored_item.Value
        if self._intake is None or data_value is None or data_value.Value is None or data_value.Value.Value is None:
            return  # a variable without a value yet is not a reading
        stamp = data_value.SourceTimestamp
        self._intake.take(
            Sample(
                source=self._uris[node.nodeid],
                time_ns=None if stamp is None else nanoseconds(stamp),
                data=self._data(value, data_value),
            )
        )

    def _data(self, value: Any, data_value: ua.DataValue) -> Any:
        if self._payload == "json":
            try:
                return json.loads(value)
            except (TypeError, ValueError, RecursionError):
                logger.debug("a variable does not hold JSON; its value is sent as it is")
        status = data_value.StatusCode
        return {"value": plain(value), "status": 0 if status is None else status.value}


def source_uri(server_uri: str, namespace_uri: str, node_id: ua.NodeId) -> str:
    """The same on every replica: made from application and namespace URI, never from the endpoint or the namespace index."""
    kind = {ua.NodeIdType.String: "s", ua.NodeIdType.Guid: "g", ua.NodeIdType.ByteString: "b"}.get(node_id.NodeIdType, "i")
    identifier = node_id.Identifier
    text = identifier.hex() if isinstance(identifier, bytes) else str(identifier)
    return f"{server_uri}#nsu={quote(namespace_uri, safe=':/')};{kind}={quote(text, safe='/:@')}"


def plain(value: Any) -> Any:
    """A value as JSON. Numbers that JSON lacks become text, as in OPC UA's own JSON encoding."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return str(value)
