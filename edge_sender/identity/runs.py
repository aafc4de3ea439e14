"""Where a counter starts over: what its source sent until then, and from then on, are two runs of it. Pure.

Readings go by their source times, not by their arrival: a repeated or late one is of the run in which it was measured. So
gateways that see the same readings come to the same epochs, whatever the order in which they arrive.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from edge_sender.counters import Restart
from wire.ids import NS_PER_SECOND, Count
from wire.times import FIRST_NS, LAST_NS, rfc3339

MOST_SOURCES = 100_000
"""That are remembered, those with the latest readings."""
MOST_RUNS = 4
"""Of one source that are remembered, beside the one before them."""
CELLS_NS = (600 * NS_PER_SECOND, 60 * NS_PER_SECOND, NS_PER_SECOND)
"""An epoch is named by the beginning of the first of these cells that lies behind the epoch before. The coarser it is, the
rarer do gateways name it differently whose first reading of the run is not the same one."""
KEY_BYTES = 8
NUMBER_LIMIT = 2**128
"""A counter beyond is not followed."""
_NO_TIME = -(2**95)
_FIXED = struct.Struct(f">{KEY_BYTES}s{KEY_BYTES}s16s12sB")
_RUN = struct.Struct(">12s12s16s12s")


class Run(NamedTuple):
    """A run that began with a restart. All times in nanoseconds since 1970, of the source."""

    since_ns: int
    """Of its first reading."""
    before_ns: int
    """Of the last reading before it."""
    before: int
    """The counter of that reading."""
    epoch_ns: int


class Counter(NamedTuple):
    """What is known of a source's counter."""

    own: bytes
    """Hash of the epoch that payloads name."""
    number: int
    """Of the last reading by source time."""
    time_ns: int | None
    runs: tuple[Run, ...] = ()
    """Oldest first."""


class Observed(NamedTuple):
    counter: Counter
    epoch: str = ""
    """To be put behind the epoch that the payload names."""
    restart: Restart | None = None


def observe(known: Counter | None, count: Count, time_ns: int | None, *, opens_epochs: bool) -> Observed:
    """A reading of a source whose counter was `known`."""
    fresh = Counter(_hash(count.epoch), count.number, time_ns)
    if known is None:
        return Observed(fresh)
    if not opens_epochs:  # they may have been, under another setting
        known = known._replace(runs=())
    is_earlier = time_ns is not None and known.time_ns is not None and time_ns <= known.time_ns
    if fresh.own != known.own:
        return Observed(known if is_earlier else fresh)
    if time_ns is None or known.time_ns is None:
        went_back: Restart | None = "untimed" if count.number < known.number else None
        latest_ns = known.time_ns if time_ns is None else time_ns
        return Observed(fresh._replace(time_ns=latest_ns, runs=known.runs), _current(known.runs), went_back)
    if is_earlier and not _is_next(known, count.number, time_ns):
        return Observed(known, _epoch_at(known.runs, count.number, time_ns))
    if count.number >= known.number:
        return Observed(fresh._replace(runs=known.runs), _current(known.runs))
    runs = (*known.runs, _open(known, time_ns))[-MOST_RUNS:] if opens_epochs else ()
    return Observed(fresh._replace(runs=runs), _current(runs), "restarted")


def _is_next(known: Counter, number: int, time_ns: int) -> bool:
    """Whether a reading with an earlier time is the next one all the same, because the source's clock was put back."""
    return number > known.number and not (known.runs and time_ns < known.runs[-1].since_ns)


def _open(known: Counter, since_ns: int) -> Run:
    assert known.time_ns is not None
    after = known.runs[-1].epoch_ns if known.runs else _NO_TIME
    starts = (since_ns - since_ns % cell for cell in CELLS_NS)
    return Run(since_ns, known.time_ns, known.number, next((start for start in starts if start > after), since_ns))


def _current(runs: tuple[Run, ...]) -> str:
    return _text(runs[-1].epoch_ns) if runs else ""


def _epoch_at(runs: tuple[Run, ...], number: int, time_ns: int) -> str:
    """Of a late reading. One from before all runs that are remembered is an epoch of its own, rather than in a wrong one."""
    for run in reversed(runs):
        # This gateway took a later reading for the first of the run.
        is_first = run.before_ns < time_ns and number < run.before
        if run.since_ns <= time_ns or is_first:
            return _text(run.epoch_ns)
    return _text(time_ns) if len(runs) == MOST_RUNS else ""


def _text(epoch_ns: int) -> str:
    return f"@{rfc3339(epoch_ns)}"


@lru_cache(10_000)
def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()


class Runs:
    """Of all sources."""

    def __init__(self, records: Iterable[tuple[bytes, Counter]] = ()) -> None:
        self.changed: set[bytes] = set()
        """Sources with readings that are not committed yet, by their hashes."""
        self._counters: dict[bytes, Counter] = {}
        for key, counter in records:
            self._note(key, counter)

    def observe(self, source: str, count: Count, time_ns: int | None, *, opens_epochs: bool) -> Observed:
        if count.number >= NUMBER_LIMIT or (time_ns is not None and not FIRST_NS <= time_ns <= LAST_NS):
            return Observed(Counter(b"", count.number, time_ns))
        key = _hash(source)
        known = self._counters.get(key)
        observed = observe(known, count, time_ns, opens_epochs=opens_epochs)
        if observed.counter != known:
            self._note(key, observed.counter)
            self.changed.add(key)
        return observed

    def _note(self, key: bytes, counter: Counter) -> None:
        self._counters.pop(key, None)  # it becomes the latest
        self._counters[key] = counter
        if len(self._counters) > MOST_SOURCES:
            del self._counters[next(iter(self._counters))]

    def put_back(self, earlier: Runs) -> None:
        """What `earlier` knows holds: it saw in which epochs the counters were."""
        for key, counter in earlier._counters.items():
            self._note(key, counter)

    def records(self, keys: Iterable[bytes] | None = None) -> bytes:
        """Encoded, of these sources or of all, the latest last."""
        wanted = self._counters if keys is None else [key for key in keys if key in self._counters]
        return b"".join(_encode(key, self._counters[key]) for key in wanted)


def _encode(key: bytes, counter: Counter) -> bytes:
    fixed = _FIXED.pack(
        key,
        counter.own,
        _number(counter.number),
        _time(_NO_TIME if counter.time_ns is None else counter.time_ns),
        len(counter.runs),
    )
    runs = [
        _RUN.pack(_time(run.since_ns), _time(run.before_ns), _number(run.before), _time(run.epoch_ns))
        for run in counter.runs
    ]
    return b"".join((fixed, *runs))


def decode(records: bytes) -> Iterator[tuple[bytes, Counter]]:
    """Hashes of sources, and what is known of their counters. Raises struct.error for what is cut off."""
    at = 0
    while at < len(records):
        key, own, number, time, size = _FIXED.unpack_from(records, at)
        at += _FIXED.size
        runs = [_RUN.unpack_from(records, at + place * _RUN.size) for place in range(size)]
        at += size * _RUN.size
        time_ns = _time_of(time)
        yield (
            key,
            Counter(
                own,
                int.from_bytes(number),
                None if time_ns == _NO_TIME else time_ns,
                tuple(Run(_time_of(a), _time_of(b), int.from_bytes(c), _time_of(d)) for a, b, c, d in runs),
            ),
        )


def _number(number: int) -> bytes:
    return number.to_bytes(16)


def _time(time_ns: int) -> bytes:
    return time_ns.to_bytes(12, signed=True)


def _time_of(encoded: bytes) -> int:
    return int.from_bytes(encoded, signed=True)
