"""Fetches the live tests of the Event Hubs SDK for Python and runs them, unchanged, against the stand-in.

They come from the source distribution of the installed version, through pip and with the lock's hash; nothing of it is kept
in this repository.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.sdk import plugin
from tools.authorities import pip_cert

ROOT = Path(__file__).parents[2]
FOLDERS = ("livetest", "pyamqp_tests/synctests", "pyamqp_tests/asynctests")
LEFT_OUT = {
    "test_receive_partition_using_fault_injector_detach_after_delay": "needs Microsoft's fault injector",
    "test_receive_storage_checkpoint": "needs Azure Resource Manager",
    "test_receive_storage_checkpoint_async": "needs Azure Resource Manager",
    "test_long_wait_small_buffer": "the SDK's own authors skip it",
}
WORKERS = 8
"""Most tests wait most of the time."""
SECONDS = 3600.0


class NotFetchedError(Exception):
    """pip could not download the tests; the text is what it said."""


def locked(package: str) -> str:
    """The lock's lines about a package, as pip takes them."""
    lines = (ROOT / "requirements" / "dev.txt").read_text()
    found = re.search(rf"^{re.escape(package)}==(?:.*\\\n)*.*$", lines, re.MULTILINE)
    assert found is not None, f"{package} is not in the lock"
    return found[0]


def fetch(to: Path) -> Path:
    """The folder with the tests. Raises NotFetchedError."""
    listed = to / "requirements.txt"
    listed.write_text(locked("azure-eventhub"))
    arguments = ["--quiet", "--no-deps", "--no-binary", ":all:", "--require-hashes", "-r", str(listed), "--dest", str(to)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *arguments],
        env={**os.environ, "PIP_CERT": pip_cert()} if pip_cert() else dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NotFetchedError(done.stderr)
    with tarfile.open(next(to.glob("azure_eventhub-*.tar.gz"))) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # which came with Python 3.11.4
        archive.extractall(to)  # noqa: S202  # by its hash
    tests = next(to.glob("azure_eventhub-*/tests"))
    (tests / "conftest.py").unlink()
    return tests


@dataclass
class Result:
    passed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    passed_alone: list[str] = field(default_factory=list)
    """Failed beside others and passed alone: many wait for a fixed time, which is too short where the machine is busy."""

    def unexplained(self) -> set[str]:
        """Tests that were left out for no known reason."""
        return {name for name in self.skipped if name.partition("[")[0].rpartition("::")[2] not in LEFT_OUT}

    def __str__(self) -> str:
        lines = [f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} left out"]
        lines += [f"  passed only alone: {name}" for name in sorted(self.passed_alone)]
        lines += [f"  left out: {name}: {reason}" for name, reason in sorted(self.skipped.items())]
        lines += [f"  FAILED {name}: {text}" for name, text in sorted(self.failed.items())]
        return "\n".join(lines)


def run_all(tests: Path, to: Path) -> Result:
    """Beside each other; those that fail, once more alone."""
    result = run(tests, to)
    if result.failed:
        again = run(tests, to, workers=1, names=result.failed)
        result.passed_alone = again.passed
        result.passed += again.passed
        result.failed = again.failed
    return result


def run(tests: Path, to: Path, *options: str, workers: int = WORKERS, names: Iterable[str] = FOLDERS) -> Result:
    """Run folders, or tests with these names, `workers` at a time."""
    report = to / "report.json"
    report.unlink(missing_ok=True)
    environment = {
        **os.environ,
        plugin.REPORT: str(report),
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(tests))),
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, f"--rootdir={tests}", "--import-mode=importlib"]
    command += ["-p", "tests.sdk.plugin", "-p", "no:cacheprovider", "-n", str(workers), "--dist", "worksteal", "-q"]
    command += ["--timeout=400", "--tb=short", *options, *(str(tests / name) for name in names)]
    done = subprocess.run(command, cwd=tests, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert report.exists(), done.stdout + done.stderr
    return Result(**json.loads(report.read_text()))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        result = run_all(fetch(Path(folder)), Path(folder))
    print(result)
    raise SystemExit(bool(result.failed or result.unexplained()))


if __name__ == "__main__":
    main()
