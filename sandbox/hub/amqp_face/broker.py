"""The AMQP face of the hub: creates the link for each attach, and serves the nodes `$cbs` and `$management`.

Source: the Event Hubs AMQP protocol guide, and the frames that the SDKs send.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from sandbox.amqp import performatives as amqp
from sandbox.amqp.codec import Described, Int, Strings, Symbol, Timestamp
from sandbox.amqp.messages import Request, response
from sandbox.amqp.performatives import AmqpError, field
from sandbox.hub import sas
from sandbox.hub.amqp_face.connection import Connection, Link, Session, address
from sandbox.hub.amqp_face.links import EventsIn, EventsOut, Requests, Responses
from sandbox.hub.amqp_face.redirect import IOT_HUB, Endpoint, is_iot_hubs, redirect
from sandbox.hub.amqp_face.traffic import Traffic
from sandbox.hub.log import BeyondTheEndError, Hub, Partition, Selector
from sandbox.hub.namespace import LISTEN, SEND, Namespace

T = TypeVar("T")

MAX_RECEIVERS = 5
TRACKING = f" TrackingId:{'0' * 32}_B0, SystemTracker:sandbox:eventhub:hub~1, Timestamp:2026-01-01T00:00:00" * 3
"""What Event Hubs adds to its messages, which are long: what follows is cut off by whoever shortens them."""
NAMESPACE = "sb://namespace/"
UNAUTHORIZED = "amqp:unauthorized-access"
EPOCH = "com.microsoft:epoch"
RECEIVER_NAME = "com.microsoft:receiver-name"
RUNTIME_METRICS = "com.microsoft:enable-receiver-runtime-metric"
IDEMPOTENT = "com.microsoft:idempotent-producer"
_SELECTOR = re.compile(r"amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time)\s*(>=|>)\s*'([^']*)'")
_SELECTOR_FIELD = {"offset": "offset", "sequence-number": "sequence_number", "enqueued-time": "enqueued_ms"}


class Broker:
    def __init__(self, namespace: Namespace, iot_hub: Callable[[], Endpoint]) -> None:
        """`iot_hub` tells the endpoint to which readers of the IoT hub's messages are redirected."""
        self._namespace = namespace
        self._iot_hub = iot_hub
        self._receivers: dict[tuple[str, str, str], set[EventsOut]] = {}
        self._connections: set[Connection] = set()
        self.traffic = Traffic()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    def connection(self) -> Connection:
        """The protocol of a new connection."""
        connection = Connection("sandbox-hub", self._attach, self._connections.discard, self.traffic)
        self._connections.add(connection)
        return connection

    def disconnect_all(self) -> None:
        for connection in tuple(self._connections):
            connection.abort()

    def detach_all(self, hub: Hub) -> None:
        """End the links of a hub that is removed."""
        error = AmqpError("amqp:not-found", f"the messaging entity {hub.name!r} was deleted")
        for connection in tuple(self._connections):
            connection.detach_links(
                lambda link: error if isinstance(link, EventsIn | EventsOut) and link.hub is hub else None
            )

    def end_expired(self) -> None:
        """Detach the links whose tokens have expired; a client that has renewed its token notices nothing."""
        for connection in tuple(self._connections):
            connection.detach_links(_renewal_missed)

    # --- attach

    def _attach(self, session: Session, fields: list[Any]) -> None:
        client_receives = bool(field(fields, 2, amqp.SENDER)) == amqp.RECEIVER
        node = _path(address(fields, 5 if client_receives else 6))
        if node in ("$cbs", "$management"):
            self._attach_node(session, fields, node, client_receives)
            return
        _require_authorized(session.connection, node, LISTEN if client_receives else SEND)
        if client_receives and is_iot_hubs(node):
            raise redirect(self._iot_hub())
        if client_receives:
            self._attach_consumer(session, fields, node)
        else:
            self._attach_producer(session, fields, node)

    def _attach_node(self, session: Session, fields: list[Any], node: str, client_receives: bool) -> None:
        handle, kind = int(field(fields, 1, 0)), Responses if client_receives else Requests
        if node == "$cbs" and any(isinstance(link, kind) and link.node == node for link in session.connection.links()):
            text = f"A link to connection '{id(session.connection) % 10**9}' $cbs node has already been opened."
            raise AmqpError("amqp:not-allowed", text)
        if client_receives:
            _accept(session, fields, Responses(session, handle, node, address(fields, 6)))
            return
        handler = self._put_token if node == "$cbs" else self._manage
        link = Requests(
            session, handle, node, lambda request: self._answer(session, node, request, handler(session, request))
        )
        _accept(session, fields, link, max_message_size=64 * 1024)
        link.start()

    def _attach_producer(self, session: Session, fields: list[Any], node: str) -> None:
        if IDEMPOTENT in _capabilities(fields):
            raise AmqpError("amqp:not-implemented", f"The capability '{IDEMPOTENT}' is not supported.{TRACKING}")
        name, *rest = node.split("/")
        hub = self._hub(name)
        partition = None
        if rest:
            if len(rest) != 2 or rest[0].lower() != "partitions":
                raise _not_found(node)
            partition = _partition(hub, rest[1])
        link = EventsIn(
            session,
            int(field(fields, 1, 0)),
            hub,
            partition,
            node,
            self._namespace.throughput,
        )
        _accept(session, fields, link, max_message_size=hub.max_message_size)
        link.start()

    def _attach_consumer(self, session: Session, fields: list[Any], node: str) -> None:
        parts = node.split("/")
        if len(parts) != 5 or parts[1].lower() != "consumergroups" or parts[3].lower() != "partitions":
            raise _not_found(node)
        hub = self._hub(parts[0])
        group = parts[2].lower()
        if group not in {name.lower() for name in hub.consumer_groups}:
            raise _not_found(node)
        partition = _partition(hub, parts[4])
        epoch, name = _link_property(fields, EPOCH, int), _link_property(fields, RECEIVER_NAME, str)
        receivers = self._receivers.setdefault((hub.name, group, partition.id), set())
        _evict(receivers, epoch)
        link = EventsOut(
            session,
            int(field(fields, 1, 0)),
            hub,
            partition,
            node,
            _position(partition, _selector(fields)),
            epoch=epoch,
            name=name,
            runtime_metrics=RUNTIME_METRICS in _capabilities(fields),
            throughput=self._namespace.throughput,
            released=receivers.discard,
        )
        receivers.add(link)
        _accept(session, fields, link, max_message_size=hub.max_message_size)

    def _hub(self, name: str) -> Hub:
        hub = self._namespace.hub(name)
        if hub is None:
            raise _not_found(name)
        return hub

    # --- $cbs and $management

    def _answer(self, session: Session, node: str, request: Request, payload: bytes) -> None:
        """Send the response on the link that the request names, or else on the session's link for this node."""
        for link in _response_links(session, request.reply_to, node):
            link.send(payload)
            return

    def _put_token(self, session: Session, request: Request) -> bytes:
        audience = str(request.properties.get("name", ""))
        try:
            token = self._namespace.authorize(str(request.value), audience)
        except sas.SasError as error:
            return _unauthorized(request, error)
        name = sas.path_of(audience).partition("/")[0]
        if name and name != IOT_HUB and self._namespace.hub(name) is None:
            return _refusal(request, 404, _not_found(audience))
        session.connection.grants[token.resource] = token
        return _reply(request, 202, "Accepted")

    def _manage(self, session: Session, request: Request) -> bytes:
        name = str(request.properties.get("name", ""))
        self.traffic.questions[name] += 1
        try:
            self._require_management(session, request, name)
            if request.properties.get("operation") != "READ":
                operation = request.properties.get("operation")
                return _refusal(request, 400, AmqpError("amqp:not-implemented", f"operation {operation!r} is not supported"))
            hub = self._hub(name)
            if request.properties.get("type") == "com.microsoft:eventhub":
                return _reply(request, 200, "OK", _hub_properties(hub))
            partition = _partition(hub, str(request.properties.get("partition", "")))
        except sas.SasError as error:
            return _unauthorized(request, error)
        except AmqpError as error:
            return _refusal(request, 401 if error.condition == UNAUTHORIZED else 404, error)
        return _reply(request, 200, "OK", _partition_properties(hub, partition))

    def _require_management(self, session: Session, request: Request, name: str) -> None:
        """A request may bring its own token, the only one that the SDK for Java sends. Raises AmqpError, SasError."""
        token = request.properties.get("security_token")
        if token is None:
            _require_authorized(session.connection, f"{name}/$management")
        else:
            self._namespace.authorize(str(token), f"sb://namespace/{name}")


