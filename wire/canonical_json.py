"""JSON in its canonical form (RFC 8785), for ids. Pure.

Nearly all values of plants are short and plain, and there is one of them in every copy: these are written here, in a tenth
of the time that the library takes. What takes thought (exponents, names beyond ASCII, deep nesting) is left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    write = _SCALARS.get(kind)
    if write is not None:
        return write(data)
    if depth and kind is dict:
        names = _sorted(data) if len(data) > 1 else data
        return f"{{{','.join([_label(name) + _plain(data[name], depth - 1) for name in names])}}}"
    if depth and kind is list:
        return f"[{','.join([_plain(element, depth - 1) for element in data])}]"
    raise NotPlainError


def _float(number: float) -> str:
    size = abs(number)
    if size < _PLAIN_BELOW:
        if number == int(number):
            return str(int(number))
        if size >= _PLAIN_FROM:
            return repr(number)
    raise NotPlainError


def _int(number: int) -> str:
    if -MAX_EXACT <= number <= MAX_EXACT:
        return str(number)
    raise NotPlainError


_SCALARS: dict[type, Callable[[Any], str]] = {
    float: _float,
    str: encode_basestring,
    int: _int,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): lambda _: "null",
}


def _sorted(names: Mapping[Any, Any]) -> list[str]:
    try:
        return sorted(names)
    except TypeError:
        raise NotPlainError from None


def _label(name: Any) -> str:
    if type(name) is not str or not name.isascii():  # others sort by their UTF-16 code units
        raise NotPlainError
    return f"{encode_basestring(name)}:"


def _large_numbers_as_text(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {name: _large_numbers_as_text(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_large_numbers_as_text(value) for value in data]
    if isinstance(data, float) and data.is_integer():
        data = int(data)
    return str(data) if isinstance(data, int) and abs(data) > MAX_EXACT else data
