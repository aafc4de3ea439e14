"""The machine of the spool on a real disk that fills up to the last byte, and is emptied again by somebody else."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from tests.property.test_spool import SpoolMachine, new_folder
from tests.support.small_disks import SmallDisk, small_disk

DISK_MB = 12


class FullDiskMachine(SpoolMachine):
    spool_disk: ClassVar[SmallDisk]
    # No rules here: they need room on the disk, or feign a full one.
    spoil_a_row: ClassVar = None  # type: ignore[assignment]  # how hypothesis forgets a rule
    spoil_a_page: ClassVar = None  # type: ignore[assignment]  # the same
    fill_the_disk: ClassVar = None  # type: ignore[assignment]  # the same

    def _new_folder(self) -> Path:
        self._empty()
        return Path(tempfile.mkdtemp(dir=self.spool_disk.path))

    def teardown(self) -> None:
        super().teardown()
        self._empty()

    def _empty(self) -> None:
        (self.spool_disk.path / "filler").unlink(missing_ok=True)

    @rule()
    def fill(self) -> None:
        self.disk.open()
        self.spool_disk.fill()

    @rule()
    def empty(self) -> None:
        self._empty()

    @rule()
    def crash(self) -> None:
        """In place: another folder would need room."""
        left = new_folder()
        for file in self.folder.iterdir():
            shutil.copy(file, left / file.name)
        self.disk.close()
        for file in self.folder.iterdir():
            file.unlink()
        for file in left.iterdir():
            shutil.copy(file, self.folder / file.name)
        shutil.rmtree(left)
        self._begin_process()

    @precondition(lambda self: self.handed_out)
    @rule(share=st.floats(0.1, 1.0), count=st.integers(0, 5))
    def acknowledge(self, share: float, count: int) -> None:
        could = self.disk.open() is not None and self.disk.reserve.state == "kept"
        before = len(self.handed_out)
        super().acknowledge(share, count)
        assert len(self.handed_out) < before or not could, "with its reserve, it could not remove what the hub has"


def test_nothing_is_lost_on_a_full_disk_and_its_reserve_always_removes_what_the_hub_has(tmp_path: Path) -> None:
    with small_disk(tmp_path, DISK_MB) as disk:
        FullDiskMachine.spool_disk = disk
        run_state_machine_as_test(FullDiskMachine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))
