"""What `dedup-service try` prints for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby

import yaml

from dedup_service.commands.tried import Difference, Place, Tried, differences, distinct, key_of, matches, time_text
from dedup_service.commands.tried_json import group_members
from dedup_service.config.file import GroupSettings
from dedup_service.core.other_formats import OTHER_SHAPE
from wire.formats.messages import Found

SHOWN_READINGS, SHOWN_OTHERS, SHOWN_VALUE = 40, 10, 60
DEAD = "for which `run` has dead letters"
HINTS = {
    ("source",): "do the gateways name it differently? Some formats have the option rename for that, see below",
    ("time",): "each gateway's own clock? Let the source stamp its values, or use time-bucket",
    ("value",): "with source-time this would be one reading, and a conflict",
    ("time", "value"): "the others may have lost it, or sample at other moments",
}


def as_text(files: list[Tried], notes: list[str], warnings: list[str], group: GroupSettings | None, unit: str) -> str:
    """`notes` and `warnings`: about all of it. `unit`: what each is, a `file` or a `gateway`."""
    lines = [line for tried in files for line in (*_of_file(tried), "")]
    lines += [
        *_comparison(files, unit),
        *notes,
        *(f"warning: {text}" for text in warnings),
        *(_group_lines(group) if group else []),
    ]
    return "\n".join(map(_printable, lines))


def _group_lines(group: GroupSettings) -> Iterator[str]:
    yield ""
    yield "the same in the groups' file, which `run` reads (docs/groups.md):"
    yield ""
    yield "    groups:"
    members = group_members(group)
    for name, value in members.items():
        text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
        yield f"      {'-' if name == 'name' else ' '} {name}: {text.removesuffix('...' + chr(10)).rstrip()}"
    if "devices" not in members:
        yield "        # devices: these messages name none; where no list stands here, all devices belong to the group"


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
        yield f"  {'':<28} {time_text(copy.found)}  {_value(copy.found)}{again}"
        yield f"  {'':<28} {copy.key.strategy} {copy.key.id}"
    yield from _more(len(tried.copies), SHOWN_READINGS, "readings")
    repeated = len(tried.copies) - len({key_of(copy) for copy in tried.copies})
    if repeated:
        yield f"  {repeated} of them have a key that came in this file before: repetitions"
    others = [(at, part.what) for at, part in tried.not_readings]
    foreign = [(at, what) for at, what in others if what == OTHER_SHAPE and not at[1]]
    fate = "they pass as they are" if tried.passes_on else "which this group drops"
    yield from _list(f"no readings, {fate}", [item for item in others if item not in foreign])
    yield from _list(f"not of this format, {DEAD}", foreign)
    yield from _list(f"without a source time, so no key, {DEAD}", tried.without_time)
    yield from _list(f"refused, {DEAD}", [(at, f"{reason}: {detail}") for at, reason, detail in tried.refused])
    yield from _list("not of this group, so not read", tried.ignored)


def _list(title: str, items: list[tuple[Place, str]]) -> Iterator[str]:
    if items:
        yield f"  {len(items)} {title}:"
        yield from (f"    {_place(at):<26} {what[:200]}" for at, what in items[:SHOWN_OTHERS])
        yield from _more(len(items), SHOWN_OTHERS, "of them")


def _comparison(files: list[Tried], unit: str) -> Iterator[str]:
    copies = sum(len(tried.copies) for tried in files)
    yield f"together: {_counted(copies, 'copy', 'copies')} of {_counted(distinct(files), 'distinct reading')}"
    if len(files) == 1:
        return
    for count, readings in sorted(matches(files).items(), reverse=True):
        yield f"  {readings:>6} in {_holders(count, len(files), unit)}"
    lonely = sorted(differences(files), key=lambda pair: (pair[0].name, pair[1].fields))
    for (name, fields), group in groupby(lonely, key=lambda pair: (pair[0].name, pair[1].fields)):
        found = [difference for _, difference in group]
        yield f"{name}: {_counted(len(found), 'reading')} that no other {unit} has; {_reason(found[0], fields, unit)}"
        yield from _example(found[0])


def _holders(count: int, of: int, unit: str) -> str:
    if count == 1:
        return f"one {unit} only"
    if count < of:
        return f"{count} {unit}s"
    return f"both {unit}s" if of == 2 else f"all {of} {unit}s"


def _reason(difference: Difference, fields: tuple[str, ...], unit: str) -> str:
    if difference.other is None:
        return f"no other {unit} has its source, or its time and value"
    hint = HINTS.get(fields)
    return f"the nearest copy elsewhere differs in {' and '.join(fields)}" + (f" ({hint})" if hint else "")


def _example(difference: Difference) -> Iterator[str]:
    here, there = difference.copy.found, difference.other.found if difference.other else None
    yield f"    here   {here.source}  {time_text(here)}  {_value(here)}"
    if there:
        apart = ""
        if "time" in difference.fields and None not in (here.time_ns, there.time_ns):
            apart = f"  ({((there.time_ns or 0) - (here.time_ns or 0)) / 1e9:+,.3f} s)"
        yield f"    there  {there.source}  {time_text(there)}  {_value(there)}{apart}"
        if difference.fields == ("source",) and (rename := _rename(here.source, there.source)):
            yield f"    try    --options '{json.dumps({'rename': rename}, ensure_ascii=False)}'"


def _rename(here: str, there: str) -> dict[str, str]:
    """What makes two sources alike that differ in one name; nothing for any others. A quotation mark would end the
    argument."""
    names = list(zip(here.split("/"), there.split("/"), strict=False))
    unlike = [(one, other) for one, other in names if one != other]
    if here.count("/") != there.count("/") or len(unlike) != 1 or "'" in here + there:
        return {}
    one, other = (name.replace("~1", "/").replace("~0", "~") for name in unlike[0])
    return {one: other}


def _place(place: Place) -> str:
    return f"#{place[0]} {place[1]}"


def _value(found: Found) -> str:
    text = json.dumps(found.value, ensure_ascii=False)
    return text if len(text) <= SHOWN_VALUE else f"{text[:SHOWN_VALUE]}…"


def _more(count: int, shown: int, what: str) -> Iterator[str]:
    if count > shown:
        yield f"  … and {count - shown} more {what}; --json has all"


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
