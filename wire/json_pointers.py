"""JSON pointers (RFC 6901) to one place of a document. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

MISSING: Any = object()
"""Stands for the value where there is none, which is not the same as null."""
INDEX = re.compile(r"0|[1-9]\d{0,9}", re.ASCII)


class PointerError(ValueError):
    """The text is no pointer or reference, or refers to what can't be an identity."""


def tokens(pointer: str) -> tuple[str, ...]:
    """The reference tokens of a pointer; () for the whole. Raises PointerError."""
    if pointer and not pointer.startswith("/"):
        raise PointerError(f"{pointer!r} is no JSON pointer: it must be empty or begin with a slash, such as /values/*")
    if re.search(r"~(?![01])", pointer):
        raise PointerError(f"{pointer!r} is no JSON pointer: a tilde is written ~0, a slash in a name ~1")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def value_at(document: Any, path: tuple[str, ...]) -> Any:
    """What is at these tokens; MISSING if there is nothing."""
    for token in path:
        if isinstance(document, Mapping):
            document = document.get(token, MISSING)
        elif isinstance(document, Sequence) and not isinstance(document, str) and INDEX.fullmatch(token):
            document = document[int(token)] if int(token) < len(document) else MISSING
        else:
            return MISSING
    return document
