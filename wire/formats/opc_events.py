"""Events and condition snapshots of OPC UA servers, as OPC Publisher writes them into JSON. Pure.

An event's id is made by the server, once for all subscribers, and its time is not changed on the way (OPC 10000-5 6.4.2).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from wire.formats.messages import Found, Part, Path
from wire.formats.opc_values import FaultError, Names, canonical, not_reading, plain, refused, source_name, source_time
from wire.times import rfc3339

_NOT_COMPARED = {"EndpointUrl", "ApplicationUri", "Time", "ReceiveTime"}
_DATA_VALUE = {
    "Value",
    "StatusCode",
    "Status",
    "SourceTimestamp",
    "SourcePicoseconds",
    "ServerTimestamp",
    "ServerPicoseconds",
}
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def event(place: Path, names: Names, payload: Mapping[str, Any]) -> Part:
    """The event whose fields these are. `data` is its identity, `EventId` and `Time`, for the strategy `content`.

    A condition snapshot is no repetition by itself: with condition handling, the first copy is a snapshot, too.
    """
    fields = {name: event_field(field) for name, field in payload.items()}
    event_id = fields.get("EventId")
    if not isinstance(event_id, str) or not event_id:
        return refused(place, "no-event-id", "the event has no EventId; select EventId and Time in the event filter")
    # The server's ids are byte strings. Those of the events that a publisher makes itself, when the server's model
    # changes, are GUIDs, new ones at each gateway.
    if _GUID.fullmatch(event_id):
        return not_reading(place, "model-change")
    try:
        source = source_name(*names)
        time_ns = source_time(fields.get("Time"))
        agreed = {name: canonical(value) for name, value in fields.items() if name not in _NOT_COMPARED}
    except FaultError as fault:
        return refused(place, fault.reason, fault.detail)
    if time_ns is None:
        return refused(place, "without-time", "the event has no Time; select EventId and Time in the event filter")
    return Found(place, source, agreed, time_ns, {"EventId": event_id, "Time": rfc3339(time_ns)}, is_event=True)


def event_field(field: Any) -> Any:
    """Version 2.9 writes fields of events as data values, version 2.8 as they are."""
    if isinstance(field, dict) and "Value" in field and field.keys() <= _DATA_VALUE:
        field = field["Value"]
    return plain(field)
