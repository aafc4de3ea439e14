"""Splits a JSON array that does not parse, so that one broken element does not spoil its neighbours."""

from __future__ import annotations

import re
from itertools import islice

MAX_TOKENS = 20_000
"""What follows them is one element: this loop costs far more than parsing, which hostile input must not exploit."""
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]|,', re.DOTALL)


def split_elements(text: bytes, max_tokens: int = MAX_TOKENS) -> list[bytes]:
    """The bytes between the commas of the outermost array; empty when the text is not an array.

    Only strings and brackets are interpreted, so an element may be anything in which those are balanced. Bytes behind the
    end of the array, and a truncated element, are returned as the last element.
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
