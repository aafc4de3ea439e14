"""The edge's intake port as lists of the samples and positions that sources delivered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from wire.ids import Sample


@dataclass
class ListIntake:
    start: str | None = None
    samples: list[Sample] = field(default_factory=list)
    positions: list[str | None] = field(default_factory=list)
    from_another: str | None = None
    """How far another replica had got."""
    has_turn: bool = True

    def take(self, sample: Sample, position: str | None = None, *, initial: bool | None = None) -> None:
        self.samples.append(sample)
        self.positions.append(position)

    def when_kept(self, call: Callable[[], None]) -> None:
        call()

    async def room(self) -> None:
        return

    def position(self) -> str | None:
        return self.start

    def handed_over(self) -> str | None:
        return self.from_another

    def is_due(self) -> bool:
        return self.has_turn
