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
    except (NotPlainError, UnicodeEncodeError, TypeError):  # TypeError: names that are not text
        pass
    try:
        return rfc8785.dumps(_large_numbers_as_text(data) if exact else data)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise ValueError(str(error)) from None


def canonical_json_of_all_digits(data: Any) -> bytes:
    """As RFC 8785, but that a whole number beyond 2^53 − 1, also in the form 1e16, is a number of all its digits. Raises
    ValueError for what has no canonical form."""
    try:
        return _of_all_digits(data).encode()
    except (rfc8785.CanonicalizationError, RecursionError, AttributeError) as error:  # AttributeError: a name is not text
        raise ValueError(str(error)) from None


def _of_all_digits(data: Any) -> str:
    if isinstance(data, Mapping):
        names = sorted(data, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return f"{{{','.join(f'{_of_all_digits(name)}:{_of_all_digits(data[name])}' for name in names)}}}"
    if isinstance(data, list | tuple):
        return f"[{','.join(map(_of_all_digits, data))}]"
    if isinstance(data, float) and data.is_integer():
        data = int(data)
    if isinstance(data, int) and not isinstance(data, bool):
        return str(data)
    return rfc8785.dumps(data).decode()


def _plain(data: Any, depth: int) -> str:
    """Raises NotPlainError."""
    kind = type(data)
    write = _SCALARS.get(kind)
    if write is not None:
        return write(data)
    if not depth or kind not in (dict, list):
        raise NotPlainError
    if kind is dict and len(data) == 2 and "status" in data and "value" in data:  # what most formats compare
        status, value = data["status"], data["value"]
        write_status, write_value = _SCALARS.get(type(status)), _SCALARS.get(type(value))
        if write_status is not None and write_value is not None:
            return f'{{"status":{write_status(status)},"value":{write_value(value)}}}'
    if kind is list:
        return f"[{','.join([_plain(element, depth - 1) for element in data])}]"
    members = []
    for name in sorted(data):
        if type(name) is not str or not name.isascii():  # others sort by their UTF-16 code units
            raise NotPlainError
        value = data[name]
        write = _SCALARS.get(type(value))
        members.append(f"{encode_basestring(name)}:{write(value) if write else _plain(value, depth - 1)}")
    return f"{{{','.join(members)}}}"


def _float(number: float) -> str:
    if number.is_integer():
        return _int(int(number))
    if _PLAIN_FROM <= abs(number) < _PLAIN_BELOW:
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


def _large_numbers_as_text(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {name: _large_numbers_as_text(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [_large_numbers_as_text(value) for value in data]
    if isinstance(data, float) and data.is_integer():
        data = int(data)
    return str(data) if isinstance(data, int) and abs(data) > MAX_EXACT else data
