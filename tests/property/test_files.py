"""Whatever happens to a file, every line that was complete on disk is read exactly once."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.unit.edge.sources.files.test_rotation import Reader, line

MOST_OLD = 4
"""Late writes reach as many parts back as a reader keeps open."""


class FileMachine(RuleBasedStateMachine):
    """A writer, a rotation and a reader that crashes, at any moment between two of their steps."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "a.log"
        self.reader = Reader(self.path)
        self.expected: list[str] = []
        self.unfinished: dict[int, tuple[bytes, str]] = {}
        """By inode: what is still to be written of which line."""
        self.count = 0
        self.path.touch()
        self._write(self.path, cut=None)
        self.reader.passes(1)  # a first start begins with the file itself, whatever there was before

    def teardown(self) -> None:
        self.reader.passes(4)
        unfinished = {name for _, name in self.unfinished.values()}
        assert sorted(self.reader.found) == sorted(name for name in self.expected if name not in unfinished)
        assert self.reader.skipped == 0
        self.reader.crash()
        shutil.rmtree(self.folder)

    def _write(self, path: Path, *, cut: int | None) -> None:
        inode = path.stat().st_ino
        self.count += 1
        name = f"{self.count}" * (1 + self.count % 7 * 20)
        content = self.unfinished.pop(inode, (b"", ""))[0] + line(name)
        self.expected.append(name)
        if cut is not None:
            self.unfinished[inode] = content[-cut:], name
            content = content[:-cut]
        with path.open("ab") as file:
            file.write(content)

    @rule(cut=st.none() | st.integers(1, 9))
    def write(self, cut: int | None) -> None:
        self._write(self.path, cut=cut)

    @rule(number=st.integers(1, MOST_OLD))
    def write_late(self, number: int) -> None:
        old = self.folder / f"a.log.{number}"
        if old.exists() and old.stat().st_ino in self.unfinished:
            self._write(old, cut=None)

    def _shift(self) -> None:
        for number in range(30, 0, -1):
            if (old := self.folder / f"a.log.{number}").exists():
                old.rename(self.folder / f"a.log.{number + 1}")

    @rule()
    def rotate(self) -> None:
        self._finish_oldest()
        self._shift()
        self.path.rename(self.folder / "a.log.1")
        self.path.touch()

    def _finish_oldest(self) -> None:
        """Nobody still writes to a part that is older than those that a reader keeps."""
        old = self.folder / f"a.log.{MOST_OLD - 1}"
        if old.exists() and old.stat().st_ino in self.unfinished:
            self._write(old, cut=None)

    @precondition(lambda self: self.path.stat().st_ino not in self.unfinished)
    @rule()
    def copy_and_empty(self) -> None:
        self._finish_oldest()
        self._shift()
        shutil.copyfile(self.path, self.folder / "a.log.1")
        os.truncate(self.path, 0)

    @rule()
    def read(self) -> None:
        self.reader.passes(1)

    @rule(lines=st.integers(1, 5))
    def read_and_crash(self, lines: int) -> None:
        """In the middle of a pass, with what was read so far committed."""
        for _, _ in zip(self.reader.steps(), range(lines), strict=False):
            pass
        self.reader.crash()

    @precondition(lambda self: self.unfinished)
    @rule()
    def finish(self) -> None:
        if self.path.stat().st_ino in self.unfinished:
            self._write(self.path, cut=None)


TestFiles = FileMachine.TestCase
TestFiles.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
