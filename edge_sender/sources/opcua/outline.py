"""The part of an address space that is shown as a tree. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from edge_sender.config.nodes import path_levels
from edge_sender.sources.opcua.addresses import Key
from edge_sender.sources.opcua.browsing import OBJECTS, AddressSpace
from edge_sender.sources.opcua.selection import at_path, named
from edge_sender.survey import Asked, SurveyError

Child = tuple[str, Key]
"""Browse name and key."""


@dataclass(frozen=True, slots=True)
class Row:
    level: int
    name: str
    where: Key
    hidden: int


@dataclass(slots=True)
class Outline:
    rows: list[Row] = field(default_factory=list)
    more: int = 0
    """Rows beyond the most that were asked for."""


def outline(space: AddressSpace, asked: Asked) -> Outline:
    """Depth first, in the server's order. Raises SurveyError, if nothing is there or `under` can't be read."""
    found, shown = Outline(), set[Key]()
    waiting: list[tuple[int, Child]] = [(0, top) for top in reversed(_tops(space, asked.under))]
    while waiting:
        level, (name, where) = waiting.pop()
        children = _distinct(space.children.get(where, ()))
        is_open = where not in shown and (asked.depth is None or level < asked.depth)
        shown.add(where)
        if asked.most is None or len(found.rows) < asked.most:
            found.rows.append(Row(level, name, where, 0 if is_open else len(children)))
        else:
            found.more += 1
        if is_open:
            waiting += [(level + 1, child) for child in reversed(children)]
    return found


def _distinct(children: Iterable[Child]) -> list[Child]:
    """Several references, of different kinds, may lead to one node."""
    return list({where: (name, where) for name, where in children}.values())


def _tops(space: AddressSpace, under: str | None) -> list[Child]:
    if under is None:
        return [("Objects", OBJECTS)]
    if under.startswith("/"):
        try:
            found = at_path(space, path_levels(under))
        except ValueError as error:
            raise SurveyError(f"{under}: {error}") from None
    elif under.startswith("nsu="):
        found = named(space, under)
    else:
        raise SurveyError(f"{under}: is neither a node id (nsu=URI;s=identifier) nor a path (/Line 1/Press)")
    if not found:
        raise SurveyError(f"{under}: the server has no such node below Objects")
    names = {where: name for children in space.children.values() for name, where in reversed(children)}
    return [(names[where], where) for where in space.nodes if where in found]
