"""A source of kind `file` in the sources' document."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from edge_sender.config.common import CommonConfig
from wire.times import TimeFormat
from wire.uris import UriTemplate


class FileConfig(CommonConfig):
    kind: Literal["file"]
    path: Path = Field(description="The file, which may appear later and grow.")
    format: Literal["csv", "jsonl"] = Field(description="`csv`, or `jsonl` with one JSON object per line.")
    uri: str = Field(
        description="The source's URI; `{column}` is replaced by that value as it stands in the line, percent-encoded."
    )
    time: str | None = Field(None, description="Column or member that holds the source time.")
    time_format: TimeFormat = Field("rfc3339", description="`rfc3339`, or the time since 1970 in `s`, `ms`, `us` or `ns`.")
    time_zone: str | None = Field(
        None, description="Zone of times without an offset, such as `Europe/Berlin` or `UTC`; they are not read without it."
    )
    ambiguous_time: Literal["skip", "earlier", "later"] = Field(
        "skip", description="What to do with times that a clock shows twice when it is put back; see edge.md."
    )
    encoding: str = Field("utf-8", description="Encoding of the file, such as `cp1252` or `utf-16-le`.")
    delimiter: str = Field(",", min_length=1, max_length=1, description="CSV: what separates the fields.")
    quote: str | None = Field(
        '"',
        min_length=1,
        max_length=1,
        description="CSV: what encloses a field with delimiters or line breaks; null: nothing.",
    )
    decimal: Literal[".", ","] = Field(".", description="CSV: decimal sign of numbers.")
    header: Literal["required", "optional", "none"] = Field(
        "required", description="CSV: whether the first line names the columns; if it may not, `columns` must."
    )
    columns: tuple[str, ...] | None = Field(
        None, min_length=1, description="CSV: the columns. A required header that has others is refused."
    )
    follow: bool = Field(False, description="Wait for more lines at the end of the file.")
    rotated: str | None = Field(
        None,
        description="Names of earlier parts in the same folder, such as `export-*.csv`; by default the file's name with a "
        "number or a date behind it.",
    )

    @field_validator("uri")
    @classmethod
    def _uri(cls, value: str) -> str:
        UriTemplate(value)
        return value

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, value: str) -> str:
        check_encoding(value)
        return value

    @field_validator("time_zone")
    @classmethod
    def _time_zone(cls, value: str | None) -> str | None:
        try:
            return None if value is None else ZoneInfo(value).key
        except (ValueError, OSError, ZoneInfoNotFoundError):
            raise ValueError(f"{value!r} is not the name of a time zone, such as Europe/Berlin or UTC") from None

    @model_validator(mode="after")
    def _fits(self) -> FileConfig:
        if self.format == "jsonl":
            only_csv = {"delimiter", "quote", "decimal", "header", "columns"} & self.model_fields_set
            if only_csv:
                raise ValueError(f"{min(only_csv)} is for csv only")
            return self
        if not self.delimiter.isprintable() and self.delimiter != "\t":
            raise ValueError(f"{self.delimiter!r} can't be the delimiter")
        if self.quote is not None and (self.quote in (self.delimiter, " ") or not self.quote.isprintable()):
            raise ValueError(f"{self.quote!r} can't be the quote with the delimiter {self.delimiter!r}")
        if self.header != "required" and self.columns is None:
            raise ValueError(f"header {self.header} needs columns, which names them")
        return self._columns_fit()

    def _columns_fit(self) -> FileConfig:
        if self.columns is None:
            return self
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("columns names one of them twice")
        needed = UriTemplate(self.uri).names | ({self.time} if self.time is not None else set())
        if missing := sorted(needed - set(self.columns)):
            raise ValueError(f"columns does not name {missing[0]!r}, which uri or time needs")
        return self


def check_encoding(encoding: str) -> None:
    """Raises ValueError for what is no encoding of text, or begins every text with a mark of its own."""
    try:
        newline, two = "\n".encode(encoding), "\n\n".encode(encoding)
    except (LookupError, UnicodeError):
        raise ValueError(f"{encoding!r} is not an encoding of text, such as utf-8, cp1252 or utf-16-le") from None
    if newline * 2 != two:
        advice = "name its byte order, as in utf-16-le; a byte order mark at the start of a file is passed over in any case"
        raise ValueError(f"{encoding!r} can't be used: {advice}")