def _path(node: str | None) -> str:
    if not node:
        raise AmqpError("amqp:invalid-field", "the attach has no address")
    return unquote(urlsplit(node).path if "://" in node else node).strip("/")


def _require_authorized(connection: Connection, path: str, right: str | None = None) -> None:
    """Any valid token will do where no right is named."""
    now = time.time()
    granted = [grant.rights for grant in connection.grants.values() if grant.expiry > now and grant.covers(path)]
    if not any(right is None or right in rights for rights in granted):
        claims = f"'{right}' claim(s)" if right else "Claims"
        text = (
            f"Unauthorized access. {claims} are required to perform this operation. Resource: '{NAMESPACE}{path.lower()}'."
        )
        raise AmqpError(UNAUTHORIZED, f"{text}{TRACKING}")


def _renewal_missed(link: Link) -> AmqpError | None:
    if not isinstance(link, EventsIn | EventsOut):
        return None
    try:
        _require_authorized(link.session.connection, link.node, link.needs)
    except AmqpError as error:
        text = f"The link '{link.node}' is force detached. Code: RenewToken. Details: {error.description}"
        return AmqpError("amqp:link:detach-forced", text)
    return None


def _not_found(name: str) -> AmqpError:
    uri = name if "://" in name else f"{NAMESPACE}{name.lower()}"
    return AmqpError("amqp:not-found", f"The messaging entity '{uri}' could not be found.{TRACKING}")


