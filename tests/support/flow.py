"""What was finished, over several minutes or groups."""

from __future__ import annotations

from collections.abc import Iterable

from dedup_service.core.flow import Slots, Sums


def merged(parts: Iterable[Slots]) -> dict[int, Sums]:
    result: dict[int, Sums] = {}
    for slots in parts:
        for at, sums in slots.items():
            result[at] = result.get(at, Sums()) + sums
    return result
