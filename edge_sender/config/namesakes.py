"""Entries of one document whose readings would get the same ids: refused, where the document shows it. Pure.

Two machines would become one in the clean stream, or every reading of one machine would be taken twice. What only the
servers show, such as two of them with one application URI, is told while they are read (edge_sender/namesakes.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from edge_sender.config.nodes import NodeRule
from edge_sender.config.opcua import OpcUaConfig, normal


def check_names(sources: Sequence[OpcUaConfig]) -> None:
    """Raises ValueError."""
    for one, two in combinations(sources, 2):
        what = _shared(one, two)
        if what and one.variable_rules == two.variable_rules and _overlap(one, two):
            raise ValueError(
                f"{one.name} and {two.name} have {what}, variables in common and the same identity, so their readings would "
                "have the same ids: choose different nodes, or give different servers a server_uri of their own"
            )
        if what and one.events is not None and one.events == two.events:
            raise ValueError(
                f"{one.name} and {two.name} have {what} and the same events, which would have the same ids: leave them "
                "out of one of them, or give different servers a server_uri of their own"
            )


def _shared(one: OpcUaConfig, two: OpcUaConfig) -> str:
    """By which the source URIs of both begin with the same; empty if the document does not show it."""
    if one.server_uri is not None or two.server_uri is not None:
        return f"the server_uri {one.server_uri}" if one.server_uri == two.server_uri else ""
    common = {normal(url) for url in one.servers} & {normal(url) for url in two.servers}
    return next((f"the endpoint {url}" for url in one.servers if normal(url) in common), "")


def _overlap(one: OpcUaConfig, two: OpcUaConfig) -> bool:
    """Whether the document shows that both choose a variable, whatever variables there are."""
    if not (one.has_variables and two.has_variables):
        return False
    if (one.namespace_uri, _choice(one)) == (two.namespace_uri, _choice(two)):
        return True
    return _covers(one, two) or _covers(two, one)


def _covers(whole: OpcUaConfig, part: OpcUaConfig) -> bool:
    """Whether all that `part` chooses is chosen by `whole`."""
    if whole.namespace_uri not in (None, part.namespace_uri):
        return False
    include, exclude = _choice(whole)
    return not exclude and (not include or (bool(_choice(part)[0]) and _choice(part)[0] <= include))


def _choice(source: OpcUaConfig) -> tuple[frozenset[NodeRule], frozenset[NodeRule]]:
    nodes = source.nodes
    return (frozenset(), frozenset()) if nodes is None else (frozenset(nodes.include), frozenset(nodes.exclude))
