"""Kubernetes' own schemas for what the chart hands through as it is, with what only the API server would refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

Schema = dict[str, Any]

VERSION = "1.37"
"""The newest whose schemas are available, so that no field of a newer cluster is refused."""
QUANTITY: Schema = {
    "type": ["string", "number"],
    "pattern": r"^[0-9]+(\.[0-9]+)?([munkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]+)?$",
    "minimum": 0,
}
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_KEPT = {"type", "items", "properties", "required", "enum", "additionalProperties", "oneOf", "anyOf", "$ref"}
"""Constraints; the rest is prose, and hints for merging."""


def definitions(names: set[str]) -> dict[str, Schema]:
    """Those with these names, such as io.k8s.api.core.v1.Toleration, and all that they refer to."""
    path = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{VERSION}.0-local-strict" / "_definitions.json"
    known = {**json.loads(path.read_text())["$defs"], _QUANTITY: QUANTITY}
    found: dict[str, Schema] = {}
    wanted = sorted(names)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = known[name] if name == _QUANTITY else _strict(known[name])
            wanted += sorted(_referred(found[name]))
    return dict(sorted(found.items()))


def _strict(schema: Schema) -> Schema:
    """Constraints only, without unknown fields, and with references within one document."""
    kept = {name: part for name, part in schema.items() if name in _KEPT}
    if "$ref" in kept:
        return {"$ref": "#/$defs/" + kept["$ref"].rpartition("/")[2]}
    if "properties" in kept:
        kept["properties"] = {name: _strict(part) for name, part in kept["properties"].items()}
        kept["additionalProperties"] = False
    for name in ("items", "additionalProperties"):
        if isinstance(kept.get(name), dict):
            kept[name] = _strict(kept[name])
    for name in ("oneOf", "anyOf"):
        if name in kept:
            kept[name] = [_strict(part) for part in kept[name]]
    return kept


def _referred(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for part in schema.values():
            yield from _referred(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _referred(part)
