"""What a line of a file says: its source, its time and its data. Pure.

Source and time are made from the text as it stands, since `1.1` and `1.10` are two tags and `12E3` is not `120E2`; only the
data has types.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edge_sender.sources.payloads import as_text, decode_json, text_of
from edge_sender.sources.plant_times import NoOffsetError, PlantTimes
from wire.ids import Sample
from wire.uris import UriTemplate

Decimal = Literal[".", ","]
Header = Literal["required", "optional", "none"]
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:(\.[0-9]+)?([eE][+-]?[0-9]+)?)").fullmatch


class MisfitError(Exception):
    """The file as a whole does not fit its settings: it is not read until one of the two has changed."""


@dataclass(frozen=True, slots=True)
class CsvDialect:
    delimiter: str = ","
    quote: str | None = '"'
    """None: there are no quoted fields."""
    decimal: Decimal = "."
    header: Header = "required"
    columns: tuple[str, ...] | None = None
    """Must be given unless the header is required."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    uri: UriTemplate
    time: str | None
    """Column or member that holds the source time."""
    times: PlantTimes
    encoding: str = "utf-8"
    csv: CsvDialect | None = CsvDialect()
    """None: every line is a JSON object."""

    def sample(self, content: str | Sequence[str], columns: Sequence[str]) -> Sample:
        """`content` is a line's JSON text, or its fields. Raises ValueError for what is no reading, and MisfitError."""
        if isinstance(content, str):
            return self._from_json(content)
        assert self.csv is not None
        if len(content) != len(columns):
            raise ValueError(f"it has {len(content)} fields instead of {len(columns)}")
        texts = dict(zip(columns, content, strict=True))
        data = {name: typed(text, self.csv.decimal) for name, text in texts.items()}
        return Sample(self.uri.fill(texts), self._time_ns(texts), data)

    def _from_json(self, content: str) -> Sample:
        data, texts = decode_json(content), as_text(content)
        if not isinstance(data, dict):
            raise ValueError("it is not a JSON object")  # noqa: TRY004  # a wrong line, not a wrong type in the program
        needed = self.uri.names if self.time is None else self.uri.names | {self.time}
        if missing := sorted(needed - texts.keys()):
            raise ValueError(f"it has no member {missing[0]!r}")
        named = {name: text_of(texts[name]) for name in needed}
        return Sample(self.uri.fill(named), self._time_ns(named), data)

    def _time_ns(self, texts: dict[str, str]) -> int | None:
        if self.time is None:
            return None
        text = texts[self.time]
        if self.csv is not None and self.csv.decimal == "," and self.times.form != "rfc3339":
            text = text.replace(",", ".")
        try:
            return self.times.parse(text)
        except NoOffsetError as error:
            advice = "set time_zone, such as time_zone: Europe/Berlin or UTC"
            raise MisfitError(f"{error} in {self.time!r}; {advice}") from None


def columns_of(header: Sequence[str], form: FileFormat) -> Sequence[str]:
    """The columns by a file's first line. Raises MisfitError."""
    assert form.csv is not None
    expected = form.csv.columns
    if expected is not None and tuple(header) != expected:
        raise MisfitError(f"the header is {_listed(header)} instead of {_listed(expected)}")
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise MisfitError(f"the header has the column {twice[0]!r} twice")
    needed = form.uri.names if form.time is None else form.uri.names | {form.time}
    if missing := sorted(needed - set(header)):
        raise MisfitError(f"the header has no column {missing[0]!r}, only {_listed(header)}; check delimiter and header")
    return header


def typed(text: str, decimal: Decimal) -> Any:
    """A number if the text is a JSON number, with this decimal sign; otherwise the text."""
    plain = text.strip(" \t\r\n")
    match = _NUMBER(plain) if decimal == "." else None if "." in plain else _NUMBER(plain := plain.replace(",", "."))
    if match is None:
        return text
    try:
        number = int(plain) if match.group(1) is None and match.group(2) is None else float(plain)
    except ValueError:  # thousands of digits
        return text
    return number if math.isfinite(number) else text


def _listed(names: Sequence[str]) -> str:
    most = 20
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most} more" if len(names) > most else "")
