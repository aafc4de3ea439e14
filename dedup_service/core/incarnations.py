"""Which incarnation each input hub has, as this pod last saw it."""

from __future__ import annotations

from collections.abc import Iterable


class Incarnations:
    def __init__(self, inputs: Iterable[str]) -> None:
        self._by_input: dict[str, int | None] = dict.fromkeys(inputs)

    def saw(self, name: str, incarnation: int) -> None:
        self._by_input[name] = incarnation

    def live(self) -> tuple[int, ...]:
        """The incarnations of all inputs, or nothing while one is unknown: a claim that came through an input which this pod
        has not reached yet is not an orphan."""
        found = [incarnation for incarnation in self._by_input.values() if incarnation is not None]
        return tuple(found) if len(found) == len(self._by_input) else ()

    def input_of(self, incarnation: int) -> str | None:
        """None for a hub that this pod does not know, or that is gone."""
        return next((name for name, known in self._by_input.items() if known == incarnation), None)

    @property
    def has_several(self) -> bool:
        return len(self._by_input) > 1
