"""What the readings of captured messages get as keys, and how those of several files compare. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dedup_service.core.events import InputEvent
from dedup_service.core.other_formats import message_of
from dedup_service.errors import UndeliverableError
from wire.formats.messages import Format, Found, NotReading, Part, Path, Refused
from wire.formats.minting import WITHOUT_TIME, Minted, mint
from wire.ids import Identity, NoIdentityError, canonical
from wire.times import rfc3339

Place = tuple[int, str]
"""Number of the message in its file, and the place in its body, as a JSON pointer."""
Numbered = tuple[int, InputEvent]
"""A message, and its number in its file."""
NO_TIME = "no time"


@dataclass(frozen=True, slots=True)
class Copy:
    place: Place
    found: Found
    key: Minted


@dataclass(frozen=True, slots=True)
class Tried:
    """One gateway's messages: a file, or those of one gateway in it."""

    name: str
    messages: int
    copies: list[Copy] = field(default_factory=list)
    not_readings: list[tuple[Place, NotReading]] = field(default_factory=list)
    without_time: list[tuple[Place, str]] = field(default_factory=list)
    """With the source, or with why there is no time."""
    refused: list[tuple[Place, str, str]] = field(default_factory=list)
    """With a reason and a detail."""
    ignored: list[tuple[Place, str]] = field(default_factory=list)
    """Messages that are not of the group, with why not."""
    passes_on: bool = True
    """Whether the group passes on what is no reading."""

    def refuse(self, place: Place, reason: str, detail: str) -> None:
        if reason == WITHOUT_TIME:
            self.without_time.append((place, detail))
        else:
            self.refused.append((place, reason, detail))


@dataclass(frozen=True, slots=True)
class Difference:
    """Why a copy matches none of another file: the copy there that is most alike, and in what the two differ."""

    copy: Copy
    other: Copy | None
    fields: tuple[str, ...]


def gateways(events: Sequence[InputEvent]) -> dict[str, list[Numbered]]:
    """The messages of a file by who sent them."""
    found: dict[str, list[Numbered]] = {}
    for number, event in enumerate(events, 1):
        found.setdefault(event.replica, []).append((number, event))
    return found


def try_format(name: str, events: Sequence[Numbered], form: Format, strategy: Identity, max_bytes: int) -> Tried:
    """`form` may learn names from one message for the following ones. `max_bytes`: of a body that was compressed."""
    tried = Tried(name, len(events))
    for number, event in events:
        for part in _parts(event, form, max_bytes):
            _sort(tried, (number, pointer(part.place)), part, strategy)
    return tried


def _parts(event: InputEvent, form: Format, max_bytes: int) -> Iterable[Part]:
    try:
        return form.read(message_of(event, max_bytes)[0])
    except UndeliverableError as error:
        return [Refused((), error.reason, error.detail)]


def _sort(tried: Tried, place: Place, part: Part, strategy: Identity) -> None:
    if isinstance(part, NotReading):
        tried.not_readings.append((place, part))
    elif isinstance(part, Refused):
        tried.refuse(place, part.reason, part.detail)
    elif isinstance(key := mint(part, strategy), Minted):
        tried.copies.append(Copy(place, part, key))
    else:
        tried.refuse(place, key.reason, part.source if key.reason == WITHOUT_TIME else key.detail)


def pointer(place: Path) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in place)


def key_of(copy: Copy) -> tuple[str, str]:
    return copy.found.source, copy.key.id


def distinct(files: list[Tried]) -> int:
    """How many readings there are in all."""
    return len({key_of(copy) for tried in files for copy in tried.copies})


def matches(files: list[Tried]) -> Counter[int]:
    """How many readings are in how many files."""
    holders: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for number, tried in enumerate(files):
        for copy in tried.copies:
            holders[key_of(copy)].add(number)
    return Counter(map(len, holders.values()))


def differences(files: list[Tried]) -> Iterator[tuple[Tried, Difference]]:
    """For each reading of a file that no other file has: what is most alike there."""
    for tried in files:
        others = [copy for other in files if other is not tried for copy in other.copies]
        known, index = {key_of(copy) for copy in others}, _Alike(others)
        lonely = {key_of(copy): copy for copy in tried.copies if key_of(copy) not in known}
        yield from ((tried, index.nearest(copy)) for copy in lonely.values())


class _Alike:
    """Copies by source and time, source and value, time and value, or source, in this order; of several the nearest in
    time."""

    def __init__(self, copies: list[Copy]) -> None:
        self._by: defaultdict[tuple[Any, ...], list[Copy]] = defaultdict(list)
        for copy in copies:
            for name, shared in _shared(copy).items():
                self._by[name, shared].append(copy)

    def nearest(self, copy: Copy) -> Difference:
        for name, shared in _shared(copy).items():
            if alike := self._by.get((name, shared)):
                other = min(alike, key=lambda one: abs((one.found.time_ns or 0) - (copy.found.time_ns or 0)))
                return Difference(copy, other, _unlike(copy.found, other.found))
        return Difference(copy, None, ("source", "time", "value"))


def _shared(copy: Copy) -> dict[str, tuple[Any, ...]]:
    found, value = copy.found, _comparable(copy.found)
    return {
        "all but the value": (found.source, found.time_ns),
        "all but the time": (found.source, value),
        "all but the source": (found.time_ns, value),
        "the source": (found.source,),
    }


def _unlike(one: Found, other: Found) -> tuple[str, ...]:
    """Where source, time and value are equal, it is what the strategy looked at."""
    pairs = {
        "source": (one.source, other.source),
        "time": (one.time_ns, other.time_ns),
        "value": (_comparable(one), _comparable(other)),
    }
    return tuple(name for name, (here, there) in pairs.items() if here != there) or ("content",)


def _comparable(found: Found) -> bytes:
    try:
        return canonical(found.source, found.value, exact=True)
    except NoIdentityError:
        return repr(found.value).encode()


def time_text(found: Found) -> str:
    if found.time_ns is None:
        return NO_TIME
    try:
        return rfc3339(found.time_ns)
    except ValueError:  # beyond the years that have a text
        return f"{found.time_ns} ns"
