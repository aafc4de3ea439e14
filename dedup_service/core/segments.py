"""Sources that differ in one segment only, each from another replica: a gateway's name is in them.

Sources are compared by what is left of them without one segment, never pair by pair, so that the time is linear in their
number.
"""

from __future__ import annotations

import glob
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

SEPARATORS = re.compile(r"([/#,;=:.])")
MAX_SEGMENTS = 64
"""Sources with more are left out."""
MAX_RULES = 10
"""How many are named, those of most sources first."""
SEVERAL = ""
"""In place of a replica's name."""

Values = tuple[tuple[str, str], ...]
"""(replica, its value of the segment), in order."""


@dataclass(slots=True)
class OneSegment:
    """What would make sources of several replicas equal."""

    values: Values
    sources: list[str] = field(default_factory=list)

    @property
    def rename(self) -> str:
        """The option `rename` that does it, as JSON."""
        values = [value for _, value in self.values]
        start, end = _common_start(values), _common_start([value[::-1] for value in values])[::-1]
        if name := start.rstrip("-_ "):
            return json.dumps({f"{glob.escape(start)}*": name}, ensure_ascii=False)
        if name := end.lstrip("-_ "):
            return json.dumps({f"*{glob.escape(end)}": name}, ensure_ascii=False)
        return json.dumps({glob.escape(value): "NAME" for value in values}, ensure_ascii=False)

    @property
    def text(self) -> str:
        told = ", ".join(f"{value!r} from {replica}" for replica, value in self.values)
        return (
            f"only one replica sends each, and they differ in one segment only: {told}. If it names the gateway, leave it "
            f"out of the source: option `rename: {self.rename}` of ignition, sparkplug and azure-iot-operations, "
            "`ignored_tags` of telegraf, another pointer of json, or the sender's own configuration"
        )


def _common_start(values: list[str]) -> str:
    first, last = min(values), max(values)
    length = next((n for n, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), len(first))
    return first[:length]


def differing_in_one_segment(senders: Mapping[str, str]) -> list[OneSegment]:
    """`senders`: sources that only one replica sends, with its name. Each source is in one of the results at most."""
    seen: dict[int, str] = {}
    for source, replica in senders.items():
        for key, _ in masked(source):
            if seen.setdefault(key, replica) != replica:
                seen[key] = SEVERAL
    alike: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
    for source in senders:
        for key, value in masked(source):
            if seen[key] == SEVERAL:
                alike[key].append((source, value))
    return _largest(_rules(senders, alike.values()))


def masked(source: str) -> Iterator[tuple[int, str]]:
    """For each segment, a hash of all that is beside it, and the segment; nothing of a source with very many."""
    parts = SEPARATORS.split(source)
    if len(parts) > 2 * MAX_SEGMENTS:
        return
    after = [0]
    for part in reversed(parts):
        after.append(hash((after[-1], part)))
    before = 0
    for place, part in enumerate(parts):
        if place % 2 == 0 and part:
            yield hash((before, after[len(parts) - place - 1])), part
        before = hash((before, part))


def _rules(senders: Mapping[str, str], alike: Iterable[list[tuple[str, str]]]) -> dict[Values, list[str]]:
    """Sources by the values that their replicas have in that segment. Where a replica has several, they are no gateways'
    names."""
    found: defaultdict[Values, list[str]] = defaultdict(list)
    for members in alike:
        values = sorted({(senders[source], value) for source, value in members})
        if len({replica for replica, _ in values}) == len(values) == len({value for _, value in values}):
            found[tuple(values)] += [source for source, _ in members]
    return found


def _largest(rules: dict[Values, list[str]]) -> list[OneSegment]:
    """Each source with the rule that explains most. What some of the gateways lack counts with the rule of all of them."""
    found: list[OneSegment] = []
    by_value: dict[tuple[str, str], OneSegment] = {}
    explained: set[str] = set()
    for values, sources in sorted(rules.items(), key=lambda rule: (-len(rule[0]), -len(rule[1]), rule[0])):
        fresh = [source for source in sources if source not in explained]
        rule = by_value.get(values[0])
        if rule is None or not set(values) <= set(rule.values):
            rule = OneSegment(values)
            found.append(rule)
            by_value |= {value: rule for value in values if value not in by_value}
        rule.sources += fresh
        explained.update(fresh)
    return sorted((rule for rule in found if len(rule.sources) > 1), key=lambda rule: -len(rule.sources))[:MAX_RULES]
