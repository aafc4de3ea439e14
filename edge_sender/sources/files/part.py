"""One open file: its records from a place on, and whether it still is the file that was read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from edge_sender.sources.files.format import FileFormat, MisfitError, columns_of
from edge_sender.sources.files.places import FINGERPRINT_BYTES, Found, Place, fingerprint, is_at
from edge_sender.sources.files.records import MAX_RECORD_BYTES, Cutter, Record
from wire.ids import Sample

CHUNK_BYTES = 64 * 1024


class ReplacedError(Exception):
    """The file has other bytes than those that were read."""


class Line(NamedTuple):
    """A sample, or a reason why the record is none."""

    number: int
    sample: Sample | None
    problem: str | None


class Part:
    """A file that is read; the path may name another one meanwhile."""

    def __init__(self, found: Found, form: FileFormat, place: Place | None = None) -> None:
        """Raises OSError."""
        self.path = found.path
        self._form = form
        self._cutter = Cutter(form.encoding, form.csv)
        self._file = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self._file)
        self.inode, self._mtime_ns = status.st_ino, status.st_mtime_ns
        self._offset, self._line = (place.offset, place.line) if place else (0, 0)
        self._head, self._before = self._bytes_before(self._offset)
        self._columns = None if form.csv is None or form.csv.header == "required" else form.csv.columns
        self._is_header_known = form.csv is None or form.csv.header == "none"
        self._is_in_long_line = False

    @property
    def place(self) -> Place:
        return Place(self.inode, self._offset, self._line, self._mtime_ns, fingerprint(self._head, self._before))

    @property
    def is_removed(self) -> bool:
        return os.fstat(self._file).st_nlink == 0

    @property
    def is_replaced(self) -> bool:
        """Whether the file has other bytes now than those that were read. Raises OSError."""
        return self._bytes_before(self._offset) != (self._head, self._before)

    def is_copied_in(self, found: Found) -> bool:
        """Whether that file is a copy of this one, made before more was added. Raises OSError."""
        size = found.size
        return 0 < size <= os.fstat(self._file).st_size and is_at(
            self.place._replace(offset=size, fingerprint=fingerprint(*self._bytes_before(size))), found
        )

    def close(self) -> None:
        os.close(self._file)

    def lines(self, *, is_over: bool = False) -> Iterator[Line]:
        """What has been added; the place is behind each of them. `is_over`: take an unfinished last line, too.

        Raises ReplacedError, MisfitError, OSError.
        """
        if not self._find_columns():
            return
        size = CHUNK_BYTES
        while True:
            data = self._read(size)
            is_end = len(data) < size
            used = 0
            while used < len(data) and (record := self._next(data, used, is_over=is_over and is_end)) is not None:
                line = self._line_of(record)  # before anything moves on: a misfit stops here, and is read again
                self._advance(data, used, record)
                used += record.size
                if line is not None:
                    yield line
            if used:
                size = CHUNK_BYTES
            elif is_end or size > MAX_RECORD_BYTES:
                return
            else:
                size *= 2

    def _next(self, data: bytes, start: int, *, is_over: bool) -> Record | None:
        if self._is_in_long_line:
            return self._cutter.rest(data, start)
        return self._cutter.next(data, start, is_first=self._offset == 0, is_over=is_over)

    def _advance(self, data: bytes, start: int, record: Record) -> None:
        read = data[start : start + record.size]
        if len(self._head) < FINGERPRINT_BYTES:
            self._head = (self._head + read)[:FINGERPRINT_BYTES]
        self._before = (self._before + read[-FINGERPRINT_BYTES:])[-FINGERPRINT_BYTES:]
        self._offset += record.size
        self._line += record.lines
        self._is_in_long_line = record.is_cut

    def _line_of(self, record: Record) -> Line | None:
        """None for an empty line, and for the rest of one that is too long."""
        number = self._line + 1
        if record.problem is not None and not self._is_in_long_line:
            return Line(number, None, record.problem)
        if record.content is None:
            return None
        try:
            return Line(number, self._form.sample(record.content, self._columns or ()), None)
        except MisfitError as error:
            raise MisfitError(f"{self.path} line {number}: {error}") from None
        except ValueError as error:
            return Line(number, None, str(error))

    def _find_columns(self) -> bool:
        """Read the header where there is one; False if it is not complete yet. Raises MisfitError, OSError."""
        if self._is_header_known:
            return True
        data, start, lines = os.pread(self._file, MAX_RECORD_BYTES, 0), 0, 1
        while (record := self._cutter.next(data, start, is_first=start == 0, is_over=False)) is not None:
            start += record.size
            if record.problem is not None and self._columns is None:
                raise MisfitError(f"{self.path} line {lines}: the header can't be read: {record.problem}")
            if record.content is not None or record.problem is not None:
                self._note_first(record, lines, data[:start])
                return True
            lines += record.lines
        return False

    def _note_first(self, record: Record, line: int, data: bytes) -> None:
        """`record` is the first in the file, and `data` is all up to its end."""
        if self._columns is None:
            self._columns = self._checked(list(record.content or ()), line)
        elif record.content is None or tuple(record.content) != self._columns:
            self._is_header_known = True  # there is none
            return
        self._is_header_known = True
        if self._offset < len(data):
            self._head, self._before = data[:FINGERPRINT_BYTES], data[-FINGERPRINT_BYTES:]
            self._offset, self._line = len(data), line - 1 + record.lines

    def _checked(self, header: list[str], line: int) -> tuple[str, ...]:
        try:
            return tuple(columns_of(header, self._form))
        except MisfitError as error:
            raise MisfitError(f"{self.path} line {line}: {error}") from None

    def _read(self, size: int) -> bytes:
        """The next bytes. Raises ReplacedError, OSError."""
        data = os.pread(self._file, size, self._offset)
        status = os.fstat(self._file)
        if self.is_replaced:  # asked behind the reading, since it may have happened before it
            raise ReplacedError
        self._mtime_ns = status.st_mtime_ns
        return data

    def _bytes_before(self, offset: int) -> tuple[bytes, bytes]:
        size = min(FINGERPRINT_BYTES, offset)
        return os.pread(self._file, size, 0), os.pread(self._file, size, offset - size)
