"""Routes of an IoT Edge runtime: what modules of a device send goes to its other modules, to the hub, or to both.

Source: https://learn.microsoft.com/azure/iot-edge/module-composition (declare routes)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sandbox.hub.namespace import Device

_NAME = r"[A-Za-z0-9._~%@\-]+"
_ROUTE = re.compile(
    rf"FROM\s+/(?:\*|messages/\*|messages/modules/(?:\*|(?P<module>{_NAME})/(?:\*|outputs/(?:\*|(?P<output>{_NAME})))))\s+"
    rf'INTO\s+(?:(?P<upstream>\$upstream)|BrokeredEndpoint\("/modules/(?P<to>{_NAME})/inputs/(?P<input>{_NAME})"\))',
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Route:
    """From a module (None: any) and its output (None: any) to another module's input, or to the hub."""

    module: str | None
    output: str | None
    into: tuple[str, str] | None
    """(module, input); None: the hub."""

    def takes(self, device: Device, output: str | None) -> bool:
        return self.module in (None, device.module_id) and self.output in (None, output)


def parse_route(text: str) -> Route:
    """Raises ValueError for anything but FROM a module's messages INTO $upstream or an input of a module."""
    match = _ROUTE.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is not a route such as FROM /messages/modules/publisher/* INTO "
            'BrokeredEndpoint("/modules/edge-sender/inputs/plant"), or INTO $upstream; conditions (WHERE) are not supported'
        )
    into = None if match["upstream"] else (match["to"], match["input"])
    return Route(match["module"], match["output"], into)


def targets(routes: Sequence[Route], device: Device, output: str | None) -> Iterator[tuple[str, str] | None]:
    """Where a message goes, each place once: (module, input), or None for the hub.

    What no route takes goes nowhere, as with edgeHub. Without routes all goes to the hub, and what a device sends itself
    does not pass an edgeHub here.
    """
    if not routes or device.module_id is None:
        yield None
        return
    yield from dict.fromkeys(route.into for route in routes if route.takes(device, output))
