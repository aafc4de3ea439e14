"""Reads what `edge-sender try --json` printed on a gateway. Pure; whatever a file holds is refused by name and line."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from edge_sender.identity.comparison import hash_of
from edge_sender.identity.judging import Seen
from edge_sender.identity.rules import IdentityRules, parse_rules
from wire.ids import NS_PER_SECOND, Identity, NoIdentityError
from wire.times import parse_rfc3339

VERSION = 1
COUNTED = ("time", "sequence", "sequenceepoch", "type")
"""Attributes of an event by which copies may differ."""


class CompareError(Exception):
    """The files can't be compared; the message says which, and why."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A reading as one gateway had it."""

    id: str | None
    time_ns: int | None
    arrived_ns: int
    fields: dict[str, Any]
    """What may make a difference, by name: `time`, `data.value` and the like."""
    value: bytes
    """A hash of the payload."""

    def seen(self, at_ns: int) -> Seen:
        return Seen(at_ns / NS_PER_SECOND, self.time_ns, self.value, self.id)


@dataclass(slots=True)
class Output:
    """What one gateway printed."""

    name: str
    identities: dict[str, IdentityRules]
    """By the name of the entry."""
    copies: dict[str, list[Copy]] = field(default_factory=lambda: defaultdict(list))
    """By source."""
    entries: dict[str, str] = field(default_factory=dict)
    """Name of the entry by which a source came."""
    refusals: dict[str, str] = field(default_factory=dict)
    """Why readings of a source got no id."""

    def identity_of(self, source: str) -> Identity | None:
        """None if no rule matches, or the source is not in this output."""
        if (entry := self.entries.get(source)) is None:
            return None
        try:
            return self.identities[entry].of(source)
        except NoIdentityError:
            return None


def read_output(name: str, content: bytes) -> Output:
    """Raises CompareError."""
    lines = content.splitlines()
    output = Output(name, _identities(name, lines))
    for number, line in enumerate(lines[1:], 2):
        try:
            _take(output, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CompareError(f"{name} line {number}: is not what `edge-sender try --json` prints ({error!r})") from None
    return output


def _identities(name: str, lines: list[bytes]) -> dict[str, IdentityRules]:
    try:
        head = json.loads(lines[0])
        version = head["trial"]
        found = {entry: parse_rules(told["identity"]) for entry, told in head["sources"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise CompareError(f"{name}: is not what `edge-sender try --json` prints") from None
    if version != VERSION:
        raise CompareError(f"{name}: was printed by another version (trial {version}; this one reads {VERSION})")
    return found


def _take(output: Output, told: dict[str, Any]) -> None:
    if "summary" in told:
        return
    event, entry = told["event"], told["entry"]
    source, data, time = event["source"], event["data"], event.get("time")
    if not isinstance(source, str) or entry not in output.identities:
        raise ValueError("no source, or of no entry")
    output.entries[source] = entry
    if "dropped" in told:
        output.refusals.setdefault(source, str(told["dropped"]))
    reading_id = None if "dropped" in told else str(event["id"])
    time_ns = None if time is None else parse_rfc3339(time)
    fields = {name: event[name] for name in COUNTED if name in event} | _members(data)
    output.copies[source].append(Copy(reading_id, time_ns, _arrival(told["arrived"]), fields, hash_of(data)))


def _arrival(text: str) -> int:
    time_ns = parse_rfc3339(text)
    if time_ns is None:
        raise ValueError(f"{text!r} is no time")
    return time_ns


def _members(data: Any) -> dict[str, Any]:
    return {f"data.{name}": value for name, value in data.items()} if isinstance(data, dict) else {"data": data}
