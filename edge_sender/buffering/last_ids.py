"""The last id of each variable that was kept for the hub, so that a new subscription's first value is not sent once more.

A mark is 24 bytes: 8 that stand for the source, and the id. Marks go to the spool in a log, in the transaction of their
readings: a table with a row for each variable would write a page of the disk for almost every reading.
"""

from __future__ import annotations

from collections.abc import Iterable

SOURCE_BYTES, ID_BYTES = 8, 16
MARK_BYTES = SOURCE_BYTES + ID_BYTES
MOST = 100_000
"""Variables that are remembered, those with the latest readings."""


class LastIds:
    def __init__(self, marks: Iterable[bytes] = ()) -> None:
        self._ids: dict[bytes, bytes] = {}
        for mark in marks:
            self.note(mark)

    def note(self, mark: bytes) -> None:
        """The reading is kept for the hub. An empty mark is that of a source that need not be remembered."""
        if not mark:
            return
        source = mark[:SOURCE_BYTES]
        self._ids.pop(source, None)  # it becomes the latest
        self._ids[source] = mark[SOURCE_BYTES:]
        if len(self._ids) > MOST:
            del self._ids[next(iter(self._ids))]

    def put_under(self, older: LastIds) -> None:
        """Where there are none, those of `older` hold."""
        ids = {**older._ids, **self._ids}
        self._ids = dict(list(ids.items())[-MOST:])

    def forget(self, mark: bytes) -> None:
        """The reading was dropped: it may be sent if it comes again."""
        if self.has(mark):
            del self._ids[mark[:SOURCE_BYTES]]

    def has(self, mark: bytes) -> bool:
        return bool(mark) and self._ids.get(mark[:SOURCE_BYTES]) == mark[SOURCE_BYTES:]

    def marks(self) -> bytes:
        """All of them, the latest last."""
        return b"".join(source + reading_id for source, reading_id in self._ids.items())


def split(marks: bytes) -> Iterable[bytes]:
    return (marks[at : at + MARK_BYTES] for at in range(0, len(marks), MARK_BYTES))
