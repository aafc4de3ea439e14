"""Runs the steps of the Dockerfile without Docker: a folder takes the place of the image's file system."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = "base"
VENV = "/opt/venv"
ACCOUNTS = "groupadd"
"""Marks the step that creates the user, which is skipped because a folder has no users."""
SYSTEM_PACKAGES = "apt-get"
"""Marks a step that would change this machine. The compiler is that of this machine, if it has one."""

INSTALL_TRIES = 3
"""Of a step that needs a package index, whose connection may break in the middle of a file."""


@dataclass
class Stage:
    name: str
    parent: str
    steps: list[tuple[str, str]] = field(default_factory=list)


def stages() -> dict[str, Stage]:
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    by_name: dict[str, Stage] = {}
    current: Stage | None = None
    for line in text.splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            parent, _, name = rest.partition(" AS ")
            current = by_name[name] = Stage(name, parent)
        elif current is not None and instruction.isupper():
            current.steps.append((instruction, rest.strip()))
    return by_name


@dataclass
class Image:
    """The image of one build target; each stage has its own folder below the root."""

    root: Path
    target: str
    venv: Path | None = None
    """The folder in which it was created, because a virtual environment does not work elsewhere."""
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    def build(self) -> None:
        self._build(stages()[self.target])

    def _build(self, stage: Stage) -> None:
        if stage.parent in stages():
            self._build(stages()[stage.parent])
        for instruction, rest in stage.steps:
            if instruction == "COPY" and rest.startswith("--from="):
                self._copy_from(rest.partition("=")[2].partition(" ")[0], rest.split()[-1])
            elif instruction == "COPY":
                *sources, destination = rest.split()
                self._copy(sources, self.inside(destination))
            elif instruction == "RUN" and ACCOUNTS not in rest and SYSTEM_PACKAGES not in rest:
                self._run(rest)
            elif instruction == "ENV":
                self.environment |= dict(pair.split("=", 1) for pair in rest.split())
            elif instruction == "USER":
                self.user = rest
            elif instruction in ("ENTRYPOINT", "CMD"):
                words = [str(word) for word in json.loads(rest)]
                self.entrypoint, self.command = (words, []) if instruction == "ENTRYPOINT" else (self.entrypoint, words)
            elif instruction == "HEALTHCHECK":
                self.healthcheck = [str(word) for word in json.loads(rest.partition(" CMD ")[2])]

    def _copy_from(self, stage: str, path: str) -> None:
        other = Image(self.root, stage)
        if not (self.root / stage).exists():
            other.build()
        if path == VENV:
            self.venv = other.inside(path)
        else:
            shutil.copytree(other.inside(path), self.inside(path))

    def inside(self, path: str) -> Path:
        return self.venv if path == VENV and self.venv else self.root / self.target / path.lstrip("/")

    def _copy(self, sources: list[str], destination: Path) -> None:
        for source in sources:
            path = ROOT / source
            if path.is_dir():
                shutil.copytree(path, destination, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            else:
                is_folder = destination.is_dir() or len(sources) > 1
                (destination if is_folder else destination.parent).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, destination)

    def variables(self) -> dict[str, str]:
        """The image's environment variables, and those of this process that pip needs to reach its index."""
        path = f"{self.inside(VENV) / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.defpath}"
        kept = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name.endswith("_CA_BUNDLE")}
        return {**kept, **self.environment, "PATH": path, "HOME": str(self.root)}

    def _run(self, line: str) -> None:
        for name in (VENV, "/src", "/wheels", "/var/lib/edge-sender"):
            line = line.replace(name, str(self.inside(name)))
        line = line.replace("python -m venv", f"{sys.executable} -m venv")
        shell = shutil.which("bash") or "/bin/sh"
        tries = INSTALL_TRIES if "pip install" in line else 1
        for _ in range(tries):
            done = subprocess.run([shell, "-euc", line], env=self.variables(), capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
        pytest.fail(done.stdout + done.stderr)
