"""What a content type says about the bytes that it describes. Source: RFC 2045 §5.1, RFC 6839 (suffix +json), RFC 6657."""

from __future__ import annotations

TEXT = "text/"
CODECS = {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "iso-8859-1": "iso-8859-1"}
"""The charsets that are read, and Python's names of them."""


def media_type(content_type: str | None) -> str:
    """Lower-case, without parameters."""
    return (content_type or "").partition(";")[0].strip().lower()


def is_json(media: str) -> bool:
    subtype = media.partition("/")[2]
    return subtype == "json" or subtype.endswith("+json")


def charset(content_type: str) -> str:
    """Lower-case; UTF-8 where none is given."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower()
    return "utf-8"
