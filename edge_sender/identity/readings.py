"""Readings as the edge holds them, and their encoding as CloudEvents 1.0, singly or in batches.

Source: CloudEvents 1.0 (JSON event format and batch, AMQP binding); docs/wire-contract.md says which attributes are used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge_sender.identity.rules import IdentityRules, mint
from edge_sender.ports import Message
from wire.cloudevents import BATCH_CONTENT_TYPE, PROPERTY_PREFIX, SEQUENCE_DIGITS, SPEC_VERSION
from wire.ids import Count, Sample
from wire.times import rfc3339

SINGLE_CONTENT_TYPE = "application/json"
BEHIND = b"\n"
"""JSON as it is written here holds no line feed."""
_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""Made once: `json.dumps` makes an encoder for each value."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A reading with its id. It never changes again, however often it is sent."""

    head: bytes
    """The CloudEvents attributes, as a JSON object; behind a line feed, the properties of another sender's message, too."""
    data: bytes
    """The payload as JSON."""
    mark: bytes = field(default=b"", compare=False)
    """By which the reading is recognised as its source's last one; empty if that is not needed, or it was read from disk."""

    @property
    def properties(self) -> bytes:
        """Those with which another sender sent it, as a JSON object of texts; empty if there are none."""
        return self.head.partition(BEHIND)[2]

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes without `datacontenttype`, which is the message's content type when a reading is sent singly."""
        attributes: dict[str, str] = json.loads(self.head.partition(BEHIND)[0])
        del attributes["datacontenttype"]
        return attributes

    @property
    def encoded(self) -> bytes:
        """The whole event in JSON format, as it appears in a batch."""
        return b'%b,"data":%b}' % (self.head.partition(BEHIND)[0][:-1], self.data)

    @property
    def size(self) -> int:
        """Length of `encoded` in bytes."""
        return len(self.head) + len(self.data) + len(',"data":')


def make_reading(
    sample: Sample, rules: IdentityRules, event_type: str, *, count: Count | None = None, is_marked: bool = False
) -> Reading:
    """Mint the id and encode the sample, once. `count`: what it is counted by, if its payload does not say all of it.

    Raises NoIdentityError.
    """
    count = rules.members.count(sample.data) if count is None else count
    attributes = {
        "specversion": SPEC_VERSION,
        "type": event_type,
        "source": sample.source,
        "id": mint(sample, rules, count),
    }
    if sample.time_ns is not None:
        attributes["time"] = rfc3339(sample.time_ns)
    if count is not None:
        attributes["sequence"] = f"{count.number:0{SEQUENCE_DIGITS}d}"
        if count.epoch:
            attributes["sequenceepoch"] = count.epoch
    head = _dumps({**attributes, "datacontenttype": SINGLE_CONTENT_TYPE}).encode()
    mark = mark_of(sample.source, attributes["id"]) if is_marked else b""
    if sample.sent is None:
        return Reading(head, _dumps(sample.data).encode(), mark)
    behind = BEHIND + sample.sent.properties if sample.sent.properties else b""
    return Reading(head + behind, sample.sent.payload, mark)


def mark_of(source: str, reading_id: str) -> bytes:
    """8 bytes that stand for the source, and the 16 bytes of the id."""
    return hashlib.blake2b(source.encode(), digest_size=8).digest() + bytes.fromhex(reading_id)


def mark_from(head: bytes) -> bytes:
    """The mark of a reading from disk; empty, if it is not one of ours."""
    try:
        attributes = json.loads(head.partition(BEHIND)[0])
        return mark_of(attributes["source"], attributes["id"])
    except (ValueError, KeyError, TypeError):
        return b""


def single(reading: Reading) -> Message:
    """Binary mode: the attributes are application properties, and the payload is the body."""
    attributes = reading.attributes
    own = {PROPERTY_PREFIX + name: value for name, value in attributes.items()}
    properties = {**_texts(reading.properties), **own}
    return Message(reading.data, SINGLE_CONTENT_TYPE, properties, 1, attributes["id"])


def batch(readings: Sequence[Reading]) -> Message:
    """Of readings with the same properties."""
    body = b"[" + b",".join(reading.encoded for reading in readings) + b"]"
    return Message(body, BATCH_CONTENT_TYPE, _texts(readings[0].properties), len(readings))


def _texts(properties: bytes) -> dict[str, str]:
    texts: dict[str, str] = json.loads(properties) if properties else {}
    return texts
