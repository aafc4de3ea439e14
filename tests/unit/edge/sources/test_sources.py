"""Sources that need no server, files and synthetic ones: what they deliver, in which order, and where they resume."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_sender.buffering.inbox import Inbox, IntakeOptions, SourceIntake
from edge_sender.counters import Counters
from edge_sender.identity.rules import parse_rules
from edge_sender.sources.file import FileFormat, FileSource
from edge_sender.sources.synthetic import SyntheticSource
from tests.doubles.intake import ListIntake
from wire.ids import Sample
from wire.times import TimeFormat, parse_time

CSV = "time,machine,temperature,note\n2026-01-01T00:00:00Z,press-1,20.5,ok\n2026-01-01T00:00:01.5Z,press-2,21,\n"


def csv_source(path: Path, *, follow: bool = False) -> FileSource:
    return FileSource("file", path, FileFormat("csv", "urn:plant:{machine}", "time", "rfc3339"), follow=follow)


async def replay(source: FileSource, start: str | None = None) -> ListIntake:
    intake = ListIntake(start)
    await asyncio.wait_for(source.run(intake), 10)
    return intake


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_each_line_of_a_csv_file_is_a_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(CSV)
    one, two = (await replay(csv_source(path))).samples
    assert one.source == "urn:plant:press-1"
    assert one.data == {"time": "2026-01-01T00:00:00Z", "machine": "press-1", "temperature": 20.5, "note": "ok"}
    assert two.time_ns is not None
    assert one.time_ns is not None
    assert two.time_ns - one.time_ns == 1_500_000_000
    assert two.data["note"] == ""


async def test_each_line_of_a_json_file_is_a_reading_and_others_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"machine": "a", "at": 12.5}\n\nnonsense\n[1]\n{"at": 13}\n{"machine": "b", "at": 14}')
    source = FileSource("file", path, FileFormat("jsonl", "urn:{machine}", "at", "s"), follow=False)
    samples = (await replay(source)).samples
    assert [(sample.source, sample.time_ns) for sample in samples] == [("urn:a", 12_500_000_000), ("urn:b", 14_000_000_000)]
    assert source.skipped == 3


async def test_a_file_is_resumed_after_the_last_reading_that_was_committed(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(CSV)
    whole = await replay(csv_source(path))
    rest = await replay(csv_source(path), whole.positions[0])
    assert rest.samples == whole.samples[1:]
    assert (await replay(csv_source(path), whole.positions[1])).samples == []
    path.write_text(CSV + "2026-01-01T00:00:02Z,press-3,1,\n")
    assert [s.source for s in (await replay(csv_source(path), whole.positions[1])).samples] == ["urn:plant:press-3"]


async def test_another_file_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(CSV)
    position = (await replay(csv_source(path))).positions[-1]
    path.write_text(CSV.replace("press", "saw"))
    assert len((await replay(csv_source(path), position)).samples) == 2


async def test_another_file_with_the_same_long_header_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    columns = ",".join(f"column_{number:03d}" for number in range(40))
    row = ",".join(["{}"] * 40)
    path.write_text("\n".join([f"machine,{columns}", *(f"a,{row.format(*range(n, n + 40))}" for n in range(20)), ""]))
    source = FileSource("file", path, FileFormat("csv", "urn:{machine}", None, "s"), follow=False)
    position = (await replay(source)).positions[-1]
    path.write_text("\n".join([f"machine,{columns}", *(f"b,{row.format(*range(n, n + 40))}" for n in range(20)), ""]))
    assert len((await replay(source, position)).samples) == 20


@pytest.mark.parametrize("line", ["1e999999,a", "1e30,a", "x,a", "NaN,a", "1,\udcff", '1,"', "1,a,b"])
async def test_a_line_that_is_not_a_reading_does_not_stop_the_others(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"time,machine\n" + line.encode("utf-8", "surrogateescape") + b"\n5,good\n")
    source = FileSource("file", path, FileFormat("csv", "urn:{machine}", "time", "s"), follow=False)
    taken = (await replay(source)).samples
    assert taken[-1].source == "urn:good"
    inbox = Inbox(IntakeOptions(10, "drop-oldest", 0.0), Counters(), lambda: 0.0)
    intake = SourceIntake(inbox, "file", parse_rules("source-time"), "t")
    for sample in taken:
        intake.take(sample)  # a time outside the calendar gets no id
    assert len(inbox.pending) == 1


async def test_following_waits_for_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(CSV + "2026-01-01T00:00:02Z,press")
    intake = ListIntake()
    running = asyncio.create_task(csv_source(path, follow=True).run(intake))
    await until(lambda: len(intake.samples) == 2)
    with path.open("a") as file:
        file.write("-9,7,\n")
    await until(lambda: len(intake.samples) == 3)
    running.cancel()
    assert intake.samples[2].source == "urn:plant:press-9"


async def test_a_file_that_appears_later_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    source, intake = csv_source(path), ListIntake()
    running = asyncio.create_task(source.run(intake))
    await asyncio.sleep(0)
    assert not source.is_up
    path.write_text(CSV)
    await asyncio.wait_for(running, 10)
    assert len(intake.samples) == 2


async def test_replicas_make_the_same_synthetic_readings_at_different_moments() -> None:
    """One replica reads the clock rarely, the other often."""
    runs: list[list[Sample]] = []
    for step in (2.0, 7.3):
        now, intake = [1000.0], ListIntake()

        def clock(now: list[float] = now, step: float = step) -> int:
            now[0] += step / 2
            return round(now[0] * 1e9)

        running = asyncio.create_task(SyntheticSource("s", "urn:s:", 2, 0.5, clock).run(intake))
        await until(lambda intake=intake: len(intake.samples) >= 80)  # type: ignore[misc]  # binds the loop's value
        running.cancel()
        runs.append([sample for sample in intake.samples if 2020 <= sample.data["sequence"] < 2026])
    assert runs[0] == runs[1]
    assert len(runs[0]) == 12


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        ("1970-01-01T00:00:01.123456789Z", "rfc3339", 1_123_456_789),
        ("1970-01-01T01:00:00+01:00", "rfc3339", 0),
        (1.5, "s", 1_500_000_000),
        ("1700000000.123456789", "s", 1_700_000_000_123_456_789),
        (1_700_000_000_123, "ms", 1_700_000_000_123_000_000),
        (5, "us", 5000),
        (7, "ns", 7),
    ],
)
def test_times_are_exact(value: object, form: TimeFormat, expected: int) -> None:
    assert parse_time(value, form) == expected


@pytest.mark.parametrize(
    ("value", "form"), [("x", "s"), (None, "s"), (True, "s"), ("NaN", "s"), ("soon", "rfc3339"), ("", "ms")]
)
def test_what_is_not_a_time_is_refused(value: object, form: TimeFormat) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_time(value, form)
