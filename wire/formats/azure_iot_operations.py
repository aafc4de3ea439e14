"""`azure-iot-operations`: the connector for OPC UA. A body is a data set, whose members are the data points that changed.

The attributes of its CloudEvents are application properties, with the prefix `ce_` or `ce-` or none, by the data flow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from wire.formats.bodies import BadTimeError, json_of, time_of
from wire.formats.messages import Found, Message, NotReading, Part, Refused
from wire.formats.names import named, renamed, source_of
from wire.formats.opc_values import FaultError, status_code

EVENT, FRAMES = "ua-event", ("ua-keyframe", "ua-deltaframe")
DATA_VALUE = {"Value", "SourceTimestamp", "StatusCode"}


class AzureIotOperationsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rename: dict[str, str] = {}
    """Assets by `subject`, which is a GUID of each cluster where they were made in the web UI: `{"cccccccc-*": "oven"}`.
    `{"*": ""}` leaves the asset out, where no two assets of a server have a data point of the same name."""
    accept_events_without_time: bool = True
    """An event filter may drop the time. Two such events with equal fields are taken for copies then."""


class AzureIotOperations:
    name = "azure-iot-operations"

    def __init__(self, options: AzureIotOperationsOptions) -> None:
        self._options = options

    def read(self, message: Message) -> Iterator[Part]:
        kind, server = _attribute(message, "type"), _attribute(message, "source")
        root = json_of(message.body)
        if isinstance(root, Refused):
            yield root
            return
        if not isinstance(root, dict) or (kind not in (EVENT, *FRAMES) and not any(map(_is_data_value, root.values()))):
            yield NotReading((), "other-shape")
        elif not root:
            yield NotReading((), "empty")
        elif not server:
            yield Refused((), "no-source", "no property source: the data flow must copy the user properties")
        elif kind == EVENT:
            yield self._event(source_of(server, self._asset(message)), root)
        else:
            yield from (self._value(server, self._asset(message), name, value) for name, value in root.items())

    def _asset(self, message: Message) -> str:
        return renamed(_attribute(message, "subject") or "", self._options.rename)

    def _event(self, source: str, fields: dict[str, Any]) -> Part:
        try:
            time_ns = time_of(fields.get("Time"), "rfc3339")
        except BadTimeError as error:
            return Refused((), "unreadable-time", str(error))
        if time_ns is None and not self._options.accept_events_without_time:
            return Refused((), "no-identity", "the event has no Time")
        return Found((), source, fields, time_ns, fields, is_event=True)

    def _value(self, server: str, asset: str, name: str, value: Any) -> Part:
        if not _is_data_value(value):
            return NotReading((name,), "no-data-value")
        try:
            time_ns = time_of(value.get("SourceTimestamp"), "rfc3339")
            status = status_code(value)
        except BadTimeError as error:
            return Refused((name,), "unreadable-time", str(error))
        except FaultError as fault:
            return Refused((name,), fault.reason, fault.detail)
        compared = {"value": value.get("Value"), "status": status}
        return Found((name,), source_of(server, asset, name), compared, time_ns, value)


def _attribute(message: Message, name: str) -> str | None:
    return named(message.properties, name, f"ce_{name}", f"ce-{name}")


def _is_data_value(value: Any) -> bool:
    return isinstance(value, dict) and not DATA_VALUE.isdisjoint(value)
