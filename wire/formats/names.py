"""Names in a message: values of properties by name, sources made of parts, and names that gateways spell differently."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

MAX_SOURCE_LENGTH = 2048


def named(values: Mapping[str, Any], *names: str) -> str | None:
    """The text of the first of these properties that is there. Names are not case-sensitive in IoT Hub. What came through
    the Kafka protocol has bytes as values; what of them is no text stands in escapes, so that no two values become one."""
    for name in names:
        value = values.get(name)
        if value is None:
            value = next((value for other, value in values.items() if other.casefold() == name.casefold()), None)
        if isinstance(value, bytes):
            value = value.decode(errors="backslashreplace")
        if value is not None:
            return str(value)
    return None


def source_of(*parts: str) -> str:
    """One text of a fixed number of parts, different for any two lists of parts: a slash inside a part is escaped as in a
    JSON pointer, but in the last one it needs no escape."""
    return "/".join([*(part.replace("~", "~0").replace("/", "~1") for part in parts[:-1]), parts[-1]])


def renamed(name: str, rename: Mapping[str, str]) -> str:
    """The name that stands for all those of a pattern (`Press-*`), the first that matches."""
    return next((to for pattern, to in rename.items() if fnmatchcase(name, pattern)), name)


def text_of(value: Any) -> str | None:
    """The part of a source that a JSON value is; None for what can't name anything."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    try:
        return str(value)
    except ValueError:  # an integer of thousands of digits
        return None
