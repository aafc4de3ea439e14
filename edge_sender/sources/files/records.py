"""Cuts the bytes of a file into records: lines, or in CSV several of them where a quoted field has line breaks. Pure."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from edge_sender.sources.files.format import CsvDialect

MAX_RECORD_BYTES = 256 * 1024
"""IoT Hub accepts no more in a message. A quote that is never closed would hold back the whole rest of a file."""
_BOM = "\ufeff"


class Record(NamedTuple):
    size: int
    """In bytes, with its line end."""
    lines: int
    content: str | Sequence[str] | None
    """A JSON line's text, or the fields; None for an empty line."""
    problem: str | None = None
    """Why it is no record; only its first line is passed over then."""
    is_cut: bool = False
    """The rest of this line is still to be passed over."""


@dataclass(frozen=True, slots=True)
class Cutter:
    encoding: str
    csv: CsvDialect | None

    def next(self, data: bytes, start: int, *, is_first: bool, is_over: bool) -> Record | None:
        """The record at `start`; None if it is not complete yet. `is_first`: it is the first of its file. `is_over`: nothing
        will follow, so that the last line needs no line end."""
        lines = _Lines(data, start, self.encoding, is_over=is_over)
        try:
            first = next(lines, None)
        except UnicodeError:
            return Record(lines.at - start, 1, None, f"it is not {self.encoding}")
        if first is None:
            return self._too_long(len(data) - start) if len(data) - start >= MAX_RECORD_BYTES else None
        size = lines.at - start
        if size > MAX_RECORD_BYTES:
            return Record(size, 1, None, "it is too long")
        text = first.removeprefix(_BOM) if is_first else first
        if not text.strip("\r\n" if self.csv else None):
            return Record(size, 1, None)
        if self.csv is None:
            return Record(size, 1, text)
        return self._fields(text, lines, start, size, is_over=is_over)

    def rest(self, data: bytes, start: int) -> Record | None:
        """What is left of a line that is too long."""
        end = _line_end(data, start, self.encoding)
        return Record(end - start, 1, None) if end >= 0 else self._too_long(len(data) - start)

    def _too_long(self, size: int) -> Record | None:
        size -= size % len(_newline(self.encoding))
        return Record(size, 0, None, "it is too long", is_cut=True) if size else None

    def _fields(self, first: str, lines: _Lines, start: int, size: int, *, is_over: bool) -> Record | None:
        try:
            fields = next(csv.reader(_chained(first, lines), strict=True, **_dialect(self.csv)))
        except UnicodeError:
            return Record(size, 1, None, f"a line of it is not {self.encoding}")
        except csv.Error as error:
            if not lines.has_ended or is_over:
                return Record(size, 1, None, str(error))
            too_long = len(lines.data) - start >= MAX_RECORD_BYTES
            return Record(size, 1, None, "its quote is not closed") if too_long else None
        return Record(lines.at - start, lines.count, fields)


class _Lines:
    """The decoded lines from `at` on, with their line ends; `has_ended` once more were wanted than there are."""

    def __init__(self, data: bytes, at: int, encoding: str, *, is_over: bool) -> None:
        self.data = data
        self.at = at
        self.count = 0
        self.has_ended = False
        self._encoding = encoding
        self._is_over = is_over

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        end = _line_end(self.data, self.at, self._encoding)
        if end < 0 and self._is_over and self.at < len(self.data):
            end = len(self.data)
        if end < 0:
            self.has_ended = True
            raise StopIteration
        line = self.data[self.at : end]
        self.at, self.count = end, self.count + 1
        return line.decode(self._encoding)


def _chained(first: str, lines: Iterator[str]) -> Iterator[str]:
    yield first
    yield from lines


def _dialect(dialect: CsvDialect | None) -> dict[str, Any]:
    assert dialect is not None
    if dialect.quote is None:
        return {"delimiter": dialect.delimiter, "quoting": csv.QUOTE_NONE}
    return {"delimiter": dialect.delimiter, "quotechar": dialect.quote}


def _line_end(data: bytes, start: int, encoding: str) -> int:
    """Where the next line starts; -1 if there is no line end. In UTF-16 a line feed starts at an even distance."""
    newline = _newline(encoding)
    at = data.find(newline, start)
    while at >= 0 and (at - start) % len(newline):
        at = data.find(newline, at + 1)
    return at + len(newline) if at >= 0 else -1


@lru_cache
def _newline(encoding: str) -> bytes:
    return "\n".encode(encoding)
