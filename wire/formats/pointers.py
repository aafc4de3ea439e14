"""JSON pointers (RFC 6901), with `*` for every element or member, and references to what is near a part of a body."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from wire.formats.messages import Message, Path
from wire.formats.names import named
from wire.formats.never import why_never, why_rarely
from wire.json_pointers import INDEX, PointerError, tokens


class Spot(msgspec.Struct, frozen=True):
    """A part of a body, and what is around it."""

    message: Message
    place: Path
    nodes: tuple[Any, ...]
    """From the root of the body to the part."""
    outer: Any = None
    """The root of what holds the body, where the body is a text in another one."""


Reference = Callable[[Spot], Any]
"""The value that it refers to; None where there is none."""

_RELATIVE = re.compile(r"(\d{1,2})(#|(?:/.*)?)", re.DOTALL | re.ASCII)
_LEVEL = re.compile(r"-?\d{1,3}", re.ASCII)


def spots(message: Message, root: Any, pattern: tuple[str, ...], outer: Any = None) -> Iterator[Spot]:
    """Every part that the pattern matches, in the order of the body. `outer`: see Spot."""
    yield from _spots(Spot(message, (), (root,), outer), pattern)


def _spots(spot: Spot, pattern: tuple[str, ...]) -> Iterator[Spot]:
    if not pattern:
        yield spot
        return
    for key, child in _children(spot.nodes[-1], pattern[0]):
        yield from _spots(Spot(spot.message, (*spot.place, key), (*spot.nodes, child), spot.outer), pattern[1:])


def _children(node: Any, token: str) -> Iterator[tuple[str | int, Any]]:
    if isinstance(node, dict):
        if token == "*":  # noqa: S105  # a wildcard, not a password
            yield from node.items()
        elif token in node:
            yield token, node[token]
    elif isinstance(node, list):
        if token == "*":  # noqa: S105  # a wildcard, not a password
            yield from enumerate(node)
        elif INDEX.fullmatch(token) and int(token) < len(node):
            yield int(token), node[int(token)]


def _at(node: Any, path: tuple[str, ...]) -> Any:
    for token in path:
        if isinstance(node, dict) and token != "*":  # noqa: S105  # a wildcard
            node = node.get(token)
        else:
            node = next((child for _, child in _children(node, token)), None)
    return node


def reference(text: str) -> Reference:
    """What a text refers to, seen from a part of a body. Raises PointerError.

    `/a/b` inside it, `1/a` inside what holds it (relative JSON pointers), `body:/a/b` from the root, `outer:/a/b` from the
    root of what holds the body as a text; `@key` its name or index, `1#` that of what holds it; `property:NAME`,
    `system:NAME`, `annotation:NAME`, `topic:2` the second level of the property `topic` (`topic:-1` the last); `text:…` just
    that text.
    """
    kind, colon, name = text.partition(":")
    if colon and kind in _KINDS:
        return _KINDS[kind](name)
    if text == "@key":
        return _relative(0, "#")
    if relative := _RELATIVE.fullmatch(text):
        return _relative(int(relative[1]), relative[2])
    path = _allowed(tokens(text))
    return lambda spot: _at(spot.nodes[-1], path)


def needs_outer(text: str) -> bool:
    """Whether it refers to what holds the body, which only a body in another one has."""
    return text.startswith(f"{_OUTER}:")


def doubt(text: str) -> str | None:
    """Why copies hardly ever agree on what a reference means, and what to do; None where they can."""
    kind, _, name = text.partition(":")
    reason = why_rarely(name) if kind in _BESIDE_THE_BODY else None
    return f"{text} {reason}" if reason else None


def beside_the_body(text: str) -> tuple[str, str] | None:
    """`property`, `system` or `annotation`, and the name of what a reference means there; None where it means something in
    the body, or a text."""
    kind, _, name = text.partition(":")
    if kind == "topic":
        return "property", "topic"
    return (kind, name) if kind in ("property", "system", "annotation") else None


def key_of(text: str) -> int | None:
    """How many levels up the part is whose own name or index a reference means (0 for `@key`); None for all others."""
    relative = _RELATIVE.fullmatch(text)
    return 0 if text == "@key" else int(relative[1]) if relative and relative[2] == "#" else None


def _relative(up: int, rest: str) -> Reference:
    if rest == "#":
        return lambda spot: spot.place[-1 - up] if up < len(spot.place) else None
    path = _allowed(tokens(rest))
    return lambda spot: _at(spot.nodes[-1 - up], path) if up < len(spot.nodes) else None


def _from_root(pointer: str) -> Reference:
    path = _allowed(tokens(pointer))
    return lambda spot: _at(spot.nodes[0], path)


def _from_outer_root(pointer: str) -> Reference:
    path = _allowed(tokens(pointer))
    return lambda spot: _at(spot.outer, path)


def _property(name: str) -> Reference:
    _refuse(name, is_property=True)
    return lambda spot: named(spot.message.properties, name)


def _system(name: str) -> Reference:
    _refuse_beside_the_body(name)
    return lambda spot: named(spot.message.system, name)


def _annotation(name: str) -> Reference:
    _refuse_beside_the_body(name)
    return lambda spot: named(spot.message.annotations, name)


def _topic_level(number: str) -> Reference:
    if not _LEVEL.fullmatch(number) or int(number) == 0:
        raise PointerError(f"topic:{number} needs the number of a level, such as topic:2 or topic:-1")
    at = int(number) - (int(number) > 0)

    def level(spot: Spot) -> str | None:
        levels = (named(spot.message.properties, "topic") or "").split("/")
        return levels[at] or None if -len(levels) <= at < len(levels) else None

    return level


def _constant(text: str) -> Reference:
    return lambda _: text


_OUTER = "outer"
_KINDS: dict[str, Callable[[str], Reference]] = {
    "body": _from_root,
    _OUTER: _from_outer_root,
    "property": _property,
    "system": _system,
    "annotation": _annotation,
    "topic": _topic_level,
    "text": _constant,
}
_BESIDE_THE_BODY = ("system", "annotation")


def _allowed(path: tuple[str, ...]) -> tuple[str, ...]:
    if path:
        _refuse(path[-1])
    return path


def _refuse_beside_the_body(name: str) -> None:
    if not why_rarely(name):
        _refuse(name)


def _refuse(name: str, *, is_property: bool = False) -> None:
    if reason := why_never(name, is_property=is_property):
        raise PointerError(f"{reason}, so copies of a reading would never match")
