"""Where a package takes a resource: from the path of the request it follows of which class the resource must be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from tools.azure_types.models import Library

PACKAGES = (
    "authorization==4.0.0",
    "containerservice==40.2.0",
    "eventhub==11.2.0",
    "iothub==4.0.0",
    "keyvault==12.0.0",
    "loganalytics==14.0.0",
    "monitor==6.0.2",
    "monitor==7.0.0",
    "msi==7.1.0",
    "network==28.1.0",
    "privatedns==2.0.0",
    "redisenterprise==3.1.0",
    "resource==26.0.0",
    "storage==23.1.0",
)
"""Of `azure-mgmt-`, in the release that speaks the API version that deploy/azure names; a release speaks one or a few."""


def download(folder: Path) -> None:
    """Six megabytes. Each for itself, since pip gives no two releases of one package at once."""
    for package in PACKAGES:
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
        done = subprocess.run([sys.executable, "-m", "pip", "download", *options, f"azure-mgmt-{package}"], check=False)
        if done.returncode:
            raise SystemExit(f"azure-mgmt-{package} could not be downloaded; --packages takes a folder that has all wheels")


def libraries(folder: Path) -> Iterator[Library]:
    for file in sorted(folder.glob("*.whl")):
        wheel = ZipFile(file)
        folders = {name.rpartition("/operations/")[0] for name in wheel.namelist() if "/operations/" in name}
        yield from (Library(wheel, name) for name in sorted(folders) if not name.endswith("/aio"))


@dataclass(frozen=True, slots=True)
class Published:
    """The class of a resource's body, that of what Azure answers, and what the name must be."""

    library: Library
    body: ast.expr
    answer: ast.expr
    name_limits: dict[str, Any]


def published(all_: list[Library], type_: str, version: str) -> Published | None:
    """None where no package takes and answers such a resource by this API version."""
    path = _path(type_)
    for library in all_:
        for module in library.modules(r"/operations/_\w+\.py"):
            if f'"{version}"' in module and path.search(module):
                tree = ast.parse(module)
                writes = _requests(tree, "PUT", version, path)
                bodies = [body for method in _callers(tree, writes) for body in _bodies(method)]
                answers = [
                    answer
                    for method in _callers(tree, _requests(tree, "GET", version, path))
                    for answer in _classes(method.returns)
                ]
                if bodies and answers:
                    return Published(library, bodies[0], answers[0], _name_limits(writes[0]))
    return None


def _path(type_: str) -> re.Pattern[str]:
    """That of a resource of this type, as a string of the source."""
    provider, *kinds = type_.split("/")
    within = "/subscriptions/[^/]+" if provider == "Microsoft.Resources" else "/providers/" + re.escape(provider)
    return re.compile(within + "".join(f"/{kind}/[^/\"']+" for kind in kinds) + "(?=[\"']|$)", re.IGNORECASE)


def _requests(tree: ast.Module, verb: str, version: str, path: re.Pattern[str]) -> list[ast.FunctionDef]:
    """The functions that build one."""
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [
        node for node in functions if {verb, version} <= {*_texts(node)} and any(path.search(text) for text in _texts(node))
    ]


def _callers(tree: ast.Module, requests: list[ast.FunctionDef]) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and {one.name for one in requests} & {*_called(node)}:
            yield node


def _texts(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value


def _called(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name):
            yield one.func.id


def _classes(annotation: ast.expr | None) -> list[ast.Attribute]:
    names = ast.walk(annotation) if annotation else ()
    return [one for one in names if isinstance(one, ast.Attribute) and ast.unparse(one.value) == "_models"]


def _bodies(method: ast.FunctionDef) -> Iterator[ast.Attribute]:
    """The class that an argument takes instead of bytes."""
    for one in (*method.args.args, *method.args.kwonlyargs):
        if any(isinstance(node, ast.Name) and node.id == "IO" for node in ast.walk(one)):
            yield from _classes(one.annotation)[:1]


def _name_limits(request: ast.FunctionDef) -> dict[str, Any]:
    """Of the last part of its path."""
    found: dict[str, Any] = {}
    for one in ast.walk(request):
        if isinstance(one, ast.Call) and ast.unparse(one.func) == "_SERIALIZE.url":
            found = {
                each.arg: each.value.value for each in one.keywords if each.arg and isinstance(each.value, ast.Constant)
            }
    return found
