"""Looks at a server as a source would see it: the tree, the values, and the sampling that the server would grant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from asyncua import ua

from edge_sender.config.opcua import OpcUaConfig
from edge_sender.sources.opcua.addresses import Key, OddNodeError, key, printable
from edge_sender.sources.opcua.browsing import OBJECTS, SERVER, AddressSpace, browse, read_notifiers, with_server
from edge_sender.sources.opcua.capabilities import read_addresses, read_limits
from edge_sender.sources.opcua.connection import Connection
from edge_sender.sources.opcua.data_types import read_attribute, read_data_types
from edge_sender.sources.opcua.decoding import Change, read_result
from edge_sender.sources.opcua.items import Item
from edge_sender.sources.opcua.json_encoding import Values
from edge_sender.sources.opcua.limits import Limits, Refused, Service, in_parts
from edge_sender.sources.opcua.notifications import Form, NoReadingError, sample_of
from edge_sender.sources.opcua.outline import Outline, outline
from edge_sender.sources.opcua.security import User
from edge_sender.sources.opcua.selection import select
from edge_sender.sources.opcua.servers import Server
from edge_sender.sources.opcua.subscribing import Subscriptions
from edge_sender.survey import Asked, Entry, Notifier, Survey, SurveyError, Variable

NS_PER_MS = 1_000_000


async def survey(servers: Sequence[Server], user: User | None, config: OpcUaConfig, asked: Asked) -> Survey:
    """Opens a session at the first server that can be read, and closes it. Subscribes to what is shown, for as long as it
    takes to learn what the server grants; nothing is taken from the subscription. Raises SurveyError."""
    away: list[str] = []
    for server in servers:
        connection = Connection(server.url, server.channel, user)
        try:
            await connection.open()
            return await _survey(connection, server, config, asked, away)
        except SurveyError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a server answers, and the library makes of it
            away.append(f"{server.url} can't be read: {printable(str(error) or repr(error))}")
        finally:
            await connection.close()
    raise SurveyError("; ".join(away))


async def _survey(connection: Connection, server: Server, config: OpcUaConfig, asked: Asked, away: list[str]) -> Survey:
    limits = server.limits
    subscriptions = Subscriptions(connection, limits, most_items=await read_limits(connection, limits))
    addresses = await read_addresses(connection, limits, config.server_uri)
    types = await read_data_types(connection, limits, addresses)
    space = await browse(connection, limits, addresses)
    shown = outline(space, asked)
    space.notifiers = await read_notifiers(connection, limits, with_server(space))
    selected = list(select(space, config))
    items = {item.where: item for item in selected if not _is_event_item(item)}
    event_items = [item for item in selected if _is_event_item(item)]
    nodes = {row.where: space.nodes[row.where].node_id for row in shown.rows if _is_variable(space, row.where)}
    values = Values(addresses.namespaces, types.structures())
    variables = await _read(connection, limits, space, nodes, Form(config.payload, config.time), values)
    chosen = {where: items[where] for where in nodes if where in items}
    notifiers = _shown_events(space, asked, shown, event_items)
    if config.interval_ns is None:
        await subscriptions.add([*chosen.values(), *(item for item in event_items if item.where in notifiers)])
    for item in event_items:
        if item.where in notifiers:
            notifiers[item.where].refused = subscriptions.refused.get(item.uri)
    for where, item in chosen.items():
        _note_sampling(variables[where], item, subscriptions, config.interval_ns)
    return Survey(
        server.url,
        away,
        addresses.server_uri,
        len(space.nodes),
        sum(1 for _ in space.variables()),
        len(items),
        _entries(space, shown, variables),
        shown.more,
        list(notifiers.values()),
        {**space.odd, **{item.uri: item.unaskable for item in event_items if item.unaskable is not None}},
    )


def _is_variable(space: AddressSpace, where: Key) -> bool:
    return where in space.nodes and space.nodes[where].is_variable


def _entries(space: AddressSpace, shown: Outline, variables: Mapping[Key, Variable]) -> list[Entry]:
    objects = ua.NodeId(ua.ObjectIds.ObjectsFolder)
    nodes = {row.where: objects if row.where == OBJECTS else space.nodes[row.where].node_id for row in shown.rows}
    return [
        Entry(row.level, row.name, space.addresses.text(nodes[row.where]), variables.get(row.where), row.hidden)
        for row in shown.rows
    ]


def _is_event_item(item: Item) -> bool:
    return item.events is not None or item.unaskable is not None


def _shown_events(space: AddressSpace, asked: Asked, shown: Outline, items: Sequence[Item]) -> dict[Key, Notifier]:
    """Also those of the Server object, if it is in the part that was asked for, or chosen."""
    chosen = {item.where for item in items if item.events is not None}
    names = {row.where: row.name for row in shown.rows}
    if asked.under is None or SERVER in chosen:
        names[SERVER] = "Server"
    nodes = with_server(space).nodes
    return {
        where: Notifier(name, space.addresses.text(nodes[where].node_id), where in chosen)
        for where, name in names.items()
        if where in chosen | space.notifiers
    }


def _note_sampling(variable: Variable, item: Item, subscriptions: Subscriptions, interval_ns: int | None) -> None:
    variable.is_chosen = True
    if interval_ns is not None:  # it is not subscribed to, but read
        variable.asked_ms = variable.granted_ms = interval_ns / NS_PER_MS
        return
    variable.asked_ms, variable.granted_ms = item.asked.sampling_ms, item.granted_ms
    variable.refused = subscriptions.refused.get(item.uri)


async def _read(
    connection: Connection,
    limits: Limits,
    space: AddressSpace,
    nodes: Mapping[Key, ua.NodeId],
    form: Form,
    values: Values,
) -> dict[Key, Variable]:
    """Data types and values, as a reading would carry them."""

    async def read(part: Sequence[ua.NodeId]) -> list[Change]:
        request = ua.ReadRequest()
        request.Parameters.TimestampsToReturn = ua.TimestampsToReturn.Both
        request.Parameters.NodesToRead = [ua.ReadValueId(NodeId=node, AttributeId=ua.AttributeIds.Value) for node in part]
        return read_result(await connection.body(request), range(len(part)))

    types = await _type_names(connection, limits, space, list(nodes.values()))
    answers = await in_parts(limits, Service.READ, list(nodes.values()), read)
    found = {}
    for (where, node), type_name, answer in zip(nodes.items(), types, answers, strict=True):
        variable = found[where] = Variable(type_name)
        if isinstance(answer, Refused):
            variable.unreadable = answer.why
            continue
        try:
            sample = sample_of(answer, space.addresses.source_uri(node), form, values)
        except NoReadingError as error:
            variable.unreadable = str(error)
        else:
            variable.data, variable.time_ns = sample.data, sample.time_ns
    return found


async def _type_names(connection: Connection, limits: Limits, space: AddressSpace, nodes: Sequence[ua.NodeId]) -> list[str]:
    """Of the variables' data types; empty where a server does not say it."""
    answers = await read_attribute(connection, limits, nodes, ua.AttributeIds.DataType)
    types = {key(answer): answer for answer in answers if isinstance(answer, ua.NodeId)}
    names = await read_attribute(connection, limits, list(types.values()), ua.AttributeIds.BrowseName)
    told = {}
    for (where, node), name in zip(types.items(), names, strict=True):
        told[where] = (name.Name or "") if isinstance(name, ua.QualifiedName) else ""
        if where[0]:
            with suppress(OddNodeError):
                told[where] = f"{told[where]} {space.addresses.text(node)}".strip()
    return [told[key(answer)] if isinstance(answer, ua.NodeId) else "" for answer in answers]
