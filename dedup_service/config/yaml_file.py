"""A YAML file of which every mistake can be told with its line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dedup_service.config.unknown_fields import Location, field_name

MAX_DEPTH = 8
"""More levels than the file can have; an alias may contain itself."""


class Mistake(NamedTuple):
    at: Location
    problem: str
    line: int | None = None
    """None: that of the place."""


@dataclass(frozen=True, slots=True)
class YamlFile:
    path: Path
    content: Any
    node: Any
    lines: dict[Location, int]
    """Of every value; for a member of a mapping, the line of its name."""

    def explain(self, mistakes: Sequence[Mistake]) -> str:
        """There is at least one."""
        told = sorted(mistakes, key=self._line)
        texts = [f"line {self._line(item)}: {field_name(item.at) or 'the file'}: {item.problem}" for item in told]
        if len(texts) == 1:
            return f"{self.path}, {texts[0]}"
        return "\n  ".join([f"{self.path} has {len(texts)} mistakes:", *texts])

    def _line(self, mistake: Mistake) -> int:
        known = mistake.at
        while known and known not in self.lines:
            known = known[:-1]
        return mistake.line or self.lines.get(known, 1)

    def repeated_names(self) -> Iterator[Mistake]:
        """YAML would keep the last and forget the others, such as all groups under an earlier `groups:`."""
        return _repeated_names(self.node, ())


def read_yaml(path: Path) -> YamlFile:
    """Raises OSError; yaml.YAMLError; ValueError when it is not text, or has an impossible date."""
    text = path.read_text()
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        return YamlFile(path, {}, None, {})
    return YamlFile(path, yaml.safe_load(text), node, dict(_lines(node, ())))


def _repeated_names(node: Any, location: Location) -> Iterator[Mistake]:
    children: list[tuple[int | str, Any]] = []
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for name, value in node.value:
            line = name.start_mark.line + 1
            if name.value in seen:
                yield Mistake((*location, name.value), f"is given twice, first in line {seen[name.value]}", line)
            seen[name.value] = line
            children.append((name.value, value))
    elif isinstance(node, yaml.SequenceNode):
        children = list(enumerate(node.value))
    if len(location) < MAX_DEPTH:
        for step, child in children:
            yield from _repeated_names(child, (*location, step))


def _lines(node: Any, location: Location) -> Iterator[tuple[Location, int]]:
    yield location, node.start_mark.line + 1
    if len(location) >= MAX_DEPTH:
        return
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield from _lines(value, (*location, name.value))
            yield (*location, name.value), name.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*location, index))
