"""`json`: any JSON, by pointers that the operator gives: where the readings are, and what of each tells what."""

from __future__ import annotations

import hashlib
from base64 import b64decode
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from wire.formats.bodies import BadTimeError, json_of, number_of, time_of
from wire.formats.messages import Found, Message, NotReading, Part, Path, Refused
from wire.formats.names import MAX_SOURCE_LENGTH, source_of, text_of
from wire.formats.pointers import Reference, Spot, doubt, key_of, needs_outer, reference, spots
from wire.json_pointers import PointerError, tokens
from wire.times import TimeFormat


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One form of a body. All texts but `readings` and `inside` are references (wire/formats/pointers.py)."""

    source: list[str]
    """What names the source, and is the same on every gateway."""
    readings: str = ""
    """Pattern of the parts that are readings; empty for the whole body."""
    has: list[str] = []
    """What a part must have to be a reading of this shape."""
    time: str | None = None
    time_format: TimeFormat = "rfc3339"
    value: list[str] = []
    """What copies must agree on; the whole part where nothing is named."""
    content: list[str] = []
    """What the strategy `content` looks at; the whole part where nothing is named."""
    sequence: str | None = None
    epoch: str | None = None
    """The source's own counter, and what changes when it starts over."""
    numbers: bool = False
    """Whether a text that is a number counts as that number."""
    inside: str | None = None
    """Pointer of a text in the body that holds the JSON, in base64 where it is not JSON itself; empty where the body is that
    text. What is meant by `body:` is then the JSON in it, and the body around it is `outer:`."""
    whole_body: bool = False
    """The body is one reading whatever it is, and its hash is all that is known of it."""


class Json:
    """Tries its shapes in order; the first that finds a reading reads the message."""

    def __init__(self, *shapes: Shape, name: str = "json") -> None:
        """Raises PointerError."""
        self.name = name
        self._shapes = [_Reader(shape) for shape in shapes]

    def read(self, message: Message) -> Iterator[Part]:
        refused: Part | None = None
        for shape in self._shapes:
            parts = shape.read(message)
            if isinstance(parts, Refused):
                refused = refused or parts
            elif parts:
                yield from parts
                return
        yield refused or NotReading((), "other-shape")


class _Reader:
    def __init__(self, shape: Shape) -> None:
        if shape.inside is None and (lost := next(filter(needs_outer, _texts(shape)), None)):
            raise PointerError(f"{lost} is in the body around `inside`, which is not set; the body itself is body:")
        self._shape = shape
        self._readings, self._inside = tokens(shape.readings), tokens(shape.inside or "")
        self._listed = [at for at, token in enumerate(self._readings) if token != "*"]  # noqa: S105  # a wildcard
        self._source = {text: reference(text) for text in shape.source}
        self._has, self._value = _references(shape.has), _references(shape.value)
        self._content = _references(shape.content)
        self._keys = [up for text in _texts(shape) if (up := key_of(text)) is not None]
        self._time, self._sequence, self._epoch = map(_optional, (shape.time, shape.sequence, shape.epoch))

    def read(self, message: Message) -> list[Part] | Refused:
        if self._shape.whole_body:
            digest = hashlib.sha256(message.body).hexdigest()
            return [self._part(Spot(message, (), (digest,)), ())]
        root = json_of(message.body)
        if isinstance(root, Refused):
            return root
        prefix: Path = ()
        outer = None
        if self._shape.inside is not None:
            outer, holder = root, next(spots(message, root, self._inside), None)
            root = _unwrapped(holder.nodes[-1]) if holder else None
            prefix = holder.place if holder else ()
        found = list(spots(message, root, self._readings, outer))
        fits = [self._fits(spot) for spot in found]
        if not any(fits):
            return []
        return [
            self._part(spot, prefix) if is_reading else NotReading(prefix + spot.place, "other-shape")
            for spot, is_reading in zip(found, fits, strict=True)
        ]

    def _fits(self, spot: Spot) -> bool:
        return spot.nodes[-1] is not None and all(has(spot) is not None for has in self._has)

    def _part(self, spot: Spot, prefix: Path) -> Part:
        place, fixed = prefix + spot.place, self._fixed(spot, len(prefix))
        names = [(text, text_of(part(spot))) for text, part in self._source.items()]
        if lacking := ", ".join(text for text, name in names if name is None):
            return Refused(place, "no-source", f"there is no {lacking}", fixed)
        source = source_of(*(name or "" for _, name in names))
        if len(source) > MAX_SOURCE_LENGTH:
            return Refused(place, "no-source", f"its source has {len(source)} characters", fixed)
        try:
            time_ns = time_of(self._time(spot), self._shape.time_format) if self._time else None
        except BadTimeError as error:
            return Refused(place, "unreadable-time", str(error), fixed)
        return Found(place, source, self._compared(spot), time_ns, self._data(spot), fixed=fixed)

    def _fixed(self, spot: Spot, before: int) -> tuple[int, ...]:
        """The array positions that name something, such as a channel by its place in a list."""
        named = [len(spot.place) - 1 - up for up in self._keys]
        return tuple([before + at for at in (*named, *self._listed) if at >= 0 and isinstance(spot.place[at], int)])

    def _compared(self, spot: Spot) -> Any:
        values = [value(spot) for value in self._value] or [spot.nodes[-1]]
        numbers = [number_of(value) for value in values] if self._shape.numbers else values
        return numbers[0] if len(numbers) == 1 else numbers

    def _data(self, spot: Spot) -> Any:
        if self._sequence:
            epoch = self._epoch(spot) if self._epoch else ""
            return {"sequence": number_of(self._sequence(spot)), "epoch": epoch}
        parts = [part(spot) for part in self._content]
        if parts and all(part is None for part in parts):
            return None
        return parts or spot.nodes[-1]


def _unwrapped(text: Any) -> Any:
    """The JSON that a text holds; None where it holds none."""
    if not isinstance(text, str):
        return None
    value = _json_or_none(lambda: text.encode())
    return _json_or_none(lambda: b64decode(text, validate=True)) if value is None else value


def _json_or_none(body: Callable[[], bytes]) -> Any:
    try:
        value = json_of(body())
    except ValueError:  # lone surrogates, or not base64
        return None
    return None if isinstance(value, Refused) else value


def doubts(shapes: Shape | list[Shape]) -> Iterator[tuple[str, str]]:
    """(member of the options, why copies hardly ever agree on what it names, and what to do)"""
    for place, shape in _places(shapes):
        for member in ("source", "time", "value", "content", "sequence", "epoch"):
            named = getattr(shape, member)
            for text in [named] if isinstance(named, str) else named or []:
                if reason := doubt(text):
                    yield place + member, reason


def _places(shapes: Shape | list[Shape]) -> list[tuple[str, Shape]]:
    """Each shape, and what stands before the names of its members."""
    return [(f"[{at}].", shape) for at, shape in enumerate(shapes)] if isinstance(shapes, list) else [(".", shapes)]


def _texts(shape: Shape) -> list[str]:
    """All references of a shape."""
    single = [text for text in (shape.time, shape.sequence, shape.epoch) if text is not None]
    return [*shape.source, *shape.has, *shape.value, *shape.content, *single]


def _references(texts: list[str]) -> list[Reference]:
    return [reference(text) for text in texts]


def _optional(text: str | None) -> Reference | None:
    return None if text is None else reference(text)
