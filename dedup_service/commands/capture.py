"""`dedup-service capture`: a few events of an input hub, with their properties, for `dedup-service try`.

It reads without an owner level, in a consumer group of its own, and so ends no other reader; it touches neither Redis nor
checkpoints nor leases.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from dedup_service.commands.captured_events import captured_event
from dedup_service.config.hubs import InputConfig
from dedup_service.core.events import InputEvent
from dedup_service.core.times import duration_seconds
from dedup_service.ports.hubs import InputHub, StartPosition
from wire.formats.capture import Captured

POLL_SECONDS = 0.5
SETTLE_SECONDS = 5.0
"""How long no new gateway must have shown up before those that have sent enough count as all of them."""
MAX_GATEWAYS = 1000
"""Of senders that name themselves there may be any number."""


class CaptureFailedError(Exception):
    """Says what is wrong, and what to do."""


@dataclass(frozen=True, slots=True)
class Wanted:
    count: int
    """Events of each gateway."""
    seconds: float
    """Limit for all of it."""
    device: str = "*"
    """Pattern of device ids, or of `device/module`."""
    back_seconds: int = 0
    """How far back to begin; 0 for the end of each partition."""
    settle_seconds: float = SETTLE_SECONDS


@dataclass(slots=True)
class Kept:
    """What was read so far."""

    wanted: Wanted
    events: dict[str, list[Captured]] = field(default_factory=dict)
    """By gateway: `device`, or `device/module`."""
    other_devices: int = 0
    beyond_count: int = 0
    beyond_gateways: int = 0
    stopped: bool = False
    """Whether the user wants no more."""
    _newest: float = 0.0
    """When a gateway showed up for the first time, by the monotonic clock."""

    def add(self, event: InputEvent, now: float) -> None:
        gateway = event.replica
        names = (gateway, gateway.partition("/")[0])
        if not any(fnmatchcase(name, self.wanted.device) for name in names):
            self.other_devices += 1
            return
        if gateway not in self.events:
            if len(self.events) >= MAX_GATEWAYS:
                self.beyond_gateways += 1
                return
            self.events[gateway], self._newest = [], now
        if len(self.events[gateway]) >= self.wanted.count:
            self.beyond_count += 1
            return
        self.events[gateway].append(captured_event(event))

    def stop(self) -> None:
        self.stopped = True

    def is_enough(self, now: float) -> bool:
        """Whether every gateway has sent enough, as far as can be told. One that is silent can't be told from none."""
        if self.stopped:
            return True
        is_settled = bool(self.events) and now - self._newest >= self.wanted.settle_seconds
        return is_settled and all(len(events) >= self.wanted.count for events in self.events.values())


def add_capture(commands: Any) -> None:
    parser = commands.add_parser(
        "capture",
        help="save a few events of the input hub, for `try`",
        description="Saves a few events of each gateway, with their properties, in the form that `try` reads. Uses the "
        "settings DEDUP_INPUT_* of `run`; Redis, checkpoints and the readers of `run` are left alone. Payloads are in what "
        "it writes, so only the owner can read the files.",
    )
    parser.add_argument(
        "--consumer-group",
        required=True,
        metavar="NAME",
        help="of the input hub, which neither `run` nor any other reader uses: a hub refuses this reader where `run` reads",
    )
    parser.add_argument("--count", type=_positive, default=20, metavar="N", help="events of each gateway (default: 20)")
    parser.add_argument("--seconds", type=_positive, default=30, metavar="S", help="limit for all of it (default: 30)")
    parser.add_argument(
        "--device", default="*", metavar="PATTERN", help="of device ids, or device/module; * and ? match (default: all)"
    )
    parser.add_argument("--from", dest="back", type=_duration, default=0, metavar="10m", help="how far back to begin")
    parser.add_argument("--input", metavar="NAME", help="which one, where the groups' file names several")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="a new folder, for one file of each gateway; else standard output"
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def _duration(text: str) -> int:
    try:
        return duration_seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def summary(kept: Kept, files: dict[str, Path]) -> list[str]:
    """What was kept and what was not, for people. `files`: by gateway."""
    lines = [f"{len(events):>6} events of {gateway}" for gateway, events in sorted(kept.events.items())]
    lines = [
        f"{line}  {files[gateway]}" if files else line for line, gateway in zip(lines, sorted(kept.events), strict=True)
    ]
    others = {
        f"more of these gateways, beyond --count {kept.wanted.count}": kept.beyond_count,
        f"of gateways beyond the first {MAX_GATEWAYS}": kept.beyond_gateways,
        f"of devices that --device {kept.wanted.device} leaves out": kept.other_devices,
    }
    return [*lines, *(f"{count:>6} {what}: read, and not kept" for what, count in others.items() if count)]


async def capture(hub: InputHub, kept: Kept, now_ms: Callable[[], int], monotonic: Callable[[], float]) -> None:
    """Raises UnavailableError."""
    partition_ids = (await hub.info()).partition_ids
    ends = dict(
        zip(partition_ids, await asyncio.gather(*(_end(hub, kept.wanted, one) for one in partition_ids)), strict=True)
    )
    until = monotonic() + kept.wanted.seconds
    begin_ms = now_ms() - 1000 * kept.wanted.back_seconds
    reading = [asyncio.create_task(_read(hub, one, begin_ms, end, kept, until, monotonic)) for one, end in ends.items()]
    try:
        await asyncio.gather(*reading)
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


async def _end(hub: InputHub, wanted: Wanted, partition_id: str) -> int | None:
    """The last event before those that are wanted; None where the time says it."""
    return None if wanted.back_seconds else (await hub.partition_state(partition_id)).last_sequence_number


async def _read(
    hub: InputHub,
    partition_id: str,
    begin_ms: int,
    end: int | None,
    kept: Kept,
    until: float,
    monotonic: Callable[[], float],
) -> None:
    if end is None:
        start = StartPosition(enqueued_ms=begin_ms)
    else:
        start = StartPosition(sequence_number=end) if end >= 0 else StartPosition()
    reader = hub.open(partition_id, start, owner_level=None)
    try:
        while (now := monotonic()) < until and not kept.is_enough(now):
            for event in await reader.read(min(POLL_SECONDS, until - now)):
                if end is None or event.sequence_number > end:
                    kept.add(event, now)
    finally:
        reader.close()


def chosen_input(inputs: Sequence[InputConfig], name: str | None, consumer_group: str) -> InputConfig:
    """Raises CaptureFailedError."""
    names = ", ".join(item.name for item in inputs)
    if name is None and len(inputs) > 1:
        raise CaptureFailedError(f"there are several inputs; choose one with --input: {names}")
    item = next((item for item in inputs if name in (None, item.name)), None)
    if item is None:
        raise CaptureFailedError(f"--input {name}: there is no such input, but {names}")
    if item.consumer_group.casefold() == consumer_group.casefold():
        raise CaptureFailedError(
            f"--consumer-group {consumer_group}: `run` reads this one, and each would keep the other from its partitions. "
            "Make another one in the input hub, which nothing else reads"
        )
    return item
