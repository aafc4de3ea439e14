"""`telegraf`: the JSON serialiser, single or batch. A reading is a metric, whose fields share one time.

Source: influxdata/telegraf, plugins/serializers/json.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from wire.formats.bodies import BadTimeError, json_of, time_of
from wire.formats.messages import Found, Message, NotReading, Part, Path, Refused
from wire.times import TimeFormat

HOST = "host"
"""The agent's own name, unlike on every gateway."""
_ESCAPES = str.maketrans({"\\": "\\\\", ",": "\\,", "=": "\\="})


_LIMITS: tuple[tuple[TimeFormat, int], ...] = (("s", 10**11), ("ms", 10**14), ("us", 10**17))


class TelegrafOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    timestamp_units: TimeFormat | None = None
    """As `json_timestamp_units`, which is 1 s by default: two values of a second have one time then. None: told by the size
    of the number, which is unmistakable for times after 1973."""
    ignored_tags: list[str] = []
    """Further tags that differ between gateways, such as `source` where it is an address."""


def _units_of(timestamp: Any) -> TimeFormat:
    if not isinstance(timestamp, int):
        return "s" if isinstance(timestamp, float) else "rfc3339"
    return next((units for units, limit in _LIMITS if abs(timestamp) < limit), "ns")


class Telegraf:
    name = "telegraf"

    def __init__(self, options: TelegrafOptions) -> None:
        self._units = options.timestamp_units
        self._ignored = {HOST, *options.ignored_tags}

    def read(self, message: Message) -> Iterator[Part]:
        root = json_of(message.body)
        if isinstance(root, Refused):
            yield root
            return
        metrics = root.get("metrics") if isinstance(root, dict) else None
        if metrics == []:
            yield NotReading((), "empty")
        elif isinstance(metrics, list):
            yield from (self._metric(("metrics", index), metric) for index, metric in enumerate(metrics))
        elif isinstance(root, dict) and "fields" in root:
            yield self._metric((), root)
        else:
            yield NotReading((), "other-shape")

    def _metric(self, place: Path, metric: Any) -> Part:
        members = metric if isinstance(metric, dict) else {}
        name, tags, fields = members.get("name"), members.get("tags", {}), members.get("fields")
        if not isinstance(name, str) or not isinstance(tags, dict):
            return Refused(place, "no-source", "the metric has no name, or its tags are no object")
        if not isinstance(fields, dict) or not fields:
            return Refused(place, "no-value", f"{name} has no fields")
        try:
            timestamp = members.get("timestamp")
            time_ns = time_of(timestamp, self._units or _units_of(timestamp))
        except BadTimeError as error:
            return Refused(place, "unreadable-time", f"{error}; timestamp_units must be those of json_timestamp_units")
        return Found(place, self._source(name, tags), fields, time_ns, [members.get("timestamp"), fields])

    def _source(self, name: str, tags: dict[str, Any]) -> str:
        """As the line protocol writes it: `name,tag=value`, in the order of the tags' names."""
        kept = [(tag, str(value)) for tag, value in sorted(tags.items()) if tag not in self._ignored]
        return ",".join([name.translate(_ESCAPES), *(f"{t.translate(_ESCAPES)}={v.translate(_ESCAPES)}" for t, v in kept)])
