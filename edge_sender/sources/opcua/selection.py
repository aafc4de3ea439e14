"""Which of a server's variables are read, and how each is subscribed to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set

from asyncua import ua

from edge_sender.config.events import Events
from edge_sender.config.nodes import DEEP, Level, NodeOverride, NodeRule, Nodes, deadband, path_levels, wildcard
from edge_sender.config.opcua import OpcUaConfig
from edge_sender.sources.opcua.addresses import Key, OddNodeError
from edge_sender.sources.opcua.browsing import OBJECTS, SERVER, AddressSpace, with_server
from edge_sender.sources.opcua.events import event_choice, event_uri
from edge_sender.sources.opcua.items import Deadband, Item, ItemSettings

ALL = Nodes.model_validate({})
EVENTS = "events"
"""In place of a source URI, for events that can't be asked for."""


def select(space: AddressSpace, config: OpcUaConfig) -> Iterator[Item]:
    """The variables, and the objects with events, that the configuration chooses, with their settings."""
    if config.has_variables:
        yield from _variables(space, config)
    if config.events is not None:
        yield from _event_items(space, config, config.events)


def _variables(space: AddressSpace, config: OpcUaConfig) -> Iterator[Item]:
    nodes = config.nodes or ALL
    chosen = {where for where, _ in space.variables()}
    if config.namespace_uri is not None:
        chosen &= _in_namespace(space, config.namespace_uri)
    if nodes.include:
        chosen &= set().union(*(matching(rule, space) for rule in nodes.include))
    for rule in nodes.exclude:
        chosen -= matching(rule, space)
    overrides = [(matching(rule, space), settings_of(config, rule)) for rule in nodes.overrides]
    default = settings_of(config, None)
    for where, node in space.variables():
        if where in chosen:
            settings = next((settings for keys, settings in overrides if where in keys), default)
            yield Item(where, node.node_id, space.addresses.source_uri(node.node_id), settings, settings)


def _event_items(space: AddressSpace, config: OpcUaConfig, events: Events) -> Iterator[Item]:
    """What can't be asked for is an item nevertheless, so that it is told."""
    settings = settings_of(config, None)
    try:
        choice = event_choice(events, space.addresses)
    except OddNodeError as error:
        yield Item(SERVER, ua.NodeId(), EVENTS, settings, settings, unaskable=f"they can't be subscribed to: {error}")
        return
    chosen = chosen_notifiers(space, events)
    if not chosen:
        yield Item(SERVER, ua.NodeId(), EVENTS, settings, settings, unaskable="no object with events matches notifiers")
    for where, node_id in chosen.items():
        yield Item(where, node_id, event_uri(node_id, space.addresses), settings, settings, choice)


def chosen_notifiers(space: AddressSpace, events: Events) -> dict[Key, ua.NodeId]:
    if not events.notifiers:
        return {SERVER: ua.NodeId(ua.ObjectIds.Server)}
    whole = with_server(space)
    keys = set().union(*(_matching(rule, whole, space.notifiers) for rule in events.notifiers))
    return {where: node.node_id for where, node in whole.nodes.items() if where in keys}


def settings_of(config: OpcUaConfig, override: NodeOverride | None) -> ItemSettings:
    given = {} if override is None else override.model_dump(exclude_none=True)
    band = given.get("deadband", config.deadband)
    amount, is_percent = (0.0, False) if band is None else deadband(band)
    return ItemSettings(
        sampling_ms=given.get("sampling_ms", config.sampling_ms),
        publishing_ms=given.get("publishing_ms", config.publishing_ms),
        queue_size=given.get("queue_size", config.queue_size),
        trigger=given.get("trigger", config.trigger),
        deadband=Deadband(amount, is_percent) if amount else None,
        heartbeat_seconds=given.get("heartbeat_seconds", config.heartbeat_seconds),
    )


def matching(rule: NodeRule, space: AddressSpace) -> set[Key]:
    """The variables for which all that the rule says is true."""
    return _matching(rule, space, {where for where, _ in space.variables()})


def _matching(rule: NodeRule, space: AddressSpace, nodes: Set[Key]) -> set[Key]:
    """Those of `nodes` for which all that the rule says is true."""
    found = set(nodes)
    if rule.namespace is not None:
        found &= _in_namespace(space, rule.namespace)
    if rule.node is not None:
        found &= named(space, rule.node)
    if rule.path is not None:
        found &= at_path(space, path_levels(rule.path))
    if rule.folder is not None:
        found &= _below(space, named(space, rule.folder))
    if rule.type is not None:
        is_type = wildcard(rule.type).fullmatch
        found &= _below(space, (where for where, node in space.nodes.items() if is_type(node.type)))
    return found


def _in_namespace(space: AddressSpace, pattern: str) -> set[Key]:
    is_it = wildcard(pattern).fullmatch
    indexes = {index for index, uri in enumerate(space.addresses.namespaces) if is_it(uri)}
    return {where for where in space.nodes if where[0] in indexes}


def named(space: AddressSpace, pattern: str) -> set[Key]:
    """The nodes whose text (`nsu=URI;s=identifier`) matches the pattern."""
    is_it = wildcard(pattern).fullmatch
    return {where for where, node in space.nodes.items() if is_it(space.addresses.text(node.node_id))}


def _below(space: AddressSpace, tops: Iterable[Key]) -> set[Key]:
    """These nodes, and everything below them."""
    found = set(tops)
    waiting = list(found)
    while waiting:
        for _, child in space.children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found


def at_path(space: AddressSpace, levels: tuple[Level, ...]) -> set[Key]:
    """The nodes that one of their paths from Objects leads to.

    There may be any number of paths to a node, in circles, too. So what is passed on from node to node is not the path, but
    how many levels of the pattern a path to it can have matched: a set of numbers, as the bits of an integer.
    """
    reached = {OBJECTS: _with_deep(1, levels)}
    waiting = [OBJECTS]
    while waiting:
        parent = waiting.pop()
        for name, child in space.children.get(parent, ()):
            matched = _step(reached[parent], name, levels)
            if matched & ~reached.get(child, 0):
                reached[child] = reached.get(child, 0) | matched
                waiting.append(child)
    return {where for where, matched in reached.items() if matched >> len(levels) & 1}


def _step(matched: int, name: str, levels: tuple[Level, ...]) -> int:
    further = 0
    for number, level in enumerate(levels):
        if not matched >> number & 1:
            continue
        if level is DEEP:
            further |= 1 << number
        elif level.fullmatch(name):
            further |= 1 << number + 1
    return _with_deep(further, levels)


def _with_deep(matched: int, levels: tuple[Level, ...]) -> int:
    """`**` may also stand for no level."""
    for number, level in enumerate(levels):
        if level is DEEP and matched >> number & 1:
            matched |= 1 << number + 1
    return matched