def _partition(hub: Hub, partition_id: str) -> Partition:
    partition = hub.partition(partition_id)
    if partition is None:
        text = (
            "The specified partition is invalid for an EventHub partition sender or receiver. "
            f"It should be between 0 and {len(hub.partitions) - 1}.{TRACKING}"
        )
        raise AmqpError("com.microsoft:argument-out-of-range", text)
    return partition


def _link_property(fields: list[Any], name: str, kind: type[T]) -> T | None:
    properties = field(fields, 13)
    value = properties.get(Symbol(name)) if isinstance(properties, dict) else None
    return value if isinstance(value, kind) else None


def _capabilities(fields: list[Any]) -> set[str]:
    value = field(fields, 12, [])
    return {str(item) for item in (value if isinstance(value, list) else [value])}


def _selector(fields: list[Any]) -> Selector:
    source = field(fields, 5)
    filters = field(source.value, 7, {}) if isinstance(source, Described) else {}
    for value in filters.values() if isinstance(filters, dict) else ():
        text = str(value.value if isinstance(value, Described) else value)
        match = _SELECTOR.fullmatch(text.strip())
        if match is None:
            raise AmqpError("amqp:invalid-field", f"the filter {text!r} is not a position")
        return _start_position(*match.groups())
    return Selector()  # without a filter Event Hubs reads from the beginning


def _position(partition: Partition, selector: Selector) -> int:
    try:
        return partition.position(selector)
    except BeyondTheEndError as error:
        raise AmqpError("com.microsoft:argument-error", f"{error}{TRACKING}") from None


