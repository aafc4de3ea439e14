"""The messages that wait for a module's inputs: edgeHub keeps each until the module has acknowledged it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, quote, urlencode

from sandbox.hub.mqtt_face.packets import Publish
from sandbox.hub.namespace import Device

MAX_UNACKNOWLEDGED = 100
"""Sent at a time. edgeHub has a limit, too; it bounds what comes again when a module dies."""
OUTPUT = "$.on"
_OF_THE_SENDER = {"$.cdid", "$.cmid"}
"""What the sender is, which edgeHub alone says."""


@dataclass
class WaitingInputs:
    _later: deque[Publish] = field(default_factory=deque)
    _sent: dict[int, Publish] = field(default_factory=dict)
    """By number, and not acknowledged."""

    def put(self, message: Publish) -> None:
        self._later.append(message)

    def due(self, numbers: Iterator[int]) -> Iterator[Publish]:
        """What may be sent now, with numbers of their own."""
        while self._later and len(self._sent) < MAX_UNACKNOWLEDGED:
            message = replace(self._later.popleft(), packet_id=next(numbers))
            self._sent[message.packet_id] = message
            yield message

    def connected(self) -> None:
        """What was sent on a former connection and not acknowledged is sent again, before all else."""
        self._later.extendleft(reversed(self._sent.values()))
        self._sent.clear()

    def acknowledged(self, number: int) -> bool:
        """Whether it was a number of these."""
        return self._sent.pop(number, None) is not None


def as_input(bag: str, body: bytes, sender: Device, receiver: str, name: str) -> Publish:
    """The message as the module with this resource path gets it on an input, with the sender's properties."""
    properties = [(key, value) for key, value in parse_qsl(bag, keep_blank_values=True) if key not in _OF_THE_SENDER]
    properties += [("$.cdid", sender.device_id), ("$.cmid", sender.module_id or "")]
    encoded = urlencode(properties, quote_via=quote, safe="")
    return Publish(f"{receiver}/inputs/{name}/{encoded}", body, qos=1)
