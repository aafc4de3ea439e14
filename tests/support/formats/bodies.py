"""Bodies in which the text of each reading is known, because the auditor looks for these very bytes in the clean stream."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests.support.formats.plants import Reading

_PLACE = re.compile(r'"<reading (\d+)>"')
JSON = "application/json"
STYLES: dict[str, dict[str, Any]] = {
    "a": {"separators": (",", ":"), "ensure_ascii": False},
    "b": {},
    "c": {"indent": 1, "ensure_ascii": False},
}
"""How each gateway's software writes JSON."""


@dataclass(frozen=True)
class Sent:
    """A message of a gateway."""

    body: bytes
    """As it is sent."""
    readings: list[Reading] = field(default_factory=list)
    """Those in it, in the order of the body."""
    parts: list[str] = field(default_factory=list)
    """The text of each; of protobuf its bytes as Latin-1."""
    properties: dict[str, Any] = field(default_factory=dict)
    content_type: str | None = None


class Parts:
    """Writes one body of JSON."""

    def __init__(self, gateway: str) -> None:
        self._style = STYLES[gateway]
        self._floats = gateway == "b"
        self.readings: list[Reading] = []
        self._texts: list[str] = []

    def dumps(self, value: Any) -> str:
        return json.dumps(value, **self._style)

    def number(self, value: Any) -> Any:
        """Whole numbers have a point in the JSON of some encoders, and none in that of others."""
        return int(value) if isinstance(value, float) and value.is_integer() and not self._floats else value

    def reading(self, reading: Reading, value: Any) -> str:
        """A place for the reading in the body, at which `value` will be."""
        self.readings.append(reading)
        self._texts.append(self.dumps(value))
        return f"<reading {len(self._texts) - 1}>"

    def text(self, body: Any) -> str:
        order: list[int] = []

        def part(found: re.Match[str]) -> str:
            order.append(int(found[1]))
            return self._texts[int(found[1])]

        text = _PLACE.sub(part, self.dumps(body))
        self.readings = [self.readings[number] for number in order]
        self._texts = [self._texts[number] for number in order]
        return text

    def sent(
        self, body: Any, properties: dict[str, Any] | None = None, content_type: str | None = JSON, *, end: str = ""
    ) -> Sent:
        return self.sent_text(self.text(body) + end, properties, content_type)

    def sent_text(
        self, text: str, properties: dict[str, Any] | None = None, content_type: str | None = JSON, encoding: str = "utf-8"
    ) -> Sent:
        encoded = text.encode(encoding)
        coded = gzip.compress(encoded) if (content_type or "").endswith("gzip") else encoded
        return Sent(coded, self.readings, self._texts, properties or {}, content_type)
