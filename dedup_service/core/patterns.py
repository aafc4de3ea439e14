"""Whether every device that a pattern names is named by other patterns already.

A pattern is an automaton that reads a name symbol by symbol. The question is whether some name leads the pattern to its end,
and none of the others. Of infinitely many symbols only those are tried that the patterns can tell apart.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Iterable, Sequence
from functools import cache

MAX_STATES = 500
"""Beyond that the answer is no: patterns that are hard to compare are nothing to warn about."""

_TOKEN = re.compile(r"\*+|\[!?+\]?+[^\]]*\]|.", re.DOTALL)
"""As fnmatch reads a pattern. What begins with `[` and has no end is a symbol like any other."""
_WILDCARD, _CLASS = re.compile(r"[*?[]"), re.compile(r"\[")
_MODULE = "/"
"""Follows the device in a module's name; a pattern that names a device names its modules, too."""

Place = tuple[int, int]
"""(number of the pattern, number of its tokens that are read)"""
State = tuple[frozenset[Place], frozenset[Place], bool]
"""Where the pattern is, where the others are, and whether the module's name has begun."""


def are_all_named(pattern: str, others: Sequence[str]) -> bool:
    """Whether every device and module that the pattern names is named by one of the others, too."""
    if not _WILDCARD.search(pattern):
        names = {pattern, pattern.partition(_MODULE)[0]}
        return any(fnmatch.fnmatchcase(name, other) for other in others for name in names)
    if not _CLASS.search(pattern):  # it names more devices than could be listed
        others = [other for other in others if _WILDCARD.search(other)]
    one, many = _Patterns([pattern]), _Patterns(others)
    symbols = _symbols((pattern, *others))
    found: set[State] = set()
    waiting: list[State] = [(one.start, many.start, False)]
    while waiting:
        at, others_at, in_module = waiting.pop()
        for symbol in symbols if not in_module else symbols - {_MODULE}:
            following = one.after(at, symbol), many.after(others_at, symbol), in_module or symbol == _MODULE
            if one.is_end(following[0]) and not many.is_end(following[1]):
                return False
            if following[0] and not many.has_all(following[1]) and following not in found:
                found.add(following)
                waiting.append(following)
                if len(found) > MAX_STATES:
                    return False
    return True


class _Patterns:
    """Several patterns, of which any may name a device."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._tokens = [*map(_TOKEN.findall, patterns)]
        self._all = frozenset({(len(self._tokens), 0)})
        """The place of a pattern that names whatever follows: the modules of a device that is named."""
        self._tokens.append(["*"])
        self.start = self._with_stars((number, 0) for number in range(len(self._tokens) - 1))

    def after(self, places: frozenset[Place], symbol: str) -> frozenset[Place]:
        if symbol == _MODULE and self.is_end(places):
            return self._with_stars(self._all)
        moved = []
        for number, read in places:
            token = self._tokens[number][read] if read < len(self._tokens[number]) else ""
            if token.startswith("*"):
                moved.append((number, read))
            elif token and _names(token, symbol):
                moved.append((number, read + 1))
        return self._with_stars(moved)

    def is_end(self, places: frozenset[Place]) -> bool:
        return any(read == len(self._tokens[number]) for number, read in places)

    def has_all(self, places: frozenset[Place]) -> bool:
        return self._all <= places

    def _with_stars(self, places: Iterable[Place]) -> frozenset[Place]:
        """With the places behind a `*`, which may name nothing."""
        found = set()
        for number, read in places:
            found.add((number, read))
            if self._tokens[number][read : read + 1] and self._tokens[number][read].startswith("*"):
                found.add((number, read + 1))
        return frozenset(found)


@cache
def _names(token: str, symbol: str) -> bool:
    return fnmatch.fnmatchcase(symbol, token)


def _symbols(patterns: Sequence[str]) -> frozenset[str]:
    """One of each kind that the patterns tell apart: those that stand in them, also as ends of ranges, and one of each gap
    between these."""
    written = {ord(symbol) for pattern in patterns for symbol in (*pattern, _MODULE)}
    return frozenset(map(chr, {0, *written, *(code + 1 for code in written if code < sys.maxunicode)}))
