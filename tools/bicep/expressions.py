"""The value of an expression, given what its names stand for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tree_sitter import Node

from tools.bicep.functions import functions
from tools.bicep.grammar import text, values
from tools.bicep.model import BicepError, Deployment, Read, Resource, Runtime

Scope = dict[str, Any]
"""Names of loops, which hide those of the file."""


class Expressions:
    def __init__(self, file: Path, group: str | None, runtime: Runtime, made: Deployment) -> None:
        self.file, self.group, self._runtime, self._made = file, group, runtime, made
        self._functions = functions(file.parent, group)

    @abstractmethod
    def symbol(self, name: str, node: Node) -> Any:
        """What a name of the file stands for. Raises BicepError."""

    def evaluated(self, node: Node, scope: Scope) -> Any:
        kinds: dict[str, Callable[[Node, dict[str, Any]], Any]] = {
            "string": self._string,
            "number": lambda n, _: int(text(n)),
            "boolean": lambda n, _: text(n) == "true",
            "null": lambda _n, _s: None,
            "identifier": lambda n, s: s[text(n)] if text(n) in s else self.symbol(text(n), n),
            "parenthesized_expression": lambda n, s: self.evaluated(n.named_children[0], s),
            "array": lambda n, s: [self.evaluated(child, s) for child in values(n)],
            "object": self._object,
            "ternary_expression": self._choice,
            "unary_expression": self._unary,
            "binary_expression": self._binary,
            "subscript_expression": lambda n, s: self._at(n, *(self.evaluated(child, s) for child in n.named_children)),
            "member_expression": lambda n, s: self._at(n, self.evaluated(n.named_children[0], s), text(n.named_children[1])),
            "call_expression": self._call,
        }
        if node.type not in kinds:
            raise self.error(node, f"{node.type} is not understood")
        value = kinds[node.type](node, scope)
        is_whole = not node.parent or node.parent.type not in ("member_expression", "subscript_expression")
        return self._settled(value) if isinstance(value, Read) and is_whole else value

    def _settled(self, read: Read) -> Any:
        resource = read.resource
        self._made.reads.add((f"{resource.type}@{resource.api_version}", read.path))
        return self._runtime(resource.type, read.path)

    def _string(self, node: Node, scope: Scope) -> str:
        parts = []
        for child in node.named_children:
            if child.type == "interpolation":
                value = self.evaluated(child.named_children[0], scope)
                if not isinstance(value, str | int) or isinstance(value, bool):
                    raise self.error(child, f"{value!r} is not a text")
                parts.append(str(value))
            else:
                parts.append(text(child))
        return "".join(parts)

    def _object(self, node: Node, scope: Scope) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for pair in values(node):
            key, value = pair.named_children
            name = self._string(key, scope) if key.type == "string" else text(key)
            if name in made:
                raise self.error(pair, f"{name} is there twice")
            made[name] = self.evaluated(value, scope)
        return made

    def _choice(self, node: Node, scope: Scope) -> Any:
        condition, one, other = node.named_children
        return self.evaluated(one if self.evaluated(condition, scope) else other, scope)

    def _unary(self, node: Node, scope: Scope) -> Any:
        if not text(node).startswith("!"):
            raise self.error(node, "is not understood")
        return not self.evaluated(node.named_children[0], scope)

    def _binary(self, node: Node, scope: Scope) -> Any:
        left, right = (self.evaluated(child, scope) for child in node.named_children)
        if "*" not in text(node) or type(left) is not int or type(right) is not int:
            raise self.error(node, "is not understood")
        return left * right

    def _at(self, node: Node, value: Any, key: Any) -> Any:
        match value:
            case Resource() if key == "id":
                return value.id
            case Resource() if key == "name":
                return value.name.rpartition("/")[2]
            case Resource():
                return Read(value, key)
            case Read():
                return Read(value.resource, f"{value.path}.{key}")
            case dict() | list():
                try:
                    return value[key]
                except (KeyError, IndexError):
                    raise self.error(node, f"there is no {key}") from None
        raise self.error(node, f"{value!r} has no {key}")

    def _call(self, node: Node, scope: Scope) -> Any:
        name = text(node.named_children[0])
        arguments = [self.evaluated(child, scope) for child in node.named_children[1].named_children]
        if name not in self._functions:
            raise self.error(node, f"{name} is not understood")
        try:
            return self._functions[name](*arguments)
        except TypeError as error:
            raise self.error(node, str(error)) from None

    def error(self, node: Node, what: str) -> BicepError:
        return BicepError(f"{self.file.name}:{node.start_point.row + 1}: {text(node).splitlines()[0]}: {what}")
