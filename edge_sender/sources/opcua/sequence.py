"""Which notification messages of a subscription are missing, by their sequence numbers. Pure. (OPC 10000-4, 7.8)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

LAST = 2**32 - 1
"""Behind it comes 1."""
MOST_REQUESTED = 1000
"""Missing messages that are asked for. A server that numbers wildly must not keep us busy."""


@dataclass(frozen=True, slots=True)
class Gap:
    first: int
    size: int

    def numbers(self) -> Sequence[int]:
        """The numbers to ask for."""
        numbers, number = [], self.first
        for _ in islice(range(self.size), MOST_REQUESTED):
            numbers.append(number)
            number = after(number)
        return numbers


@dataclass(slots=True)
class Numbers:
    """Of one subscription."""

    next: int = 1

    def gap_before(self, number: int) -> Gap | None:
        """What is missing before the message `number`, or a keep-alive that names it as the next one."""
        size = (number - self.next) % LAST
        return Gap(self.next, size) if 0 < size < LAST // 2 else None

    def received(self, number: int) -> None:
        self.next = after(number)


def after(number: int) -> int:
    return 1 if number >= LAST else number + 1
