"""Go, which no package index of Python has: tests that need it are left out where it is missing or too old, in CI too."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "go"
PEER = ROOT / "tests" / "go"
BUILD_SECONDS = 300
"""A first build compiles Go's standard library and the SDK."""


def needed() -> tuple[int, int]:
    """The version that the example's go.mod asks for."""
    major, minor = re.findall(r"^go (\d+)\.(\d+)", (EXAMPLE / "go.mod").read_text(), re.MULTILINE)[0]
    return int(major), int(minor)


@cache
def go() -> str | None:
    """Its path, or None where it is missing or too old."""
    path = shutil.which("go")
    if path is None:
        return None
    said = subprocess.run([path, "env", "GOVERSION"], cwd=EXAMPLE, capture_output=True, text=True, check=False).stdout
    found = re.match(r"go(\d+)\.(\d+)", said)
    return path if found and (int(found[1]), int(found[2])) >= needed() else None


def left_out() -> str | None:
    """What is to be said about tests that are left out."""
    version = ".".join(map(str, needed()))
    return None if go() else f"Left out: tests of the Go SDK and of the example in Go, which need Go {version} or newer."


def run(*arguments: str, folder: Path) -> str:
    """What `go` prints. Skips the test where there is no Go."""
    path = go()
    if path is None:
        pytest.skip("needs Go")
    done = subprocess.run([path, *arguments], cwd=folder, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder: Path, to: Path) -> Path:
    """The program that a module's sources make. Skips the test where there is no Go."""
    program = to / folder.name
    run("build", "-buildvcs=false", "-o", str(program), ".", folder=folder)
    return program
