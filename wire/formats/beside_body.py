"""What a format reads of a message beside its body, as far as its options name it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from wire.formats.any_json import Shape
from wire.formats.pointers import beside_the_body
from wire.formats.sparkplug import SparkplugOptions

_MEMBERS = ("source", "has", "time", "value", "content", "sequence", "epoch")
"""Those of a shape that are references."""


def read_beside_the_body(format_name: str, options: bytes | str) -> Iterator[tuple[str, str, str]]:
    """(member of the options, such as `.source` or `[1].time`; `property`, `system` or `annotation`; name). The options are
    valid."""
    if format_name == "json":
        yield from _of_shapes(msgspec.json.decode(options, type=Shape | list[Shape]))
    elif format_name == "sparkplug":
        yield ".topic_property", "property", msgspec.json.decode(options, type=SparkplugOptions).topic_property


def _of_shapes(shapes: Shape | list[Shape]) -> Iterator[tuple[str, str, str]]:
    places = [(f"[{at}].", shape) for at, shape in enumerate(shapes)] if isinstance(shapes, list) else [(".", shapes)]
    for place, shape in places:
        for member in _MEMBERS:
            named = getattr(shape, member)
            for text in [named] if isinstance(named, str) else named or []:
                if found := beside_the_body(text):
                    yield place + member, *found