def _start_position(annotation: str, operator: str, value: str) -> Selector:
    if value == "@latest":
        return Selector(at_end=True)
    try:
        number = int(value)
    except ValueError:
        raise AmqpError("com.microsoft:argument-error", f"the {annotation} {value!r} is not a position") from None
    return Selector(_SELECTOR_FIELD[annotation], number, inclusive=operator == ">=")


def _evict(receivers: set[EventsOut], epoch: int | None) -> None:
    """Admit one receiver with an epoch at a time: an equal or higher epoch takes the link, a lower one is refused."""
    current = max((link.epoch for link in receivers if link.epoch is not None), default=None)
    if epoch is None:
        if current is not None:
            text = (
                f"At least one receiver for the endpoint is created with epoch of '{current}', and so non-epoch receiver is "
                "not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are closed."
            )
            raise AmqpError("amqp:link:stolen", f"{text}{TRACKING}")
        if len(receivers) >= MAX_RECEIVERS:
            text = "Exceeded the maximum number of allowed receivers per partition in a consumer group which is"
            names = ", ".join(sorted(link.name or "nil" for link in receivers))
            full = f"{text} {MAX_RECEIVERS}. List of connected receivers - {names}."
            raise AmqpError("amqp:resource-limit-exceeded", f"{full}{TRACKING}")
        return
    if current is not None and current > epoch:
        raise AmqpError("amqp:link:stolen", f"A receiver with a higher epoch '{current}' already exists.{TRACKING}")
    for link in tuple(receivers):
        link.steal(f"with epoch '{epoch}'")


def _accept(session: Session, fields: list[Any], link: Link, max_message_size: int = 1024 * 1024) -> None:
    handle, role = int(field(fields, 1, 0)), bool(field(fields, 2, amqp.SENDER))
    session.links[handle] = link
    session.write(
        amqp.attach(
            session.channel,
            name=str(field(fields, 0, "")),
            handle=handle,
            role=not role,
            source=amqp.source_terminus(address(fields, 5) or "client", _filters(fields)),
            target=amqp.target_terminus(address(fields, 6) or "client"),
            max_message_size=max_message_size,
        )
    )


def _filters(fields: list[Any]) -> Any:
    source = field(fields, 5)
    return field(source.value, 7) if isinstance(source, Described) and isinstance(source.value, list) else None


def _response_links(session: Session, reply_to: str | None, node: str) -> list[Responses]:
    links = [link for link in session.links.values() if isinstance(link, Responses) and link.node == node]
    return [link for link in links if link.target == reply_to] or links


def _reply(request: Request, status: int, description: str, value: Any = None) -> bytes:
    return response(request.message_id, {"status-code": Int(status), "status-description": description}, value)


def _refusal(request: Request, status: int, error: AmqpError) -> bytes:
    properties = {
        "status-code": Int(status),
        "status-description": error.description,
        "error-condition": Symbol(error.condition),
    }
    return response(request.message_id, properties, None)


def _unauthorized(request: Request, error: sas.SasError) -> bytes:
    return _refusal(request, 401, AmqpError("com.microsoft:auth-failed", f"{error}{TRACKING}"))


def _hub_properties(hub: Hub) -> dict[str, Any]:
    return {
        "name": hub.name,
        "type": "com.microsoft:eventhub",
        "created_at": Timestamp(hub.created_ms),
        "georeplication_factor": Int(1),
        "partition_count": len(hub.partitions),
        "partition_ids": Strings(partition.id for partition in hub.partitions),
    }


def _partition_properties(hub: Hub, partition: Partition) -> dict[str, Any]:
    return {
        "name": hub.name,
        "type": "com.microsoft:partition",
        "partition": partition.id,
        "begin_sequence_number": partition.first_sequence_number,
        "last_enqueued_sequence_number": partition.last_sequence_number,
        "last_enqueued_offset": str(partition.last_offset),
        "last_enqueued_time_utc": Timestamp(partition.last_enqueued_ms),
        "is_partition_empty": not partition.entries,
    }
