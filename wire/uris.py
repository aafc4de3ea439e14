"""Source URIs as URI references (RFC 3986), the same on every replica. Pure.

What a plant brings (topics, columns, identifiers) is text, not a part of a URI: it is percent-encoded once, as UTF-8, also
its percent signs. What is a URI already, such as the one that a server states, keeps its percent-encoding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

PATH = "!$&'()*+,;=:@/"
"""What may stand in a path beside letters, digits and `-._~` (RFC 3986 §3.3)."""
_NEVER_ENCODED = frozenset("-._~")
"""By the library, though they may be (RFC 3986 §2.3)."""
_KNOWN_TEXTS = 10_000
_PCT = "%[0-9A-Fa-f]{2}"
_PATH_CHARACTER = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|{_PCT})"
_HOST = rf"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|{_PCT})*)"
_PARTS = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL).fullmatch
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*").fullmatch
_AUTHORITY = re.compile(rf"(?:(?:[A-Za-z0-9\-._~!$&'()*+,;=:]|{_PCT})*@)?{_HOST}(?::[0-9]*)?").fullmatch
_PATH = re.compile(rf"{_PATH_CHARACTER}*").fullmatch
_QUERY = re.compile(rf"(?:{_PATH_CHARACTER}|\?)*").fullmatch
_STRAY_PERCENT = re.compile("%(?![0-9A-Fa-f]{2})")
_FIELD = re.compile(r"\{([^{}]+)\}")


@lru_cache(_KNOWN_TEXTS)
def encoded(text: str, safe: str = PATH) -> str:
    """Text as a part of a URI; `safe` stays as it is. Raises ValueError for what is no text (a lone surrogate)."""
    return quote(text, safe=safe)


@lru_cache(_KNOWN_TEXTS)
def as_uri(text: str) -> str:
    """A URI as a server states it, with what may not stand in one encoded: spaces, letters beyond ASCII, stray percent
    signs, and `#`, since a fragment names something within that URI. What is encoded already stays. Raises ValueError."""
    with_percents = _STRAY_PERCENT.sub("%25", text)
    uri = quote(with_percents, safe=PATH + "?%[]")
    return uri if is_uri_reference(uri) else quote(with_percents, safe=PATH + "?%")  # brackets are for IPv6 addresses only


@lru_cache(_KNOWN_TEXTS)
def is_uri_reference(text: str) -> bool:
    """Whether it is a URI reference by RFC 3986 §4.1 that is not empty, as CloudEvents demands of a source."""
    match = _PARTS(text)
    if match is None or not text:
        return False
    scheme, authority, path, query, fragment = match.groups()
    return bool(
        (_SCHEME(scheme) if scheme is not None else authority is not None or ":" not in path.partition("/")[0])
        and (authority is None or _AUTHORITY(authority))
        and _PATH(path)
        and _QUERY(query or "")
        and _QUERY(fragment or "")
    )


class UriTemplate:
    """A URI in which `{name}` stands for a value, which is text as it stands in a line or a topic.

    Different values make different URIs: of several values, none keeps a character by which the template separates two.
    """

    def __init__(self, text: str) -> None:
        """Raises ValueError for a template whose URIs would be none, or the same for different values."""
        if not is_uri_reference(_FIELD.sub("x", text)):
            advice = "write {NAME} for a value, and everything else as a URI has it"
            raise ValueError(f"{text!r} is not the template of a URI; {advice}, perhaps {_advised(text)!r}")
        self._parts = _FIELD.split(text)
        self.names = frozenset(self._parts[1::2])
        separators = self._parts[2:-2:2]
        if not all(map(_separating, separators)):
            raise ValueError(f"{text!r} does not separate its values; put a character such as : or / between them")
        self._separating = frozenset("".join(map(_separating, separators)))
        self._safe = "".join(character for character in PATH if character not in self._separating)

    def fill(self, values: Mapping[str, str]) -> str:
        """Raises ValueError if these values make no URI reference, and KeyError if one is missing."""
        parts = [self._encoded(values[part]) if number % 2 else part for number, part in enumerate(self._parts)]
        return joined(*parts)

    def _encoded(self, text: str) -> str:
        value = encoded(text, self._safe)
        for character in self._separating & _NEVER_ENCODED:
            value = value.replace(character, f"%{ord(character):02X}")
        return value


def _separating(literal: str) -> str:
    """The characters of a literal between two values by which it is known where the first ends; empty if there is none."""
    reserved = "".join(character for character in literal if character in PATH + "?#")
    return reserved or "".join(_NEVER_ENCODED.intersection(literal))


def joined(*parts: str) -> str:
    """The URI of its parts. Raises ValueError if it is no URI reference, as where a part makes up a host of its own."""
    uri = "".join(parts)
    if not is_uri_reference(uri):
        raise ValueError(f"{uri!r} is not a URI reference")
    return uri


def _advised(text: str) -> str:
    parts = _FIELD.split(text)
    return "".join(f"{{{part}}}" if number % 2 else as_uri(part) for number, part in enumerate(parts))
