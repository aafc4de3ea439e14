"""Times as plants write them, often without an offset. Pure, but for the tz database, which holds the rules of zones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from wire.ids import NS_PER_SECOND
from wire.times import TimeFormat, parse_rfc3339, parse_time

WhenAmbiguous = Literal["skip", "earlier", "later"]
_EPOCH = datetime(1970, 1, 1)  # on the clock on the wall, which has no zone


class NoOffsetError(ValueError):
    """The time has no offset, and nothing says which zone it is from. That is so of all times of this source."""


@dataclass(frozen=True, slots=True)
class PlantTimes:
    """`zone`: that of times without an offset. `when_ambiguous`: what to do with a time of the hour that a clock which is
    put back shows twice."""

    form: TimeFormat
    zone: ZoneInfo | None = None
    when_ambiguous: WhenAmbiguous = "skip"

    def parse(self, text: str) -> int:
        """Nanoseconds since 1970. Raises ValueError."""
        text = text.strip()
        if self.form != "rfc3339" or parse_rfc3339(text) is not None:
            return parse_time(text, self.form)
        wall_ns = parse_rfc3339(text + "Z")
        if wall_ns is None:
            raise ValueError("the time is not RFC 3339")
        if self.zone is None:
            raise NoOffsetError("the time has no offset from UTC")
        return self._on_the_wall(parse_time(text + "Z", self.form))

    def _on_the_wall(self, wall_ns: int) -> int:
        wall = _EPOCH + timedelta(seconds=wall_ns // NS_PER_SECOND)
        offsets = sorted({found for fold in (0, 1) if (found := self._offset(wall, fold)) is not None}, reverse=True)
        if not offsets:
            raise ValueError(f"there is no such time in {self.zone}: clocks were put forward over it")
        if len(offsets) > 1 and self.when_ambiguous == "skip":
            raise ValueError(f"there are two such times in {self.zone}: clocks were put back")
        offset = offsets[-1 if self.when_ambiguous == "later" else 0]
        return wall_ns - (offset // timedelta(microseconds=1)) * 1000

    def _offset(self, wall: datetime, fold: int) -> timedelta | None:
        """None if clocks of the zone never show this time with this offset."""
        try:
            offset = wall.replace(tzinfo=self.zone, fold=fold).utcoffset()
            if offset is None:
                return None
            shown = (wall - offset).replace(tzinfo=UTC).astimezone(self.zone).replace(tzinfo=None)
        except OverflowError:  # the first and the last day of the calendar
            return None
        return offset if shown == wall else None
