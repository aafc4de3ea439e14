"""Environment variables that look like settings and are none: slips of the pen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from edge_sender.config.settings import PREFIX, EdgeSettings

SIMILAR = 0.85
"""Other programs may have variables with this prefix, which are not looked at."""


def misspelt(environment: Iterable[str]) -> Iterator[str]:
    """A line for each. Case does not matter."""
    settings = [PREFIX + name.upper() for name in EdgeSettings.model_fields]
    for variable in environment:
        name = variable.upper()
        if name.startswith(PREFIX) and name not in settings and (near := get_close_matches(name, settings, 1, SIMILAR)):
            yield f"{variable}: is no setting, and is ignored; did you mean {near[0]}?"
