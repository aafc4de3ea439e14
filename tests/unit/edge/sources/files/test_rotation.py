"""Files that are rotated, copied, emptied, replaced and written to late, on a real file system: what was on disk is read."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge_sender.sources.files.format import CsvDialect, FileFormat
from edge_sender.sources.files.part import ReplacedError
from edge_sender.sources.files.tail import REST_SECONDS, Tail
from edge_sender.sources.plant_times import PlantTimes
from tests.doubles.intake import ListIntake
from tests.support.files import MACHINES, file_source, read, written
from tests.support.senders import until_running
from wire.uris import UriTemplate

JSONL = FileFormat(UriTemplate("urn:{n}"), None, PlantTimes("s"), csv=None)
CSV = FileFormat(UriTemplate("urn:{n}"), None, PlantTimes("s"), csv=CsvDialect())


@dataclass
class Reader:
    """Reads a file as the source does, a pass at a time; `position` is what a spool would have committed."""

    path: Path
    form: FileFormat = JSONL
    rotated: str | None = None
    position: str | None = None
    found: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    skipped: int = 0
    now: float = 0.0
    _tail: Tail | None = None

    def passes(self, number: int = 3) -> list[str]:
        before = len(self.found)
        for _ in range(number):
            for _ in self.steps():
                pass
        return self.found[before:]

    def steps(self) -> Iterator[None]:
        """A pass, with a stop after each line."""
        if self._tail is None:
            self._tail = Tail(self.path, self.rotated, self.form, self.position, lambda: self.now, self.told.append)
        try:
            self._tail.look()
            for taken in self._tail.lines():
                if taken.line.sample is None:
                    self.skipped += 1
                else:
                    self.found.append(taken.line.sample.source.removeprefix("urn:"))
                    self.position = taken.position
                yield
        except ReplacedError:
            pass

    def crash(self) -> None:
        if self._tail is not None:
            self._tail.close()
        self._tail = None


def line(name: str) -> bytes:
    return b'{"n": "%s"}\n' % name.encode()


def append(path: Path, *names: str) -> None:
    with path.open("ab") as file:
        file.write(b"".join(map(line, names)))


@pytest.fixture(params=[False, True], ids=["running", "restarted"])
def crashes(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def started(path: Path, *, crash: bool, form: FileFormat = JSONL, rotated: str | None = None) -> Reader:
    """A reader that has read what there is, and is restarted behind it or not."""
    reader = Reader(path, form, rotated)
    reader.passes()
    if crash:
        reader.crash()
    return reader


def test_a_file_that_was_renamed_is_finished_before_the_new_one(tmp_path: Path, crashes: bool) -> None:
    path = tmp_path / "a.log"
    append(path, "1", "2")
    reader = started(path, crash=crashes)
    append(path, "3")
    path.rename(tmp_path / "a.log.1")
    append(path, "4")
    assert reader.passes() == ["3", "4"]


def test_several_rotations_at_once(tmp_path: Path, crashes: bool) -> None:
    path = tmp_path / "a.log"
    append(path, "1", "2")
    reader = started(path, crash=crashes)
    append(path, "3")
    for number in range(4, 13):
        for old in range(9, 0, -1):
            if (tmp_path / f"a.log.{old}").exists():
                (tmp_path / f"a.log.{old}").rename(tmp_path / f"a.log.{old + 1}")
        path.rename(tmp_path / "a.log.1")
        append(path, str(number))
    assert reader.passes() == [str(number) for number in range(3, 13)]


def test_a_copy_is_finished_when_the_file_was_emptied(tmp_path: Path, crashes: bool) -> None:
    path = tmp_path / "a.log"
    append(path, "1", "2")
    reader = started(path, crash=crashes)
    for number in ("3", "4", "5"):
        append(path, number)
        if (tmp_path / "a.log.1").exists():
            (tmp_path / "a.log.1").rename(tmp_path / f"a.log.{10 - int(number)}")
        shutil.copyfile(path, tmp_path / "a.log.1")
        os.truncate(path, 0)
    append(path, "6", "a line that makes the file longer than it was when it was read")
    assert reader.passes()[:4] == ["3", "4", "5", "6"]
    assert len(reader.found) == 7


def test_names_with_dates_and_names_of_a_pattern(tmp_path: Path, crashes: bool) -> None:
    for rotated, name in ((None, "a.log-20260131"), (None, "a.log.2026-01-31_12:00"), ("old-*", "old-one")):
        folder = tmp_path / name
        folder.mkdir()
        path = folder / "a.log"
        append(folder / "a.log.bak", "never")
        append(folder / "other.1", "never")
        append(path, "1")
        reader = started(path, crash=crashes, rotated=rotated)
        append(path, "2")
        path.rename(folder / name)
        append(path, "3")
        assert reader.passes() == ["2", "3"]


def test_what_is_written_late_to_a_part_that_was_rotated_is_read(tmp_path: Path, crashes: bool) -> None:
    path, old = tmp_path / "a.log", tmp_path / "a.log.1"
    append(path, "1")
    reader = started(path, crash=False)
    path.rename(old)
    append(path, "2")
    assert reader.passes() == ["2"]
    if crashes:
        reader.crash()
    append(old, "3")
    append(path, "4")
    assert reader.passes() == ["3", "4"]


def test_an_unfinished_line_waits_for_its_end_also_in_a_part_that_was_rotated(tmp_path: Path, crashes: bool) -> None:
    path, old = tmp_path / "a.log", tmp_path / "a.log.1"
    append(path, "1")
    with path.open("ab") as file:
        file.write(line("2")[:5])
    reader = started(path, crash=crashes)
    path.rename(old)
    append(path, "3")
    assert reader.passes() == ["3"]
    with old.open("ab") as file:
        file.write(line("2")[5:] + line("4")[:-1])
    assert reader.passes() == ["2"]
    reader.now += REST_SECONDS
    assert reader.passes() == ["4"]
    assert reader.skipped == 0


def test_an_unfinished_line_of_the_file_itself_is_never_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(line("1")[:-1])
    reader = started(path, crash=False)
    reader.now += 2 * REST_SECONDS
    assert reader.passes() == []


@pytest.mark.parametrize(
    "content", [("9",), ("9", "8", "7", "6"), ("x" * 500, "y" * 500)], ids=["shorter", "longer", "long"]
)
def test_a_file_that_was_replaced_in_place_or_by_a_rename_is_read_from_its_start(
    tmp_path: Path, crashes: bool, content: tuple[str, ...]
) -> None:
    for in_place in (True, False):
        path = tmp_path / f"{in_place}.log"
        append(path, "1", "2")
        reader = started(path, crash=crashes)
        written_to = path if in_place else tmp_path / "new"
        written_to.write_bytes(b"".join(map(line, content)))
        written_to.replace(path)
        assert reader.passes() == list(content)
        is_gone = in_place or crashes  # else it is still open, and was read to its end
        assert ["up to line 2 is not found any more" in told for told in reader.told] == [True] * is_gone


def test_a_file_that_was_written_anew_with_what_it_had_and_more_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    append(path, "1", "2")
    reader = started(path, crash=True)
    append(tmp_path / "new", "1", "2", "3")
    (tmp_path / "new").replace(path)
    assert reader.passes() == ["3"]


def test_a_copy_that_somebody_makes_is_not_another_part(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    append(path, "1", "2")
    reader = started(path, crash=False)
    shutil.copyfile(path, tmp_path / "a.log.20260101")
    append(path, "3")
    path.rename(tmp_path / "a.log.1")
    append(path, "4")
    assert reader.passes() == ["3", "4"]


def test_each_part_of_a_csv_file_has_its_header(tmp_path: Path, crashes: bool) -> None:
    path = tmp_path / "a.csv"
    written(path, "n,a", "1,x", '2,"x', 'y"')
    reader = started(path, crash=crashes, form=CSV)
    path.rename(tmp_path / "a.csv.1")
    written(path, "b,n", '"5', '"",""\n",3')
    assert reader.passes() == ["3"]
    assert reader.found == ["1", "2", "3"]


def test_a_part_that_does_not_fit_does_not_hold_up_the_next_one_and_waits(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    written(path, "n;a", "1;x")
    reader = Reader(path, CSV)
    with pytest.raises(Exception, match="has no column 'n'"):
        reader.passes(1)
    path.rename(tmp_path / "a.csv.1")
    written(path, "n", "2")
    with pytest.raises(Exception, match="has no column 'n'"):
        reader.passes(1)
    assert reader.found == ["2"]
    reader.crash()
    reader.form = FileFormat(UriTemplate("urn:{n}"), None, PlantTimes("s"), csv=CsvDialect(delimiter=";"))
    assert reader.passes() == ["1"]


async def test_a_reading_and_its_position_go_on_after_a_restart(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "time,machine", *(f"2026-01-01T00:00:{n:02}Z,{n}" for n in range(60)))
    whole = await read(file_source(path, **MACHINES))
    for at, position in enumerate(whole.positions, start=1):
        assert (await read(file_source(path, **MACHINES), position)).samples == whole.samples[at:]


async def test_a_file_that_appears_later_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    source, intake = file_source(path, **MACHINES), ListIntake()
    async with until_running(source.run(intake)) as until:
        await until(lambda: source.problem == f"{path} does not exist", "it says nothing")
        assert not source.is_up
        written(path, "time,machine", "2026-01-01T00:00:00Z,a")
        await until(lambda: len(intake.samples) == 1, "it is not read")


async def test_following_takes_what_is_added(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "time,machine", "2026-01-01T00:00:00Z,a")
    source, intake = file_source(path, **MACHINES, follow=True), ListIntake()
    async with until_running(source.run(intake)) as until:
        await until(lambda: len(intake.samples) == 1, "the first line is missing")
        with path.open("a") as file:
            file.write("2026-01-01T00:00:01Z,b\n2026-01-01T00:00:02Z")
        await until(lambda: len(intake.samples) == 2, "the second line is missing")
        assert source.is_up


async def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    source = file_source(tmp_path, **MACHINES)
    async with until_running(source.run(ListIntake())) as until:
        await until(lambda: source.problem is not None, "it says nothing")
    assert source.problem == f"{tmp_path} can't be read: it is not a regular file"


def test_a_part_that_can_not_be_opened_at_the_moment_is_not_passed_over(
    tmp_path: Path, crashes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.log"
    append(path, "1")
    reader = started(path, crash=crashes)
    append(path, "2")
    for number in ("3", "4"):
        if (tmp_path / "a.log.1").exists():
            (tmp_path / "a.log.1").rename(tmp_path / "a.log.2")
        path.rename(tmp_path / "a.log.1")
        append(path, number)
    whole = os.open

    def refuse(name: Path, *flags: int) -> int:
        if str(name).endswith("a.log.1"):
            raise PermissionError(errno.EACCES, "Permission denied", str(name))
        return whole(name, *flags)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=r"a\.log\.1"):
        reader.passes(1)
    monkeypatch.undo()
    assert reader.passes() == ["2", "3", "4"]
