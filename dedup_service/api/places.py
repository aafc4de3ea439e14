"""Where a page ends, as `next` says it and `after` takes it. Names stand last, since they may hold anything."""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol
from urllib.parse import quote, unquote

from dedup_service.observability.fleet import next_name

DIGITS = re.compile("[0-9]{1,16}")


class GapPlace(NamedTuple):
    group: str = ""
    source: str = ""
    epoch: str = ""
    first: int = -1


class SourceLike(Protocol):
    @property
    def source(self) -> str: ...


class GapLike(Protocol):
    group: str
    source: str
    epoch: str
    first: int


def of_source(group: str, seen: SourceLike) -> str:
    return f"{group} {seen.source}"


def source_after(after: str | None) -> tuple[str, str]:
    """The group and the source from which the next page starts."""
    group, _, source = (after or "").partition(" ")
    return group, next_name(source) if after else ""


def of_gap(gap: GapLike) -> str:
    return f"{gap.group} {gap.first} {quote(gap.epoch, safe='')} {gap.source}"


def gap_after(after: str | None) -> GapPlace:
    """The last gap of the page before. Any text is a place, as in any list that is in order."""
    group, first, epoch, source = [*(after or "").split(" ", 3), "", "", ""][:4]
    return GapPlace(group, source, unquote(epoch), int(first) if DIGITS.fullmatch(first) else -1)
