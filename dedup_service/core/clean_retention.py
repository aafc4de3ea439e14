"""Whether a clean hub keeps its events for as long as claims last, so that these can be read back (R12).

The service can't ask for a hub's retention. Where events of a partition have expired, the age of the oldest one that is left
shows it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dedup_service.core.groups import OBSERVE, Group

ASKED = 4
"""How many partitions of a hub each pod asks about at its start, chosen at random: other pods choose other ones."""
LOOKED_AT = 3
"""How many partitions of a hub are looked at: all have one retention."""
CLEARLY = 0.9
"""A hub drops events in pieces, and so keeps some a little longer than others."""


@dataclass(frozen=True, slots=True)
class ShortRetention:
    output: str
    """Empty for the hub that the environment names."""
    kept_ms: int
    window_ms: int
    """The longest of the groups that are published there."""

    @property
    def hub(self) -> str:
        return f"the clean hub {self.output}".rstrip()

    @property
    def effect(self) -> str:
        return (
            "claims of what it has dropped can't be rebuilt after Redis forgot: copies of these readings that come again "
            "are published again. Set its retention to more than the window, or shorten the window (DEDUP_WINDOW_SECONDS, "
            "or window_seconds of the groups)"
        )

    def __str__(self) -> str:
        kept, window = self.kept_ms // 1000, self.window_ms // 1000
        return f"{self.hub} keeps events for about {kept} s, and the window is {window} s: {self.effect}"


def partitions_to_look_at(kept: Mapping[str, int]) -> list[str]:
    """`kept`: how many events there are, by clean partition of which some have expired. Where few events come, the oldest
    may be far younger than the retention, so those are chosen that have most."""
    most_first = sorted((name for name, count in kept.items() if count > 0), key=lambda name: -kept[name])
    return [partition_id for partitions in by_output(most_first).values() for partition_id in partitions[:LOOKED_AT]]


def by_output(partition_ids: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for partition_id in partition_ids:
        found[_output_of(partition_id)].append(partition_id)
    return found


def short_retentions(ages_ms: Mapping[str, int], groups: Iterable[Group]) -> list[ShortRetention]:
    """`ages_ms`: that of the oldest event, by clean partition that was looked at."""
    kept: dict[str, int] = defaultdict(int)
    for partition_id, age_ms in ages_ms.items():
        output = _output_of(partition_id)
        kept[output] = max(kept[output], age_ms)
    windows: dict[str, int] = defaultdict(int)
    for group in groups:
        if group.mode != OBSERVE:
            for output in {_output_of(partition_id) for partition_id in group.output.partition_ids}:
                windows[output] = max(windows[output], group.window_ms)
    return [
        ShortRetention(output, kept[output], window_ms)
        for output, window_ms in windows.items()
        if output in kept and kept[output] < CLEARLY * window_ms
    ]


def _output_of(partition_id: str) -> str:
    return partition_id.rpartition(":")[0]
