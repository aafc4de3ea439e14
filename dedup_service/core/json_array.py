"""Splitting a JSON array that does not parse, so that one broken element does not take its neighbours with it."""

from __future__ import annotations

import re
from itertools import islice

MAX_TOKENS = 20_000
"""Beyond them the rest is one element: this loop costs far more than parsing, and hostile input must not buy much of it."""
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]|,', re.DOTALL)


def split_elements(text: bytes, max_tokens: int = MAX_TOKENS) -> list[bytes]:
    """The bytes between the commas of the outermost array; not an array: none.

    Only strings and brackets are understood, so an element may be any nonsense that keeps those in balance. What follows
    the array's end, and what is cut off, comes as a last element.
    """
    text = text.strip()
    if not text.startswith(b"["):
        return []
    elements: list[bytes] = []
    depth, start = 0, 1
    for token in islice(_TOKEN.finditer(text), max_tokens):
        symbol = token.group()
        if symbol in b"[{":
            depth += 1
        elif symbol in b"]}":
            depth -= 1
        if (symbol == b"," and depth == 1) or depth == 0:
            elements.append(text[start : token.start()].strip())
            start = token.end()
        if depth == 0:
            break
    rest = text[start:].strip()
    return [element for element in (*elements, rest) if element]
