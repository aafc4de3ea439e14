"""The kinds of things that keep a source's copies from matching."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TrapKind(StrEnum):
    """As programs read them in the report."""

    OTHER_IDS = "other-ids"
    """Times and contents match, the ids don't."""
    OTHER_CONTENTS = "other-contents"
    """Times match, contents and ids don't."""
    CONSTANT_OFFSET = "constant-offset"
    TIME_ZONE = "time-zone"
    OWN_STAMPS = "own-stamps"
    NO_TIMES = "no-times"
    NOT_MEASURED = "not-measured"
    WATCHDOG = "watchdog"
    """Some replicas repeat old values with new times."""
    ONE_SEGMENT = "one-segment"
    """Each replica has a source of its own, and they differ in one segment."""
    SINGLE_USE = "single-use"
    """Each message has a source of its own."""


@dataclass(frozen=True, slots=True)
class Trap:
    kind: TrapKind
    text: str
    """For people: what was seen, and what to do."""
    replicas: tuple[str, ...] = ()
    """Those that it is about, by name; empty for all."""
