"""The pages that carry the work on are true: the walk through the code, the rules that are cited, the changelog."""

from __future__ import annotations

import ast
import re
import subprocess
from itertools import chain, pairwise
from pathlib import Path

import pytest

from tools.rooms import imported_modules

ROOT = Path(__file__).parents[3]
SERVICE = ROOT / "dedup_service"
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
STOPS = re.findall(r"^\d+\. `([\w/.]+)` `([\w.]+)`", CONTRIBUTING, re.MULTILINE)


def make(*arguments: str) -> str:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.check_output(command, cwd=ROOT, text=True)


def defined(file: Path) -> set[str]:
    """Functions and classes as `name`, methods as `Class.name`."""
    tree = ast.parse(file.read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    for owner in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        methods = (node for node in owner.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
        names |= {f"{owner.name}.{method.name}" for method in methods}
    return names


@pytest.mark.parametrize(("file", "name"), STOPS, ids=[name for _, name in STOPS])
def test_each_stop_of_the_walk_exists(file: str, name: str) -> None:
    assert name in defined(SERVICE / file.removeprefix("dedup_service/"))


def test_the_walk_goes_from_the_command_to_the_verdict_without_a_leap() -> None:
    files = [file.removeprefix("dedup_service/") for file, _ in STOPS]
    assert (files[0], files[-1]) == ("__main__.py", "core/claims.py")
    for here, there in pairwise(files):
        module = "dedup_service." + there.removesuffix(".py").replace("/", ".")
        is_behind_a_port = there.startswith("adapters/") or here.startswith("adapters/")
        assert is_behind_a_port or module in set(imported_modules(SERVICE / here)), f"{here} does not lead to {there}"


def test_every_rule_that_is_cited_is_in_the_glossary() -> None:
    listed = set(re.findall(r"^\| <a id=\"r\d+a?\"></a>(R\d+a?) \|", GLOSSARY, re.MULTILINE))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    code = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in ("dedup_service", "edge_sender", "wire", "tests"))
    cited = {rule for file in chain(pages, code) for rule in re.findall(r"\bR\d+a?\b", file.read_text())}
    assert {f"R{number}" for number in range(1, 13)} <= listed
    assert cited <= listed


def test_every_version_says_whether_it_may_run_beside_its_predecessor() -> None:
    versions = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    assert versions
    for version in versions:
        assert re.search(r"^May run beside its predecessor: \S", version, re.MULTILINE), version.splitlines()[0]


@pytest.mark.parametrize("target", ["test", "bench", "demo", "lint", "rooms", "azure", "generate", "chaos", "soak", "drill"])
def test_make_lists_every_target_with_its_comment(target: str) -> None:
    listed = make("help")
    assert re.search(rf"^make {target} +\S", listed, re.MULTILINE)


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ("unit", "tests/unit"),
        ("unit/wire contract/test_leases.py", "tests/unit/wire tests/contract/test_leases.py"),
        ("unit/wire/test_ids.py::test_x", "tests/unit/wire/test_ids.py::test_x"),
        ("tests/unit", "tests/unit"),
    ],
)
def test_make_test_takes_folders_and_node_ids(only: str, expected: str) -> None:
    planned = make("-n", "test", f"ONLY={only}")
    assert planned.splitlines()[-1].split("pytest ")[1] == expected
