"""JSON as plants write it, also where it is none by the standard: the same on every replica. Pure."""

from __future__ import annotations

import json
import math
import re
from typing import Any

MAX_DEPTH = 100
"""Nesting beyond it is refused. Python's own limit depends on where it is called, and the id must not."""
_MAY_OVERFLOW = re.compile(r"[eE]\+?\d{2}|\d{200}").search


def decode_json(text: str) -> Any:
    """Numbers that JSON or a double lacks (NaN, Infinity, 1e999) become text, as in OPC UA's own JSON encoding. Raises
    ValueError."""
    return _decoded(text, _BOUNDED if _MAY_OVERFLOW(text) else _PLAIN)


def as_text(text: str) -> Any:
    """The same JSON with each number and literal as the text that stands there. Raises ValueError."""
    return _decoded(text, _TEXTS)


def text_of(value: Any) -> str:
    """A member of what `as_text` returns, as a part of a name. Raises ValueError if it is no single value."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    raise ValueError("it is not a single value")  # a wrong line, not a wrong type in the program


def _decoded(text: str, decoder: json.JSONDecoder) -> Any:
    try:
        value = decoder.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise ValueError("it is nested too deeply")
    return value


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        inner = [item for item in level if isinstance(item, list | dict)]
        depth += bool(inner)
        level = [part for item in inner for part in (item.values() if isinstance(item, dict) else item)]
    return depth


def _float(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _int(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:  # thousands of digits
        return text


# Made once: `json.loads` makes a decoder for each text.
_PLAIN = json.JSONDecoder(parse_constant=str)
_BOUNDED = json.JSONDecoder(parse_constant=str, parse_float=_float, parse_int=_int)
_TEXTS = json.JSONDecoder(parse_constant=str, parse_float=str, parse_int=str)
