"""How long readings have waited, by a clock that does not step. Pure, but for the clocks that it is given.

Within a boot the uptime counts, which also runs while the machine is suspended. Between two boots only the wall clock can
tell. It is believed while the kernel says that it is synchronised, not within ten minutes of a step, and only for an absence
that is plausible. Where it is not believed, a boot counts from where the last one was seen: readings then look younger than
they are, and are kept. So nothing is dropped because a clock was set.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from edge_sender.buffering.spool_values import Place
from edge_sender.ports import Clocks

STEP_SECONDS = 2.0
"""A wall clock that moves against the uptime by more than this was set; slewing is slower."""
STABLE_SECONDS = 600.0
"""For how long after a step the wall clock is not believed."""
MOST_AWAY_SECONDS = 30 * 86_400.0
"""A longer absence is more likely a wrong clock, such as one that begins in 1970, or jumps to 2036."""
NOTE_SECONDS = 10.0
"""A boot is written again when it was seen this much later; more often would wear the disk."""
EARLIER_VERSION = 0
"""The number of the boot of readings that were spooled by a version which noted none: they count from the update on."""


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot of the gateway. All times in seconds."""

    number: int
    id: str
    base: float
    """When it began, on a line that runs through all boots."""
    seen: float
    """The uptime when it was last seen."""
    offset: float
    """Of the wall clock from the uptime, when it was last seen."""
    believed: float | None = None
    """That offset when it was last believed."""
    stepped: float | None = None
    """The uptime when a step was last seen."""


class Ages:
    """`note` is called by the thread that writes; `age` by any."""

    def __init__(self, boots: Iterable[Boot], clocks: Clocks) -> None:
        self._clocks = clocks
        self._boots = {boot.number: boot for boot in boots}
        self._written: dict[int, Boot] = dict(self._boots)
        self.steps = 0
        """How often the wall clock was set, as far as it was seen."""
        last = max(self._boots.values(), key=lambda boot: boot.number, default=None)
        if last is None or last.id != clocks.boot:
            base = 0.0 if last is None else last.base + last.seen
            number = EARLIER_VERSION + 1 if last is None else last.number + 1
            uptime = clocks.uptime()
            base -= uptime if last is not None and last.number == EARLIER_VERSION else 0.0
            last = Boot(number, clocks.boot, base, uptime, clocks.now() - uptime)
            self._boots[number] = last
        self._number = last.number
        self.note()

    @property
    def boot(self) -> Boot:
        """The one that runs."""
        return self._boots[self._number]

    def place(self, row: int) -> Place:
        """For a reading that is spooled now."""
        return Place(row, self._number, self._clocks.uptime())

    def note(self) -> None:
        """Look at the clocks: has the wall clock been set, and does it tell how long the gateway was off?"""
        uptime, boot = self._clocks.uptime(), self.boot
        offset, stepped = self._clocks.now() - uptime, boot.stepped
        if abs(offset - boot.offset) > STEP_SECONDS:
            self.steps, stepped = self.steps + 1, uptime
        is_stable = stepped is None or uptime - stepped >= STABLE_SECONDS
        believed = offset if is_stable and self._clocks.is_synchronised() else boot.believed
        boot = replace(boot, seen=uptime, offset=offset, believed=believed, stepped=stepped)
        boots = {**self._boots, boot.number: boot}
        if is_stable and believed is not None:
            boots = _dated(boots, boot)
        self._boots = boots

    def unwritten(self) -> list[Boot]:
        """The boots that must be written."""
        return [boot for number, boot in self._boots.items() if _is_news(self._written.get(number), boot)]

    def written(self, boots: Iterable[Boot]) -> None:
        self._written.update({boot.number: boot for boot in boots})

    def age(self, place: Place) -> float | None:
        """Seconds since the reading was spooled, at least; None if nothing is known of its boot."""
        boots = self._boots
        boot, now = boots.get(place.boot), boots[self._number]
        if boot is None:
            return None
        return max(0.0, now.base + self._clocks.uptime() - boot.base - place.at)


def _dated(boots: dict[int, Boot], now: Boot) -> dict[int, Boot]:
    """With the absence before `now` as the wall clocks tell it: since the last boot whose clock was believed.

    Boots in between move along: their own clocks were not believed, so that their readings may be as young as before.
    """
    before = [boot for boot in boots.values() if boot.number < now.number and boot.believed is not None]
    last = max(before, key=lambda boot: boot.number, default=None)
    if last is None or last.believed is None or now.believed is None:
        return boots
    away = last.base + now.believed - last.believed - now.base
    if not STEP_SECONDS < away <= MOST_AWAY_SECONDS:
        return boots
    return {number: replace(boot, base=boot.base + away) if number > last.number else boot for number, boot in boots.items()}


def _is_news(written: Boot | None, boot: Boot) -> bool:
    return (
        written is None
        or boot.seen - written.seen >= NOTE_SECONDS
        or (boot.base, boot.stepped) != (written.base, written.stepped)
        or (boot.believed is None) != (written.believed is None)
    )
