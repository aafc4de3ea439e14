"""`python -m tools.rooms`: which room imports which, package by package, from the top floor down.

A room is a folder of a package, or a module that stands beside the folders. Imports run one way: a room may import the rooms
below it, never one above it or beside it. `ORDER` is where that order is written down; a test holds the code to it.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[1]

ORDER: dict[str, tuple[tuple[str, ...], ...]] = {
    "dedup_service": (
        ("__main__",),
        ("bootstrap",),
        ("service", "commands", "adapters"),
        ("partitions", "api"),
        ("processing", "observability", "rebuild"),
        ("config", "joined", "waiting"),
        ("telemetry", "ports"),
        ("core",),
        ("errors",),
    ),
    "edge_sender": (
        ("__main__",),
        ("commands",),
        ("bootstrap", "observability"),
        ("sender", "sources"),
        ("company", "namesakes"),
        ("buffering", "clocks", "election", "peers", "uplinks", "witnesses", "config"),
        ("identity", "turns"),
        ("ports", "counters", "reading", "survey"),
    ),
    "sandbox": (
        ("__main__",),
        ("chaos", "drill"),
        ("demo", "plant"),
        ("hub", "audit", "peers"),
        ("amqp",),
    ),
    "wire": (
        ("formats",),
        ("ids",),
        ("backoff", "cancellation", "canonical_json", "cloudevents", "content_encoding", "json_pointers", "times", "uris"),
    ),
}
"""The rooms of each package, floor by floor; rooms of one floor do not import each other."""

PACKAGES = {
    "benchmarks": {"dedup_service", "edge_sender", "sandbox", "wire"},
    "dedup_service": {"wire"},
    "edge_sender": {"wire"},
    "sandbox": {"wire"},
}
"""Which other packages of this repository a package may import; nothing where it is not named."""

Imports = Counter[tuple[str, str]]
"""(importing room, imported room) and in how many statements."""


def rooms(package: Path) -> list[str]:
    """The folders and modules of a package, without its `__init__`."""
    found = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    return sorted(found - {"__init__"})


def imported_modules(file: Path) -> Iterator[str]:
    """Dotted names of everything that a file imports; of `from a import b` both `a` and `a.b`, since b may be a module."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_between_rooms(package: Path) -> Imports:
    known, found = set(rooms(package)), Imports()
    for file in package.rglob("*.py"):
        importing = file.relative_to(package).with_suffix("").parts[0]
        modules = {tuple(name.split(".")[:2]) for name in imported_modules(file)}
        for head, *rest in modules:
            if head == package.name and rest and rest[0] in known and rest[0] != importing:
                found[importing, rest[0]] += 1
    return found


def packages_imported(package: Path) -> set[str]:
    """Other packages of this repository."""
    names = {name.split(".")[0] for file in package.rglob("*.py") for name in imported_modules(file)}
    return {name for name in names if (package.parent / name / "__init__.py").exists()} - {package.name}


def floors(package: Path) -> list[list[str]]:
    """Every room as low as its imports allow, the top floor first; rooms of a circle come together, at the top."""
    below: dict[str, set[str]] = {room: set() for room in rooms(package)}
    for importing, imported in imports_between_rooms(package):
        if importing in below:
            below[importing].add(imported)
    found: list[list[str]] = []
    while below:
        placed = set(chain.from_iterable(found))
        floor = [room for room, needs in below.items() if needs <= placed] or list(below)
        found.append(floor)
        below = {room: needs for room, needs in below.items() if room not in floor}
    return found[::-1]


def wrong_ways(package: Path) -> list[str]:
    """Imports against the order, and rooms that are missing in it, as sentences."""
    level = {room: depth for depth, floor in enumerate(ORDER[package.name]) for room in floor}
    present = set(rooms(package))
    found = [f"{package.name}/{room} is missing in ORDER (tools/rooms.py)" for room in sorted(present - level.keys())]
    found += [
        f"ORDER (tools/rooms.py) names {package.name}/{room}, which is gone" for room in sorted(level.keys() - present)
    ]
    for importing, imported in sorted(imports_between_rooms(package)):
        if importing in level and imported in level and level[importing] >= level[imported]:
            found.append(f"{package.name}/{importing} imports {imported}, which is not below it")
    return found


def picture(package: Path) -> str:
    imports = imports_between_rooms(package)
    tops = floors(package)
    counted = f"{len(imports)} arrows between them, of {imports.total()} imports"
    lines = [f"{package.name}: {len(rooms(package))} rooms on {len(tops)} floors, {counted}"]
    for number, floor in zip(range(len(tops), 0, -1), tops, strict=True):
        for room in floor:
            used = [f"{imported} {count}" for (importing, imported), count in sorted(imports.items()) if importing == room]
            lines.append(f"  {number:2}  {room:<14} {'-> ' + ', '.join(used) if used else ''}".rstrip())
    return "\n".join(lines)


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT
    packages = [root / name for name in ORDER if (root / name).is_dir()]
    print("\n\n".join(picture(package) for package in packages))
    wrong = [sentence for package in packages for sentence in wrong_ways(package)]
    if wrong:
        raise SystemExit("\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
