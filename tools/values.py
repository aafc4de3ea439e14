"""Reads values.yaml with its comments, from which the chart's schema and README are generated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z][A-Za-z0-9_]*):(?: (?P<rest>.*))?$")
_COMMENT = re.compile(r"^ *# ?(?P<text>.*)$")


@dataclass(frozen=True, slots=True)
class Value:
    path: tuple[str, ...]
    default: Any
    description: str


def values_with_comments(path: Path) -> list[Value]:
    """The values in the order of the file. Raises ValueError if a value that is not a section has no comment."""
    text = path.read_text()
    defaults = yaml.safe_load(text)
    values: list[Value] = []
    parents: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if match := _COMMENT.match(line):
            comment.append(match["text"])
            continue
        if match := _KEY.match(line):
            parents = [*parents[: len(match["indent"]) // 2], match["key"]]
            default = _lookup(defaults, parents)
            is_section = isinstance(default, dict) and not match["rest"] and default
            if comment:
                values.append(Value(tuple(parents), default, " ".join(comment)))
            elif not is_section and not _is_inside(values, parents):
                raise ValueError(f"{path.name}: {'.'.join(parents)} has no comment")
        comment = []
    return values


def _lookup(values: Any, path: list[str]) -> Any:
    for name in path:
        values = values[name]
    return values


def _is_inside(values: list[Value], path: list[str]) -> bool:
    """Whether the path is inside a map that is described as a whole."""
    return any(tuple(path[: len(value.path)]) == value.path for value in values)
