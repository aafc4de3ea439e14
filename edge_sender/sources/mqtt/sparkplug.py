"""Sparkplug B as an MQTT source's payload: each metric of NDATA and DDATA is a sample. Pure.

Aliases are named by the last birth of their edge node or device. `seq` counts an edge node's messages from 0 to 255, and so
tells of messages that did not arrive.
Source: eclipse-sparkplug/sparkplug 3.0.0, chapters 5 (operational behavior) and 6 (payloads).
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator

from edge_sender.sources.misfits import Misfit
from wire.formats.messages import Found, Message, NotReading, Part, Refused
from wire.formats.protobuf import fields
from wire.formats.sparkplug import NAMESPACE, Sparkplug, SparkplugOptions
from wire.ids import Sample, Sent
from wire.uris import encoded, joined

TOPIC = SparkplugOptions().topic_property
SEQ, SEQ_VALUES = 3, 256
COUNTED = ("NBIRTH", "DBIRTH", "NDATA", "DDATA", "DDEATH")
"""Messages that have a `seq`; that of an edge node's birth is where it starts over."""
NOT_ITS_OWN = ("other-shape", "compressed")
UNKNOWN_ALIAS, GAP = "unknown-alias", "gap"
MOST_NODES = 10_000
"""Edge nodes whose counters are kept; above it those that were quiet longest are forgotten."""
REBIRTH_SECONDS = 60.0
"""An edge node is asked for its births no more often."""
REBIRTH, BOOLEAN = b"Node Control/Rebirth", 11

Command = tuple[str, bytes]
"""Topic and payload."""


class SparkplugFormat:
    reasons = ("no-reading", UNKNOWN_ALIAS, GAP)

    def __init__(self, topics: tuple[str, ...], uri_prefix: str, now: Callable[[], float], *, asks: bool) -> None:
        """`asks`: whether edge nodes are asked for a birth that is missing. `now`: seconds of a clock that never steps."""
        self.topics = topics
        self._uri_prefix = uri_prefix
        self._now = now
        self._asks = asks
        self._format = Sparkplug(SparkplugOptions())
        self._last_seq: OrderedDict[str, int] = OrderedDict()
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._due: list[Command] = []

    def samples(self, topic: str, payload: bytes) -> Iterator[Sample | Misfit]:
        parts = list(self._format.read(Message(payload, properties={TOPIC: topic})))
        yield from self._gaps(topic, payload)
        for part in parts:
            item = self._item(part)
            if isinstance(item, Misfit) and item.reason == UNKNOWN_ALIAS:
                self._ask(topic)
            yield item

    def commands(self) -> list[Command]:
        """What is to be published now."""
        due, self._due = self._due, []
        return due

    def _item(self, part: Part) -> Sample | Misfit:
        if isinstance(part, NotReading):
            return Misfit("unusable" if part.what in NOT_ITS_OWN else "no-reading", part.what)
        if isinstance(part, Refused):
            return Misfit(UNKNOWN_ALIAS if part.reason == "no-source" else "unusable", part.detail)
        try:
            return self._sample(part)
        except ValueError as error:
            return Misfit("unusable", str(error))

    def _sample(self, found: Found) -> Sample:
        payload = json.dumps({"value": found.value}, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        source = joined(self._uri_prefix, encoded(found.source))
        return Sample(source, found.time_ns, found.data, Sent(found.value, payload.encode(), b"", is_event=False))

    def _gaps(self, topic: str, payload: bytes) -> Iterator[Misfit]:
        """One for each message of the edge node that is missing before this one."""
        node, kind = _node_of(topic)
        if kind not in COUNTED or (seq := _seq_of(payload)) is None:
            return
        last = self._last_seq.pop(node, None)
        self._last_seq[node] = seq
        if len(self._last_seq) > MOST_NODES:
            self._last_seq.popitem(last=False)
        if last is None or kind == "NBIRTH" or seq == last:  # the same again: the broker repeats a message
            return
        if missing := (seq - last - 1) % SEQ_VALUES:
            self._ask(topic)  # a birth may be among them
            detail = f"{missing} messages of {node} did not arrive before its seq {seq}"
            yield from (Misfit(GAP, detail) for _ in range(missing))

    def _ask(self, topic: str) -> None:
        node, _ = _node_of(topic)
        now = self._now()
        if not self._asks or now - self._asked.get(node, -REBIRTH_SECONDS) < REBIRTH_SECONDS:
            return
        self._asked[node] = now
        self._asked.move_to_end(node)
        if len(self._asked) > MOST_NODES:
            self._asked.popitem(last=False)
        group, _, name = node.partition("/")
        self._due.append((f"{NAMESPACE}/{group}/NCMD/{name}", rebirth()))


def rebirth() -> bytes:
    """The payload that asks an edge node for its births."""
    metric = b"\x0a%c%b\x20%c\x70\x01" % (len(REBIRTH), REBIRTH, BOOLEAN)  # name, datatype, boolean_value
    return b"\x12%c%b" % (len(metric), metric)


def _node_of(topic: str) -> tuple[str, str]:
    """(`group/node`, message type), empty for other topics."""
    levels = topic.split("/")
    return (f"{levels[1]}/{levels[3]}", levels[2]) if len(levels) in (4, 5) and levels[0] == NAMESPACE else ("", "")


def _seq_of(payload: bytes) -> int | None:
    try:
        found = [field.value for field in fields(payload) if field.number == SEQ]
    except ValueError:
        return None
    return found[-1] % SEQ_VALUES if found and isinstance(found[-1], int) else None
