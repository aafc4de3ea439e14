"""Sources that are made anew by each message: alike but for one segment, and each with a few readings of one replica.

A message id, a correlation id or a time of sending is in their names. Like core/segments.py it takes time linear in their
number.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from dedup_service.core.segments import masked

FEW_SOURCES = 20
"""Fewer of one replica say nothing: it may have a machine of its own."""


def made_anew(senders: Mapping[str, str]) -> list[list[str]]:
    """`senders`: sources with few readings that only one replica sends, with its name. Each source is in one of the results
    at most, and in that with the most others."""
    alike: defaultdict[int, list[str]] = defaultdict(list)
    for source in senders:
        for key, _ in masked(source):
            alike[key].append(source)
    found, explained = [], set[str]()
    for members in sorted(alike.values(), key=len, reverse=True):
        fresh = [source for source in members if source not in explained]
        by_replica = Counter(senders[source] for source in fresh)
        if sum(count >= FEW_SOURCES for count in by_replica.values()) > 1:
            found.append(fresh)
            explained.update(fresh)
    return found


def told(sources: list[str]) -> str:
    """What was seen, and what to do."""
    return (
        f"each of {len(sources):,} sources that differ in one segment only has a few readings of one replica, as if their "
        "names held what is new in each message, such as a message id or a time: leave that out of the source. If they are "
        "signals that each replica has for itself, they are not redundant"
    )
