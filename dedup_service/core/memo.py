"""What depends on a text alone is computed once.

Senders choose the texts, and must not fill the memory with them: so many are remembered, and none that is longer than
MAX_LENGTH. More or longer ones cost time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar, TypeVarTuple, cast

SOURCES, NAMES = 20_000, 1000
"""How many are remembered, of sources and of properties' names."""
MAX_LENGTH = 256

Rest = TypeVarTuple("Rest")
T = TypeVar("T")


def memoized(count: int) -> Callable[[Callable[[str, *Rest], T]], Callable[[str, *Rest], T]]:
    """Of functions whose first argument is such a text; the others must be hashable."""

    def decorate(function: Callable[[str, *Rest], T]) -> Callable[[str, *Rest], T]:
        known = cast("Callable[[str, *Rest], T]", lru_cache(count)(function))

        @wraps(function)
        def look_up(text: str, /, *rest: *Rest) -> T:
            return (known if len(text) <= MAX_LENGTH else function)(text, *rest)

        return look_up

    return decorate


class MemoDict(dict[str, T]):
    """As `remembered`, of functions of the text alone, for what runs for every copy: a look-up is a dictionary's. When there
    are too many, all are forgotten."""

    def __init__(self, function: Callable[[str], T], count: int = SOURCES) -> None:
        self._function = function
        self._count = count

    def __missing__(self, text: str) -> T:
        found = self._function(text)
        if len(text) <= MAX_LENGTH:
            if len(self) >= self._count:
                self.clear()
            self[text] = found
        return found
