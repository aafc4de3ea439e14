"""A file with its parameters: what it makes and puts out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tree_sitter import Node

from tools.bicep.expressions import Expressions, Scope
from tools.bicep.grammar import leaves, parsed, text
from tools.bicep.model import BicepError, Deployment, Resource, Runtime

TYPES = {"string": str, "int": int, "bool": bool, "object": dict, "array": list}
META = {"parent", "scope", "dependsOn"}


class Template(Expressions):
    """One file with its parameters. Every symbol is evaluated once, when it is first needed."""

    def __init__(self, file: Path, given: dict[str, Any], runtime: Runtime, made: Deployment, group: str | None) -> None:
        super().__init__(file, group, runtime, made)
        self._declared: dict[str, Node] = {}
        self._values: dict[str, Any] = {}
        self._used: set[str] = set()
        self._asked: list[str] = []
        outputs: list[Node] = []
        decorators: list[Node] = []
        for node in parsed(file):
            if node.type == "decorators":
                decorators = node.named_children
                continue
            if node.type == "parameter_declaration":
                self._take(node, decorators, given)
            if node.type in ("parameter_declaration", "variable_declaration", "resource_declaration", "module_declaration"):
                self._declared[_name(node)] = node
            if node.type == "output_declaration":
                outputs.append(node)
            decorators = []
        if unknown := given.keys() - self._declared.keys():
            raise BicepError(f"{file.name}: {unknown} are no parameters")
        for name, node in self._declared.items():
            if node.type in ("resource_declaration", "module_declaration"):
                self.symbol(name, node)
        self.outputs = {_name(node): self._output(node) for node in outputs}
        idle = {
            name for name, node in self._declared.items() if node.type in ("parameter_declaration", "variable_declaration")
        }
        if idle := idle - self._used:
            raise BicepError(f"{file.name}: nothing uses {sorted(idle)}")

    def _take(self, node: Node, decorators: list[Node], given: dict[str, Any]) -> None:
        """A parameter: what is given, or its default; held against its type and decorators."""
        name, type_ = _name(node), TYPES[text(node.named_children[1])]
        if name in given:
            value = given[name]
        elif len(node.named_children) > 2:
            value = self.evaluated(node.named_children[2], {})
        else:
            raise self.error(node, f"{name} is not given")
        if type(value) is not type_:
            raise self.error(node, f"{name} is {value!r}, not a {type_.__name__}")
        for decorator in decorators:
            kind, *arguments = decorator.named_children[0].named_children
            limits = [self.evaluated(child, {}) for argument in arguments for child in argument.named_children]
            if not keeps(text(kind), value, *limits):
                raise self.error(decorator, f"{name} is {value!r}")
        self._values[name] = value

    def _output(self, node: Node) -> Any:
        _, type_, expression = node.named_children
        value = self.evaluated(expression, {})
        if type(value) is not TYPES[text(type_)]:
            raise self.error(node, f"{value!r} is not of that type")
        return value

    def symbol(self, name: str, node: Node) -> Any:
        self._used.add(name)
        if name in self._values:
            return self._values[name]
        if name not in self._declared:
            raise self.error(node, f"{name} is not declared")
        if name in self._asked:
            raise self.error(node, f"{' needs '.join([*self._asked, name])}")
        self._asked.append(name)
        declaration = self._declared[name]
        if declaration.type == "variable_declaration":
            self._values[name] = self.evaluated(declaration.named_children[1], {})
        elif declaration.type == "module_declaration":
            self._values[name] = self._conditionally(declaration, self._module)
        else:
            self._values[name] = self._conditionally(declaration, self._resource)
        self._asked.remove(name)
        return self._values[name]

    def _conditionally(self, node: Node, make: Callable[[Node, Node, dict[str, Any]], Any]) -> Any:
        """What `if` and `for` make of a resource or a module: None, one, or a list."""
        what, body = node.named_children[1], node.named_children[2]
        if body.type == "if_statement":
            return make(what, body.named_children[1], {}) if self.evaluated(body.named_children[0], {}) else None
        if body.type != "for_statement":
            return make(what, body, {})
        names = [text(child) for child in leaves(body.named_children[0], ("loop_variable", "loop_enumerator", "identifier"))]
        items = self.evaluated(body.named_children[1], {})
        return [
            make(what, body.named_children[2], dict(zip(names, (item, index), strict=False)))
            for index, item in enumerate(items)
        ]

    def _resource(self, what: Node, body: Node, scope: Scope) -> Resource:
        type_, _, version = str(self.evaluated(what, scope)).partition("@")
        values = self.evaluated(body, scope)
        parent, above = values.get("parent"), values.get("scope")
        if (parent is None) != (type_.count("/") == 1 or above is not None):
            raise self.error(body, f"{type_} needs a parent or none")
        if parent is not None and type_.rpartition("/")[0] != parent.type:
            raise self.error(body, f"a {parent.type} is no parent of a {type_}")
        name = f"{parent.name}/{values['name']}" if parent is not None else values["name"]
        made = {key: value for key, value in values.items() if key not in META}
        exists = what.next_sibling is not None and what.next_sibling.type == "existing"
        resource = Resource(
            type_, version, name, made, above if above is not None else parent and parent.scope, exists, self.group
        )
        if not exists:
            self._made.resources.append(resource)
        return resource

    def _module(self, what: Node, body: Node, scope: Scope) -> dict[str, Any]:
        values = self.evaluated(body, scope)
        group = values["scope"].name if "scope" in values else self.group
        file = self.file.parent / self.evaluated(what, scope)
        outputs = Template(file, values.get("params", {}), self._runtime, self._made, group).outputs
        self._made.between.append(outputs)
        return {"outputs": outputs}


def _name(node: Node) -> str:
    return text(node.named_children[0])


def keeps(decorator: str, value: Any, limit: Any = None) -> bool:
    match decorator:
        case "allowed":
            return bool(value in limit)
        case "minLength":
            return len(value) >= int(limit)
        case "maxLength":
            return len(value) <= int(limit)
    return decorator in ("description", "secure")


def evaluate(file: Path, parameters: dict[str, Any], runtime: Runtime) -> Deployment:
    """Raises BicepError."""
    made = Deployment()
    made.outputs = Template(file, parameters, runtime, made, None).outputs
    return made
