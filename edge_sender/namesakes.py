"""Tells of sources whose servers turn out to have one name: readings of two machines would be taken for copies of one.

Devices of one make often have the application URI that they were delivered with. What the document of the sources shows
already is refused at the start (config/namesakes.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Set
from dataclasses import dataclass

from edge_sender.config.opcua import normal

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Names:
    """What a source's readings are called."""

    endpoints: tuple[str, ...]
    server_uri: str
    is_given: bool
    """By the settings, not by the server."""
    variables: Callable[[], set[str]]
    """The source URIs of its variables at the moment."""


class Namesakes:
    """All sources of one sender."""

    def __init__(self) -> None:
        self._names: dict[str, Names] = {}
        self._found: dict[frozenset[str], str] = {}

    def tell(self, source: str, names: Names) -> None:
        """The source has subscribed, or its variables are others now."""
        self._names[source] = names
        for other in self._names.keys() - {source}:
            pair, text = frozenset({source, other}), self._why(source, other)
            if text is None:
                self._found.pop(pair, None)
                continue
            if pair not in self._found:
                logger.warning("%s", text)
            self._found[pair] = text

    def keep(self, sources: Set[str]) -> None:
        """There are no other sources any more."""
        self._names = {source: names for source, names in self._names.items() if source in sources}
        self._found = {pair: text for pair, text in self._found.items() if pair <= sources}

    def notices(self, source: str) -> list[str]:
        return [text for pair, text in self._found.items() if source in pair]

    def _why(self, source: str, other: str) -> str | None:
        one, two = self._names[source], self._names[other]
        if one.server_uri != two.server_uri:
            return None
        both = f"{source} ({one.endpoints[0]}) and {other} ({two.endpoints[0]})"
        if common := one.variables() & two.variables():
            return (
                f"{both} have {len(common)} variables of the same source URI, for example {min(common)}: "
                "different machines need a server_uri each, or their readings are taken for copies; of one machine choose "
                "different nodes"
            )
        is_known = (one.is_given and two.is_given) or {normal(url) for url in one.endpoints} & {
            normal(url) for url in two.endpoints
        }
        if is_known:
            return None
        return (
            f"{both} have one application URI, {one.server_uri!a}: different machines need a server_uri each, or "
            "variables of the same node id will be taken for one"
        )
