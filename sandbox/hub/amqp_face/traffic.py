"""What clients of the AMQP face have cost, in counts: times depend on the machine, and these do not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sandbox.amqp import performatives as amqp

NAMES = {
    amqp.OPEN: "open",
    amqp.BEGIN: "begin",
    amqp.ATTACH: "attach",
    amqp.FLOW: "flow",
    amqp.TRANSFER: "transfer",
    amqp.DISPOSITION: "disposition",
    amqp.DETACH: "detach",
    amqp.END: "end",
    amqp.CLOSE: "close",
}
HEARTBEAT = "heartbeat"


@dataclass(slots=True)
class Traffic:
    connections: int = 0
    """How many were ever opened."""
    bytes_in: int = 0
    bytes_out: int = 0
    frames_in: Counter[str] = field(default_factory=Counter)
    """By performative."""
    questions: Counter[str] = field(default_factory=Counter)
    """To `$management`, by the hub that they are about."""

    @property
    def asked(self) -> int:
        return self.questions.total()

    def frame(self, code: int) -> None:
        self.frames_in[NAMES.get(code, "other")] += 1
