"""A second try hides nothing: it is told, and the pure tests and the simulation have none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.second_try import ONE_TRY, has_second_try

ROOT = Path(__file__).parents[3]


def result_of(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Of a run of one test whose body may use `tries`, a file that outlives its tries."""
    test = folder / "test_it.py"
    test.write_text(f"from pathlib import Path\ntries = Path({str(folder / 'tries')!r})\n\ndef test_it():\n    {body}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.support.second_try", str(test)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_test_that_fails_once_passes_and_its_first_try_is_told_with_its_reason(tmp_path: Path) -> None:
    result = result_of(tmp_path, "first = not tries.exists(); tries.touch(); assert not first, 'the port was taken'")
    assert result.returncode == 0, result.stdout
    assert "First tries that failed" in result.stdout
    assert "the port was taken" in result.stdout
    assert "1 passed, 1 rerun" in result.stdout


def test_a_test_that_fails_twice_fails(tmp_path: Path) -> None:
    result = result_of(tmp_path, "assert False")
    assert result.returncode == 1, result.stdout
    assert "1 failed, 1 rerun" in result.stdout


@pytest.mark.parametrize("folder", ONE_TRY)
def test_what_does_not_depend_on_the_machine_has_one_try(folder: str) -> None:
    assert (ROOT / "tests" / folder).is_dir()
    assert not has_second_try(ROOT / "tests" / folder / "test_it.py")
