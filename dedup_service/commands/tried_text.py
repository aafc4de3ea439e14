"""What `dedup-service try` prints."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from dedup_service.commands.tried import Copy, Difference, Place, Tried, differences, key_of, matches
from wire.formats.messages import Found
from wire.times import rfc3339

SHOWN_READINGS, SHOWN_OTHERS, SHOWN_VALUE = 40, 10, 60
NO_TIME = "no time"
HINTS = {
    ("source",): "do the gateways name it differently? Some formats have the option rename",
    ("time",): "each gateway's own clock? Let the source stamp its values, or use time-bucket",
    ("value",): "with source-time this would be one reading, and a conflict",
    ("time", "value"): "the others may have lost it, or sample at other moments",
}


def as_json(files: list[Tried]) -> str:
    lonely = [(tried, difference) for tried, difference in differences(files)] if len(files) > 1 else []
    summary = {
        "copies": sum(len(tried.copies) for tried in files),
        "distinct": _distinct(files),
        "not_readings": sum(len(tried.not_readings) for tried in files),
        "without_time": sum(len(tried.without_time) for tried in files),
        "refused": sum(len(tried.refused) for tried in files),
        "matches": {str(count): readings for count, readings in sorted(matches(files).items())},
        "differences": [_difference_members(tried, difference) for tried, difference in lonely],
        "files": [_file_members(tried) for tried in files],
    }
    return json.dumps(summary, indent=2, ensure_ascii=False)


def as_text(files: list[Tried]) -> str:
    lines = [line for tried in files for line in (*_of_file(tried), "")]
    return "\n".join(map(_printable, [*lines, *_comparison(files)]))


def _printable(line: str) -> str:
    """Names come from devices, and must not steer a terminal."""
    return (
        line
        if line.isprintable()
        else "".join(symbol if symbol.isprintable() else "\N{REPLACEMENT CHARACTER}" for symbol in line)
    )


def _of_file(tried: Tried) -> Iterator[str]:
    yield f"{tried.name}: {_counted(tried.messages, 'message')}, {_counted(len(tried.copies), 'reading')} with a key"
    for copy in tried.copies[:SHOWN_READINGS]:
        yield f"  {_place(copy.place):<28} {copy.found.source}"
        again = ", repeated by the sender" if copy.found.is_repetition else ""
        yield f"  {'':<28} {_time(copy.found)}  {_value(copy.found)}{again}"
        yield f"  {'':<28} {copy.key.strategy} {copy.key.id}"
    yield from _more(len(tried.copies), SHOWN_READINGS, "readings")
    repeated = len(tried.copies) - len({key_of(copy) for copy in tried.copies})
    if repeated:
        yield f"  {repeated} of them have a key that came in this file before: repetitions"
    yield from _list("no readings, they pass as they are", [(at, part.what) for at, part in tried.not_readings])
    yield from _list("without a source time, so no key", tried.without_time)
    yield from _list("refused", [(at, f"{reason}: {detail}") for at, reason, detail in tried.refused])


def _list(title: str, items: list[tuple[Place, str]]) -> Iterator[str]:
    if items:
        yield f"  {len(items)} {title}:"
        yield from (f"    {_place(at):<26} {what[:200]}" for at, what in items[:SHOWN_OTHERS])
        yield from _more(len(items), SHOWN_OTHERS, "of them")


def _comparison(files: list[Tried]) -> Iterator[str]:
    copies, distinct = sum(len(tried.copies) for tried in files), _distinct(files)
    yield f"together: {_counted(copies, 'copy', 'copies')} of {_counted(distinct, 'distinct reading')}"
    if len(files) == 1:
        return
    for count, readings in sorted(matches(files).items(), reverse=True):
        yield f"  {readings:>6} in {_holders(count, len(files))}"
    lonely = sorted(differences(files), key=lambda pair: (pair[0].name, pair[1].fields))
    for (name, fields), group in groupby(lonely, key=lambda pair: (pair[0].name, pair[1].fields)):
        found = [difference for _, difference in group]
        yield f"{name}: {_counted(len(found), 'reading')} that no other file has; {_reason(found[0], fields)}"
        yield from _example(found[0])


def _holders(count: int, of: int) -> str:
    if count == 1:
        return "one file only"
    if count < of:
        return f"{count} files"
    return "both files" if of == 2 else f"all {of} files"


def _reason(difference: Difference, fields: tuple[str, ...]) -> str:
    if difference.other is None:
        return "no other file has its source, or its time and value"
    hint = HINTS.get(fields)
    return f"the nearest copy elsewhere differs in {' and '.join(fields)}" + (f" ({hint})" if hint else "")


def _example(difference: Difference) -> Iterator[str]:
    here, there = difference.copy.found, difference.other.found if difference.other else None
    yield f"    here   {here.source}  {_time(here)}  {_value(here)}"
    if there:
        apart = ""
        if "time" in difference.fields and None not in (here.time_ns, there.time_ns):
            apart = f"  ({((there.time_ns or 0) - (here.time_ns or 0)) / 1e9:+,.3f} s)"
        yield f"    there  {there.source}  {_time(there)}  {_value(there)}{apart}"


def _distinct(files: list[Tried]) -> int:
    return len({key_of(copy) for tried in files for copy in tried.copies})


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
    }


def _copy_members(copy: Copy) -> dict[str, Any]:
    return {
        **_place_members(copy.place),
        "source": copy.found.source,
        "time": None if copy.found.time_ns is None else _time(copy.found),
        "value": copy.found.value,
        "strategy": copy.key.strategy,
        "id": copy.key.id,
    }


def _place_members(place: Place) -> dict[str, Any]:
    return {"message": place[0], "place": place[1]}


def _place(place: Place) -> str:
    return f"#{place[0]} {place[1]}"


def _time(found: Found) -> str:
    if found.time_ns is None:
        return NO_TIME
    try:
        return rfc3339(found.time_ns)
    except ValueError:  # beyond the years that have a text
        return f"{found.time_ns} ns"


def _value(found: Found) -> str:
    text = json.dumps(found.value, ensure_ascii=False)
    return text if len(text) <= SHOWN_VALUE else f"{text[:SHOWN_VALUE]}…"


def _more(count: int, shown: int, what: str) -> Iterator[str]:
    if count > shown:
        yield f"  … and {count - shown} more {what}; --json has all"


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
