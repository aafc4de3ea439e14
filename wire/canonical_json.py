"""JSON in its canonical form (RFC 8785), for ids. Pure.

Nearly all values of plants are short and plain, and there is one of them in every copy: these are written here, in a tenth
of the time that the library takes. What takes thought (exponents, names beyond ASCII, deep nesting) is left to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any

import rfc8785

MAX_EXACT = 2**53 - 1
"""Beyond it RFC 8785 knows no whole numbers, since a double does not hold each of them (RFC 7493 §2.2)."""
_PLAIN_FROM, _PLAIN_BELOW = 1e-4, 1e15
"""Between them Python writes the same digits as ECMAScript, without an exponent."""
_PLAIN_DEPTH = 4


class NotPlainError(Exception):
    """The value is for the library."""


def canonical_json(data: Any, *, exact: bool = False) -> bytes:
    """`exact` also writes whole numbers that no double holds, as text (RFC 8785, appendix D). Raises ValueError for what has
    no canonical form."""
    try:
        return _plain(data, _PLAIN_DEPTH).encode()
    except (NotPlainError, UnicodeEncodeError):
        pass
    try:
        return rfc8785.dumps(_large_numbers_as_text(data) if exact else data)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _plain(data: Any, depth: int) -> str:
    """Raises NotPlainError."""
    kind = type(data)
    if kind is float:
        size = abs(data)
        if data == int(data) if size < _PLAIN_BELOW else False:
            return str(int(data))
        if _PLAIN_FROM <= size < _PLAIN_BELOW:
            return repr(data)
    elif kind is str:
        return encode_basestring(data)
    elif kind is int:
        if -MAX_EXACT <= data <= MAX_EXACT:
            return str(data)
    elif data is None or kind is bool:
        return "null" if data is None else "true" if data else "false"
    elif depth and kind is dict:
        return f"{{{','.join([_member(name, data[name], depth) for name in _sorted(data)])}}}"
    elif depth and kind is list:
        return f"[{','.join([_plain(element, depth - 1) for element in data])}]"
    raise NotPlainError


def _sorted(names: Mapping[Any, Any]) -> list[str]:
    try:
        return sorted(names)
    except TypeError:
        raise NotPlainError from None


def _member(name: Any, value: Any, depth: int) -> str:
    if type(name) is not str or not name.isascii():  # others sort by their UTF-16 code units
        raise NotPlainError
    return f"{encode_basestring(name)}:{_plain(value, depth - 1)}"


def _large_numbers_as_text(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {name: _large_numbers_as_text(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_large_numbers_as_text(value) for value in data]
    if isinstance(data, float) and data.is_integer():
        data = int(data)
    return str(data) if isinstance(data, int) and abs(data) > MAX_EXACT else data
