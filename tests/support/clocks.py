"""A gateway's clocks, which a test moves."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge_sender.ports import Clocks

START = 1_700_000_000.0


@dataclass
class GatewayClocks:
    """`error` is by how much the wall clock is wrong."""

    true: float = START
    error: float = 0.0
    booted: float = START - 1000.0
    boots: int = 1
    is_synchronised: bool = True
    clocks: Clocks = field(init=False)
    """Those of the boot that runs; they are others after a boot, as they are in another process."""

    def __post_init__(self) -> None:
        self.boot(0.0)

    def elapse(self, seconds: float) -> None:
        self.true += seconds

    def boot(self, seconds_off: float) -> None:
        """The gateway is off for some time, and boots."""
        self.true += seconds_off
        self.booted = self.true if seconds_off else self.booted
        self.boots += 1
        self.clocks = Clocks(
            lambda: self.true, self.wall, lambda: self.true - self.booted, f"boot-{self.boots}", lambda: self.is_synchronised
        )

    def wall(self) -> float:
        return self.true + self.error
