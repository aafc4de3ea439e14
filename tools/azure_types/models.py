"""The classes of a package as types: under which names, and of what kind, Azure takes and returns their properties.

Two generations of generated code are read. The older one has tables (`_attribute_map`, `_validation`) and says in `__init__`
what is an enumeration; the newer one has one `rest_field` for each property. Types stay what they are there: annotations.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from zipfile import ZipFile

CLASS = re.compile(r"^class (\w+)", re.MULTILINE)


@dataclass(slots=True)
class Property:
    type: ast.expr | dict[str, Property]
    """An annotation, or what is nested in the older generation without a class of its own."""
    required: bool = False
    read_only: bool = False
    limits: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Library:
    """One API version: a folder of a wheel that holds `models` and `operations`."""

    wheel: ZipFile
    folder: str

    def modules(self, pattern: str) -> Iterator[str]:
        for name in self.wheel.namelist():
            if re.fullmatch(re.escape(self.folder) + pattern, name):
                yield self.wheel.read(name).decode()

    @cached_property
    def sources(self) -> dict[str, str]:
        """Of each class. A module of models has up to a hundred thousand lines, of which some hundred matter."""
        texts = [
            part for module in self.modules(r"/models/_\w+\.py") for part in re.split("^(?=class )", module, flags=re.M)
        ]
        return {found[1]: text for text in texts if (found := CLASS.match(text))}

    def literals(self, name: str) -> list[str] | None:
        """The values of an enumeration; None of any other class."""
        (node,) = ast.parse(self.sources[name]).body
        assert isinstance(node, ast.ClassDef)
        if "Enum" not in [ast.unparse(base) for base in node.bases]:
            return None
        return [ast.literal_eval(one.value) for one in node.body if isinstance(one, ast.Assign)]

    def properties(self, name: str) -> dict[str, Property]:
        """With those of its bases, by their names in Azure."""
        (node,) = (one for one in ast.parse(self.sources[name]).body if isinstance(one, ast.ClassDef))
        bases = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id in self.sources]
        inherited = {key: one for base in bases for key, one in self.properties(base).items()}
        return inherited | _fields(node) | _mapped(node)


def _fields(node: ast.ClassDef) -> dict[str, Property]:
    """Of the newer generation."""
    found = {}
    for one in node.body:
        match one:
            case ast.AnnAssign(
                target=ast.Name(id=name), value=ast.Call(func=ast.Name(id="rest_field" | "rest_discriminator"))
            ):
                assert isinstance(one.value, ast.Call)
                given = {each.arg: each.value for each in one.value.keywords}
                read_only = "visibility" in given and ast.literal_eval(given["visibility"]) == ["read"]
                is_optional = ast.unparse(one.annotation).startswith("Optional[")
                rest_name = ast.literal_eval(given["name"]) if "name" in given else name
                found[rest_name] = Property(one.annotation, not is_optional and not read_only, read_only)
    return found


def _mapped(node: ast.ClassDef) -> dict[str, Property]:
    """Of the older generation, in which a dot in a name leads into an object."""
    tables = {
        ast.unparse(one.targets[0]): ast.literal_eval(one.value)
        for one in node.body
        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) in ("_attribute_map", "_validation")
    }
    starts = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
    annotations = {one.arg: one.annotation for start in starts for one in start.args.kwonlyargs if one.annotation}
    found: dict[str, Property] = {}
    for name, mapped in tables.get("_attribute_map", {}).items():
        limits = tables.get("_validation", {}).get(name, {})
        type_ = annotations.get(name, ast.parse(_annotation(mapped["type"]), mode="eval").body)
        *path, last = (part.replace("\\.", ".") for part in re.split(r"(?<!\\)\.", mapped["key"]))
        level = found
        for part in path:
            inner = level.setdefault(part, Property({})).type
            assert isinstance(inner, dict)
            level = inner
        level[last] = Property(type_, limits.pop("required", False), limits.pop("readonly", False), limits)
    return found


def _annotation(mapped: str) -> str:
    """`[Sku]`, `{str}` and so on of the older generation's tables, as the newer one writes it."""
    if mapped[0] in "[{":
        inner = _annotation(mapped[1:-1])
        return f"list[{inner}]" if mapped[0] == "[" else f"dict[str, {inner}]"
    return mapped if mapped in ("str", "bool", "int", "float") else f"_models.{mapped}" if mapped[0].isupper() else "Any"
