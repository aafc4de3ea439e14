"""What the spool's parts say to each other: limits, places, ranges of rows, what was dropped, and errors."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

WhenFull = Literal["drop-oldest", "drop-newest"]
ROW_OVERHEAD_BYTES = 64
"""What a reading takes up in the file in addition to its bytes."""


class SpoolError(Exception):
    """The disk failed. Nothing was changed, and the call may be repeated."""


class SpoolFullError(SpoolError):
    """The disk has no room. What removes readings may still succeed."""


class DamagedSpoolError(SpoolError):
    """The file, or a page of it, is not a spool's. Repeating the call does not help; `salvage` does."""


class WrongFormError(sqlite3.DatabaseError):
    """What stands in the file is damaged, though SQLite can read it."""


class SpoolUnusableError(Exception):
    """The spool can't be opened, and waiting does not help; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    max_bytes: int
    """Total size of the readings, each with `ROW_OVERHEAD_BYTES`."""
    max_age_seconds: float
    when_full: WhenFull


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows, from `first` to `last`."""

    first: int
    last: int
    is_given_up: bool = False
    """Whether the hub will never have them."""


@dataclass(frozen=True, slots=True)
class Place:
    """The row of a reading in the spool, and when it was spooled: the number of the boot, and seconds since that."""

    row: int
    boot: int
    at: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """Numbers of readings that a commit dropped."""

    by_size: int = 0
    by_age: int = 0
    marks: tuple[bytes, ...] = ()
    """Of those among them that have one, and of those that were given up before."""
    is_more: bool = False
    """Whether further commits have more to drop: each takes a bounded number, which bounds its memory and its log."""


def appended(ranges: list[Rows], rows: Rows) -> None:
    """Append `rows`, to the last range where it continues that. While a disk fails for hours, this bounds the list."""
    if ranges and ranges[-1].last + 1 == rows.first and ranges[-1].is_given_up == rows.is_given_up:
        ranges[-1] = replace(ranges[-1], last=rows.last)
    else:
        ranges.append(rows)


def parted(ranges: Iterable[Rows], most: int) -> tuple[list[Rows], list[Rows]]:
    """The first ranges with `most` rows altogether, and what is left; a range may be cut."""
    now: list[Rows] = []
    later: list[Rows] = []
    for rows in ranges:
        count = rows.last - rows.first + 1
        if count <= most:
            now.append(rows)
        elif most:
            cut = rows.first + most - 1
            now.append(replace(rows, last=cut))
            later.append(replace(rows, first=cut + 1))
        else:
            later.append(rows)
        most = max(0, most - count)
    return now, later
