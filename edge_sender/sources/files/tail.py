"""A file over its rotations: every part of it from a place on, the older ones first. Knows nothing of asyncio.

A part that was renamed is read on, since its writer may still hold it open. One that was emptied has been copied before
(copytruncate), and is read on in the copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from edge_sender.sources.files.format import FileFormat, MisfitError
from edge_sender.sources.files.part import Line, Part
from edge_sender.sources.files.places import Found, Place, decode, encode, find, locate, siblings

MOST_PARTS = 5
"""The part at the path, and earlier ones that may still be written to; more only while they are not at rest."""
REST_SECONDS = 60.0
"""The unfinished last line of a part that was rotated away is taken as it is when nothing was added for so long."""


class Taken(NamedTuple):
    path: Path
    line: Line
    position: str
    """Behind that line."""


class Tail:
    """`rotated`: the pattern of earlier parts' names; None for the usual ones. `now`: a clock in seconds. `tell`: takes what
    an operator should know."""

    def __init__(
        self,
        path: Path,
        rotated: str | None,
        form: FileFormat,
        position: str | None,
        now: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        self._path = path
        self._rotated = rotated
        self._form = form
        self._now = now
        self._tell = tell
        self._parts: list[Part] = []
        """The oldest first."""
        self._current: Found | None = None
        """What the path names."""
        self._wanted = decode(position)
        """Places that are still to be found."""
        self._quiet: dict[int, tuple[int, float]] = {}
        """When each part was last written to, and since when that is known; by inode."""

    def close(self) -> None:
        for part in self._parts:
            part.close()
        self._parts.clear()

    def look(self) -> bool:
        """Find the parts that there are now. Returns whether the path names a file. Raises OSError, which loses no part."""
        places = self._wanted or [part.place for part in self._parts]
        try:
            return self._look()
        except OSError:
            self.close()
            self._wanted = places
            raise

    def _look(self) -> bool:
        before, self._current = self._current, find(self._path)
        if self._wanted:
            self._resume(self._wanted)
            self._wanted, before = [], None
        for part in [part for part in self._parts if part.is_replaced]:
            self._replace(part)
        if self._parts and self._current != before:
            self._open_newer(self._parts[-1].place)
        if self._current is not None and self._current.inode not in self._inodes():
            self._open(self._current)
        return self._current is not None

    def lines(self, *, is_over: bool = False) -> Iterator[Taken]:
        """What was added to all parts. `is_over`: nothing more will be.

        Raises OSError, ReplacedError after which a look is needed, and MisfitError when the parts that fit have been read.
        """
        misfit: MisfitError | None = None
        for number, part in enumerate(list(self._parts), start=1 - len(self._parts)):
            is_at_rest = self._is_at_rest(part)
            is_done = is_at_rest and (number <= -MOST_PARTS or part.is_removed)
            try:
                yield from self._lines_of(part, is_over=is_over or is_at_rest)
            except MisfitError as error:
                misfit = misfit or error
                if is_done or part.is_removed:
                    self._tell(f"given up, since another file has taken its place: {error}")
                    self._let_go(part)
                continue
            if is_done:
                self._let_go(part)
        if misfit is not None:
            raise misfit

    def _lines_of(self, part: Part, *, is_over: bool) -> Iterator[Taken]:
        at = self._parts.index(part)
        older, newer = [item.place for item in self._parts[:at]], [item.place for item in self._parts[at + 1 :]]
        for line in part.lines(is_over=is_over):
            yield Taken(part.path, line, encode([*older, part.place, *newer]))
        written = part.place.mtime_ns
        if self._quiet.get(part.inode, (None,))[0] != written:
            self._quiet[part.inode] = written, self._now()

    def _is_at_rest(self, part: Part) -> bool:
        """Whether nothing was added for long to a part that was rotated away."""
        is_rotated = self._current is None or part.inode != self._current.inode
        since = self._quiet[part.inode][1] if part.inode in self._quiet else self._now()
        return is_rotated and self._now() - since >= REST_SECONDS

    def _let_go(self, part: Part) -> None:
        self._parts.remove(part)
        self._quiet.pop(part.inode, None)
        part.close()

    def _inodes(self) -> set[int]:
        return {part.inode for part in self._parts}

    def _open(self, found: Found, place: Place | None = None) -> None:
        self._parts.append(Part(found, self._form, place))

    def _open_newer(self, place: Place) -> None:
        """Earlier parts that were written to after this place was noted, and that are no copies of what is being read. They
        come before the part at the path."""
        found = [item for item in self._others() if item.mtime_ns >= place.mtime_ns]
        found = [item for item in found if not any(part.is_copied_in(item) for part in self._parts)]
        is_current = bool(self._parts) and self._current is not None and self._parts[-1].inode == self._current.inode
        at = len(self._parts) - is_current
        self._parts[at:at] = [Part(item, self._form) for item in found]

    def _others(self) -> list[Found]:
        """Earlier parts that are not being read."""
        known = self._inodes()
        return [item for item in siblings(self._path, self._rotated) if item.inode not in known]

    def _resume(self, places: list[Place]) -> None:
        for place in places:
            at_path = [self._current] if self._current and self._current.inode not in self._inodes() else []
            self._open_at(place, [*at_path, *self._others()])
        self._open_newer(places[-1])

    def _open_at(self, place: Place, candidates: list[Found]) -> None:
        found = locate(place, candidates)
        if found is not None:
            self._open(found, place)
        elif place.offset:
            self._tell(
                f"the part of {self._path} that was read up to line {place.line} is not found any more, under this name or "
                "that of an earlier part; what stood behind that line, if anything, was not read"
            )

    def _replace(self, part: Part) -> None:
        """The part's file has other bytes now: go on in the copy of the former ones. The file itself is then found as a new
        part, by the path."""
        at, place = self._parts.index(part), part.place
        later, self._parts = self._parts[at + 1 :], self._parts[:at]
        known = {item.inode for item in later} | {part.inode}
        part.close()
        self._quiet.pop(part.inode, None)
        if place.offset:
            self._open_at(place, [item for item in self._others() if item.inode not in known])
        self._parts += later
        self._open_newer(place)
