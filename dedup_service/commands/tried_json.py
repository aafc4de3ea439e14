"""What `dedup-service try --json` prints for programs."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from dedup_service.commands.tried import Copy, Difference, Place, Tried, differences, distinct, matches, time_text
from dedup_service.config.file import GroupSettings


def as_json(files: list[Tried], notes: list[str], warnings: list[str], group: GroupSettings | None) -> str:
    """`notes` and `warnings`: about all of it. `group`: what reads the same way in the groups' file."""
    lonely = [(tried, difference) for tried, difference in differences(files)] if len(files) > 1 else []
    summary = {
        "copies": sum(len(tried.copies) for tried in files),
        "distinct": distinct(files),
        "not_readings": sum(len(tried.not_readings) for tried in files),
        "without_time": sum(len(tried.without_time) for tried in files),
        "refused": sum(len(tried.refused) for tried in files),
        "ignored": sum(len(tried.ignored) for tried in files),
        "matches": {str(count): readings for count, readings in sorted(matches(files).items())},
        "differences": [_difference_members(tried, difference) for tried, difference in lonely],
        "files": [_file_members(tried) for tried in files],
        **({"note": "\n".join(notes)} if notes else {}),
        **({"warnings": warnings} if warnings else {}),
        **({"group": group_members(group)} if group else {}),
    }
    return json.dumps(summary, indent=2, ensure_ascii=False)


def group_members(group: GroupSettings) -> dict[str, Any]:
    """As they stand in the groups' file."""
    return {"name": group.name, **group.model_dump(exclude_defaults=True)}


def _difference_members(tried: Tried, difference: Difference) -> dict[str, Any]:
    other = difference.other
    return {
        "file": tried.name,
        "fields": list(difference.fields),
        "here": _copy_members(difference.copy),
        "there": _copy_members(other) if other else None,
    }


def _file_members(tried: Tried) -> dict[str, Any]:
    return {
        "file": tried.name,
        "messages": tried.messages,
        "readings": [_copy_members(copy) for copy in tried.copies],
        "not_readings": dict(Counter(part.what for _, part in tried.not_readings)),
        "without_time": [_place_members(at) | {"what": what} for at, what in tried.without_time],
        "refused": [_place_members(at) | {"reason": reason, "detail": detail} for at, reason, detail in tried.refused],
        "ignored": [_place_members(at) | {"what": what} for at, what in tried.ignored],
    }


def _copy_members(copy: Copy) -> dict[str, Any]:
    return {
        **_place_members(copy.place),
        "source": copy.found.source,
        "time": None if copy.found.time_ns is None else time_text(copy.found),
        "value": copy.found.value,
        "strategy": copy.key.strategy,
        "id": copy.key.id,
    }


def _place_members(place: Place) -> dict[str, Any]:
    return {"message": place[0], "place": place[1]}
