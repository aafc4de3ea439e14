"""File systems of a few MB, where this machine permits to mount them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_refused: list[str] = []


def left_out() -> str | None:
    """A line for the end of the tests, if some were left out."""
    return f"Skipped: tests on file systems of a few MB, which can't be mounted here ({_refused[0]})." if _refused else None


@dataclass(frozen=True)
class SmallDisk:
    path: Path

    def fill(self) -> None:
        """To the last byte."""
        with (self.path / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                return

    def empty(self) -> None:
        (self.path / "filler").unlink()

    def remount(self, options: str) -> None:
        _mount("-o", f"remount,{options}", str(self.path))


@contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator[SmallDisk]:
    """Skips the test where mounting is not permitted."""
    path = folder / "disk"
    path.mkdir()
    try:
        _mount("-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(path))
    except (OSError, subprocess.CalledProcessError) as error:
        why = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else str(error)
        _refused.append(why)
        pytest.skip(f"no file system can be mounted here: {why}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)  # noqa: S607  # a fixed command


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True, text=True)  # noqa: S607  # a fixed command
