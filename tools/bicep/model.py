"""What a deployment consists of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Runtime = Callable[[str, str], Any]
"""Type of a resource, path of a property → value."""
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"


class BicepError(ValueError):
    """What a compiler or a deployment would refuse. The message begins with file and line."""


@dataclass(slots=True)
class Resource:
    type: str
    api_version: str
    name: str
    """With the names of its parents, as in an id."""
    body: dict[str, Any]
    scope: Resource | None
    exists: bool
    """Referred to, not made."""
    group: str | None

    @property
    def id(self) -> str:
        if self.type == "Microsoft.Resources/resourceGroups":
            return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{self.name}"
        provider, *kinds = self.type.split("/")
        pairs = "/".join(f"{kind}/{name}" for kind, name in zip(kinds, self.name.split("/"), strict=True))
        above = self.scope.id if self.scope else f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{self.group}"
        return f"{above}/providers/{provider}/{pairs}"


@dataclass(slots=True)
class Deployment:
    resources: list[Resource] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    between: list[dict[str, Any]] = field(default_factory=list)
    """Outputs of the modules, which whoever may read deployments sees as well."""
    reads: set[tuple[str, str]] = field(default_factory=set)
    """What was asked from running resources: (type@version, path)."""


@dataclass(slots=True)
class Read:
    """A property of a running resource, perhaps in the middle of its path."""

    resource: Resource
    path: str
