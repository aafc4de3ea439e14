"""Where a value is not of the published type."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tools.azure_types.models import Library, Property

UNLISTED = {"Microsoft-PrometheusMetrics"}
"""What an enumeration leaves out and the documentation of Managed Prometheus names."""
SCALARS: dict[str, type | tuple[type, ...]] = {"str": str, "bool": bool, "int": int, "float": (int, float), "datetime": str}

Type = ast.expr | dict[str, Property]
"""An annotation of a property, or the properties of an object that has no class of its own."""


def faults(library: Library, type_: Type, value: Any, path: str = "") -> Iterator[str]:
    resolved = resolve(library, type_)
    match resolved:
        case dict():
            yield from _object(library, resolved, value, path)
        case set():
            if value not in resolved | UNLISTED:
                yield f"{path}: {value!r} is none of {sorted(resolved)}"
        case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=choices)):
            # An open enumeration is "a string or one of these": what nobody has published is more likely a slip than new.
            closed = [one for one in choices if isinstance(resolve(library, one), set)] or choices
            yield from min((list(faults(library, one, value, path)) for one in closed), key=len)
        case ast.Subscript(value=ast.Name(id="list" | "List"), slice=items) if isinstance(value, list):
            for item in value:
                yield from faults(library, items, item, f"{path}[]")
        case ast.Subscript(value=ast.Name(id="dict" | "Dict"), slice=ast.Tuple(elts=[_, items])) if isinstance(value, dict):
            for name, item in value.items():
                yield from faults(library, items, item, f"{path}.{name}")
        case ast.Name(id="Any" | "JSON"):
            return
        case ast.Name(id=name) if name in SCALARS and isinstance(value, SCALARS[name]):
            if isinstance(value, bool) and name != "bool":
                yield f"{path}: {value!r} is no {name}"
        case _:
            yield f"{path}: {value!r} is no {ast.unparse(resolved)}"


def resolve(library: Library, type_: Type) -> Type | set[str]:
    """Properties of an object, values of an enumeration, or an annotation that is neither."""
    match type_:
        case ast.Constant(value=str(text)):
            return resolve(library, ast.parse(text, mode="eval").body)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return resolve(library, inner)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            named = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return {value for one in named for value in _values(library, one)}
        case ast.Attribute(attr="datetime"):
            return ast.Name("datetime")
        case ast.Attribute(attr=name):
            literals = library.literals(name)
            return library.properties(name) if literals is None else set(literals)
    return type_


def _values(library: Library, literal: ast.expr) -> list[str]:
    """`"a"`, or `Enumeration.A`, of which all are taken."""
    if isinstance(literal, ast.Attribute) and isinstance(literal.value, ast.Name):
        return library.literals(literal.value.id) or []
    return [ast.literal_eval(literal)]


def _object(library: Library, properties: Mapping[str, Property], value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no object"
        return
    for name, one in properties.items():
        if one.required and name not in value:
            yield f"{path}.{name} is missing"
    for name, item in value.items():
        where = f"{path}.{name}"
        if name not in properties:
            yield f"{where} is no property"
        elif properties[name].read_only:
            yield f"{where} is read only"
        else:
            yield from faults(library, properties[name].type, item, where)
            yield from limit_faults(properties[name].limits, item, where)


def limit_faults(limits: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    """Limits have the names of the older generation; the newer one publishes none."""
    length = len(value) if isinstance(value, str) else limits.get("min_length", 0)
    number = value if isinstance(value, int) else limits.get("minimum", 0)
    if (
        not limits.get("min_length", 0) <= length <= limits.get("max_length", math.inf)
        or not limits.get("minimum", -math.inf) <= number <= limits.get("maximum", math.inf)
        or not re.search(limits.get("pattern", ""), str(value))
    ):
        yield f"{path}: {value!r} is not within {limits}"


def unread(library: Library, type_: Type, path: str) -> Iterator[str]:
    """What a resource has nothing to say about: `properties.hostName`, for example."""
    for name in path.split("."):
        properties = resolve(library, type_)
        if not isinstance(properties, dict) or name not in properties:
            yield f"{path} is no property"
            return
        type_ = properties[name].type
