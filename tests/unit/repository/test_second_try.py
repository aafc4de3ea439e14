"""A second try hides nothing: it is told, and a test has one only where the machine may be to blame."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.second_try import LATE, SECOND_TRY, errors_tried_again

TESTS = Path(__file__).parents[2]
RAISES = "from sandbox.peers.processes import ProcessError\n    if is_first: raise"


def result_of(tmp_path: Path, body: str, *options: str, folder: str = "integration") -> subprocess.CompletedProcess[str]:
    """Of a run of one test whose body may use `is_first`, whether this is its first try."""
    test = tmp_path / "tests" / folder / "test_it.py"
    test.parent.mkdir(parents=True)
    tries = f"tries = Path({str(tmp_path / 'tries')!r})"
    lines = ["from pathlib import Path", tries, "def test_it():", "    is_first = not tries.exists()", "    tries.touch()"]
    test.write_text("\n".join([*lines, f"    {body}", ""]))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.support.second_try"]
    command += ["-c", str(tmp_path / "pytest.ini"), "--timeout=60", *options, str(test)]
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    return subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, timeout=150, check=False)


def test_a_test_that_fails_once_passes_and_its_first_try_is_told_with_its_reason(tmp_path: Path) -> None:
    result = result_of(tmp_path, "assert not is_first, 'the port was taken'")
    assert result.returncode == 0, result.stdout
    assert "First tries that failed" in result.stdout
    assert "the port was taken" in result.stdout
    assert "1 passed, 1 rerun" in result.stdout


def test_a_test_that_fails_twice_fails(tmp_path: Path) -> None:
    result = result_of(tmp_path, "assert False")
    assert result.returncode == 1, result.stdout
    assert "1 failed, 1 rerun" in result.stdout


def test_the_second_try_has_a_time_out_too(tmp_path: Path) -> None:
    result = result_of(tmp_path, "assert not is_first; import time; time.sleep(60)", "--timeout=2")
    assert result.returncode == 1, result.stdout
    assert "Timeout" in result.stdout


def test_a_crash_is_not_tried_again(tmp_path: Path) -> None:
    result = result_of(tmp_path, "import os; os._exit(3) if is_first else None", "-n", "1")
    assert result.returncode == 1, result.stdout
    assert "1 failed" in result.stdout


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("assert not is_first", 1),
        ("if is_first: raise TimeoutError", 0),
        ("import pytest; is_first and pytest.fail('late')", 0),
        (f"{RAISES} ProcessError('hub said nothing within 9 s')", 0),
        (f"{RAISES} ProcessError('hub ended unexpectedly')", 1),
    ],
)
def test_of_an_acceptance_test_only_what_came_too_late_is_tried_again(tmp_path: Path, body: str, code: int) -> None:
    result = result_of(tmp_path, body, folder="acceptance")
    assert result.returncode == code, result.stdout


def test_what_does_not_depend_on_the_machine_has_one_try() -> None:
    assert all((TESTS / folder).is_dir() for folder in SECOND_TRY)
    for folder in ("simulation", "property", "unit/wire", "unit/service/core", "unit/service/processing", "chart"):
        assert not errors_tried_again(TESTS, TESTS / folder / "test_it.py")
    assert errors_tried_again(TESTS, TESTS / "acceptance" / "test_it.py") == LATE
