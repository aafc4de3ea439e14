"""Caches for values that depend on a text alone.

Senders choose the texts, and must not be able to fill the memory with them: the number of cached texts is bounded, and texts
longer than MAX_LENGTH are not cached. More or longer ones cost time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar, TypeVarTuple, cast

SOURCES, NAMES = 20_000, 1000
"""How many sources and how many property names are cached."""
MAX_LENGTH = 256

Rest = TypeVarTuple("Rest")
T = TypeVar("T")


def memoized(count: int) -> Callable[[Callable[[str, *Rest], T]], Callable[[str, *Rest], T]]:
    """Decorates a function whose first argument is such a text; the others must be hashable."""

    def decorate(function: Callable[[str, *Rest], T]) -> Callable[[str, *Rest], T]:
        cached = cast("Callable[[str, *Rest], T]", lru_cache(count)(function))

        @wraps(function)
        def look_up(text: str, /, *rest: *Rest) -> T:
            return (cached if len(text) <= MAX_LENGTH else function)(text, *rest)

        return look_up

    return decorate


class MemoDict(dict[str, T]):
    """A cache for a function of the text alone, for code that runs for every copy: a hit is a plain dictionary look-up. When
    it is full, it starts over."""

    def __init__(self, function: Callable[[str], T], count: int = SOURCES) -> None:
        self._function = function
        self._count = count

    def __missing__(self, text: str) -> T:
        value = self._function(text)
        if len(text) <= MAX_LENGTH:
            if len(self) >= self._count:
                self.clear()
            self[text] = value
        return value
