"""Where a file has been read to, in a way that still finds the place when the file was renamed, copied or replaced.

A file is known by its bytes: the first ones, and those before the place. A copy of it (copytruncate) has the same; a file
that was emptied, or another one with the same inode, has not.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Collection, Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

FINGERPRINT_BYTES = 256
_ROTATED = re.compile(r"[.\-_][0-9][0-9.\-_:T]*").fullmatch


class Place(NamedTuple):
    """How far a file has been read, and by what to know it."""

    inode: int
    offset: int
    line: int
    """Number of lines before the offset."""
    mtime_ns: int
    """When it was last written to, as of then."""
    fingerprint: str


class Found(NamedTuple):
    path: Path
    inode: int
    size: int
    mtime_ns: int


def fingerprint(head: bytes, before: bytes) -> str:
    """Of the first bytes of a file and of those before a place; both at most `FINGERPRINT_BYTES`."""
    return hashlib.sha256(head + before).hexdigest()[:16]


def encode(places: Iterable[Place]) -> str:
    return ";".join(":".join(map(str, place)) for place in places)


def decode(text: str | None) -> list[Place]:
    """The oldest file first. Empty for what another version wrote."""
    try:
        parts = [part.split(":") for part in (text or "").split(";") if part]
        return [Place(int(i), int(o), int(n), int(m), f) for i, o, n, m, f in parts]
    except ValueError:
        return []


def find(path: Path) -> Found | None:
    """None if there is no file. Raises OSError."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError(None, "it is not a regular file")
    return Found(path, status.st_ino, status.st_size, status.st_mtime_ns)


def siblings(path: Path, pattern: str | None) -> list[Found]:
    """What may be earlier parts of this file, in its folder: those of the pattern, or those with its name and a number or
    a date behind it. Oldest first."""
    found = []
    for name in os.listdir(path.parent):
        if name == path.name or not _is_rotated(name, path.name, pattern):
            continue
        try:
            item = find(path.parent / name)
        except OSError:  # no regular file, or not to be read
            continue
        if item is not None:
            found.append(item)
    return sorted(found, key=lambda item: (item.mtime_ns, -_number(item.path.name)))


def _is_rotated(name: str, own: str, pattern: str | None) -> bool:
    if pattern is not None:
        return fnmatch(name, pattern)
    return name.startswith(own) and _ROTATED(name[len(own) :]) is not None


def _number(name: str) -> int:
    """Of `a.csv.2`; the higher, the older."""
    digits = re.search(r"([0-9]+)$", name)
    return int(digits[1]) if digits else 0


def is_at(place: Place, item: Found) -> bool:
    """Whether this file has the bytes that were read. Raises OSError."""
    if item.size < place.offset:
        return False
    with item.path.open("rb") as file:
        head = file.read(min(FINGERPRINT_BYTES, place.offset))
        file.seek(max(0, place.offset - FINGERPRINT_BYTES))
        before = file.read(min(FINGERPRINT_BYTES, place.offset))
    return fingerprint(head, before) == place.fingerprint


def locate(place: Place, candidates: Collection[Found]) -> Found | None:
    """The file of this place, that with its inode first; None if there is none any more."""
    for item in sorted(candidates, key=lambda item: item.inode != place.inode):
        if not place.offset and item.inode != place.inode:
            continue  # nothing was read of it that it could be known by
        try:
            if is_at(place, item):
                return item
        except OSError:  # it was removed meanwhile, or is not to be read
            continue
    return None


def is_found(position: str, path: Path, pattern: str | None) -> bool:
    """Whether all that was read up to this position is here. Raises OSError."""
    current = find(path)
    candidates = [*([] if current is None else [current]), *siblings(path, pattern)]
    places = [place for place in decode(position) if place.offset]
    return bool(places) and all(locate(place, candidates) is not None for place in places)
