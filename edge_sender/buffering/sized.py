"""A deque that knows how much memory its items take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
OVERHEAD_BYTES = 200
"""What an item takes besides its contents, about."""


class SizedDeque(deque[T]):
    """`size_of` says how many bytes an item's contents have. Items come and go by the calls below only."""

    def __init__(self, size_of: Callable[[T], int]) -> None:
        super().__init__()
        self.bytes = 0
        self._size_of = size_of

    def cost(self, item: T) -> int:
        return self._size_of(item) + OVERHEAD_BYTES

    def append(self, item: T, /) -> None:
        super().append(item)
        self.bytes += self.cost(item)

    def extendleft(self, items: Iterable[T], /) -> None:
        for item in items:
            super().appendleft(item)
            self.bytes += self.cost(item)

    def pop(self) -> T:  # type: ignore[override]  # a deque has no positions to pop from
        item = super().pop()
        self.bytes -= self.cost(item)
        return item

    def popleft(self) -> T:
        item = super().popleft()
        self.bytes -= self.cost(item)
        return item

    def clear(self) -> None:
        super().clear()
        self.bytes = 0
