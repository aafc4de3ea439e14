"""Device and module twins: desired and reported properties with versions, as IoT Hub keeps them.

Source: https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-device-twins
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from typing import Any

Properties = dict[str, Any]


MAX_SECTION_BYTES = 32 * 1024
"""IoT Hub's limit for the desired, and for the reported properties of a twin."""


class TwinError(Exception):
    """A change that IoT Hub refuses; nothing of it is kept."""


@dataclass(slots=True)
class Section:
    """One of a twin's two halves. `$version` increases with each patch."""

    properties: Properties = field(default_factory=dict)
    version: int = 1

    def patch(self, changes: Properties) -> None:
        """A member that is null is removed; objects are merged member by member. Raises TwinError."""
        patched = copy.deepcopy(self.properties)
        _merge(patched, {name: value for name, value in changes.items() if not name.startswith("$")})
        if (size := len(json.dumps(patched, separators=(",", ":")).encode())) > MAX_SECTION_BYTES:
            raise TwinError(f"the properties would have {size} bytes; at most {MAX_SECTION_BYTES} are allowed")
        self.properties = patched
        self.version += 1

    def shown(self) -> Properties:
        return {**self.properties, "$version": self.version}


@dataclass(slots=True)
class Twin:
    desired: Section = field(default_factory=Section)
    reported: Section = field(default_factory=Section)

    def shown(self) -> Properties:
        return {"desired": self.desired.shown(), "reported": self.reported.shown()}


def _merge(into: Properties, changes: Properties) -> None:
    for name, value in changes.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value
