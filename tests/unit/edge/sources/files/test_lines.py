"""What a line of a file says, and which lines and files are refused."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sender.buffering.inbox import Inbox, IntakeOptions, SourceIntake
from edge_sender.counters import Counters
from edge_sender.identity.rules import parse_rules
from edge_sender.sources.files.format import typed
from tests.doubles.intake import ListIntake
from tests.support.files import MACHINES, file_source, read, written
from tests.support.senders import until_running

CSV = ("time,machine,temperature,note", "2026-01-01T00:00:00Z,press-1,20.5,ok", "2026-01-01T00:00:01.5Z,press-2,21,")


async def test_each_line_of_a_csv_file_is_a_reading(tmp_path: Path) -> None:
    one, two = (await read(file_source(written(tmp_path / "a.csv", *CSV), **MACHINES))).samples
    assert one.source == "urn:plant:press-1"
    assert one.data == {"time": "2026-01-01T00:00:00Z", "machine": "press-1", "temperature": 20.5, "note": "ok"}
    assert two.time_ns is not None
    assert one.time_ns is not None
    assert two.time_ns - one.time_ns == 1_500_000_000
    assert two.data["note"] == ""


async def test_each_line_of_a_json_file_is_a_reading_and_others_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"machine": "a", "at": 12.5}\n\nnonsense\n[1]\n{"at": 13}\n{"machine": "b", "at": 14}')
    source = file_source(path, format="jsonl", uri="urn:{machine}", time="at", time_format="s")
    with caplog.at_level(logging.WARNING):
        samples = (await read(source)).samples
    assert [(sample.source, sample.time_ns) for sample in samples] == [("urn:a", 12_500_000_000), ("urn:b", 14_000_000_000)]
    assert source.skipped == {"line": 3}
    assert f"{path} line 3 is not a reading" in caplog.text


async def test_sources_and_times_are_made_from_the_text_as_it_stands(tmp_path: Path) -> None:
    lines = ("tag,at,v", "1.1,1,12E3", "1.10,2,120E2", "12E3,3,007", "120E2,4,1e999", "Ofen 3/ä,1700000000.123456789,-0")
    path = written(tmp_path / "a.csv", *lines)
    samples = (await read(file_source(path, format="csv", uri="urn:t:{tag}", time="at", time_format="s"))).samples
    assert [s.source for s in samples] == ["urn:t:1.1", "urn:t:1.10", "urn:t:12E3", "urn:t:120E2", "urn:t:Ofen%203/%C3%A4"]
    assert samples[-1].time_ns == 1_700_000_000_123_456_789
    assert [s.data["v"] for s in samples] == [12000.0, 12000.0, "007", "1e999", 0]
    assert [s.data["tag"] for s in samples][:2] == [1.1, 1.1]


async def test_json_numbers_in_sources_and_times_are_text_too(tmp_path: Path) -> None:
    lines = (
        '{"tag": 1.1, "at": 1700000000123456789}',
        '{"tag": 1.10, "at": 17e17, "v": [NaN, 1e999, 9007199254740993]}',
        '{"tag": true, "at": "5"}',
        '{"tag": null, "at": 5.0}',
        '{"tag": ["a"], "at": 6}',
    )
    path = written(tmp_path / "a.jsonl", *lines)
    source = file_source(path, format="jsonl", uri="urn:t:{tag}", time="at", time_format="ns")
    samples = (await read(source)).samples
    assert [s.source for s in samples] == ["urn:t:1.1", "urn:t:1.10", "urn:t:true", "urn:t:null"]
    assert [s.time_ns for s in samples] == [1_700_000_000_123_456_789, 1_700_000_000_000_000_000, 5, 5]
    assert samples[1].data["v"] == ["NaN", "1e999", 9007199254740993]
    assert source.skipped == {"line": 1}


@pytest.mark.parametrize(
    "line", ["1e999999,a", "1e30,a", "x,a", "NaN,a", "1,\udcff", '1,"', "1,a,b", "1", "1,a\rb", '1,"a"b']
)
async def test_a_line_that_is_not_a_reading_does_not_stop_the_others(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"time,machine\n" + line.encode("utf-8", "surrogateescape") + b"\n5,good\n")
    source = file_source(path, format="csv", uri="urn:{machine}", time="time", time_format="s")
    taken = (await read(source)).samples
    assert taken[-1].source == "urn:good"
    assert source.skipped == {"line": 1}
    inbox = Inbox(IntakeOptions(10, "drop-oldest", 0.0), Counters(), lambda: 0.0)
    intake = SourceIntake(inbox, "file", parse_rules("source-time"), "t")
    for sample in taken:
        intake.take(sample)
    assert len(inbox.pending) == 1


GERMAN = {"delimiter": ";", "decimal": ",", "encoding": "cp1252", "time_zone": "Europe/Berlin"}


async def test_delimiter_encoding_and_decimal_comma_are_settings(tmp_path: Path) -> None:
    lines = (
        "Zeit;Gerät;Wert",
        "2026-07-01 12:00:00;Öfen 1;-3,25",
        "2026-01-01T12:00:00+00:00;b;1.5",
        '2026-01-01 12:00:00;"a;b";7',
    )
    path = written(tmp_path / "a.csv", *lines, encoding="cp1252")
    samples = (await read(file_source(path, format="csv", uri="urn:{Gerät}", time="Zeit", **GERMAN))).samples
    assert [s.source for s in samples] == ["urn:%C3%96fen%201", "urn:b", "urn:a;b"]
    assert [s.data["Wert"] for s in samples] == [-3.25, "1.5", 7]
    assert [s.time_ns and s.time_ns // 10**9 for s in samples] == [1_782_900_000, 1_767_268_800, 1_767_265_200]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "latin-1", "cp037"])
async def test_encodings_of_one_or_more_bytes(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding.startswith("utf") else ""
    path = written(tmp_path / "a.csv", f"{mark}a,b", "1,\xe4\n\n2,\xe5\r", '3,"\n\r\n"', encoding=encoding)
    samples = (await read(file_source(path, format="csv", uri="urn:{a}", encoding=encoding))).samples
    assert [s.data for s in samples] == [{"a": 1, "b": "ä"}, {"a": 2, "b": "å"}, {"a": 3, "b": "\n\r\n"}]


async def test_quoted_line_breaks_belong_to_their_record_and_an_unclosed_quote_costs_its_line_only(tmp_path: Path) -> None:
    lines = ("a,b", '1,"x\n\ny"', '4,"', '"', '5,"u""v"', '2,"never closed', "3,z")
    path = written(tmp_path / "a.csv", *lines)
    source = file_source(path, format="csv", uri="urn:{a}")
    found = [(s.data["a"], s.data["b"]) for s in (await read(source)).samples]
    assert found == [(1, "x\n\ny"), (4, "\n"), (5, 'u"v'), (3, "z")]
    assert source.skipped == {"line": 1}


async def test_without_a_quote_it_is_an_ordinary_character(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "a,b", '1,"x', '2,5" pipe')
    found = [s.data["b"] for s in (await read(file_source(path, format="csv", uri="urn:{a}", quote=None))).samples]
    assert found == ['"x', '5" pipe']


async def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "a,b", "1,x", "2," + "y" * 1_000_000, "3,z", "4," + "y" * 300_000)
    source = file_source(path, format="csv", uri="urn:{a}")
    assert [s.data["a"] for s in (await read(source)).samples] == [1, 3]
    assert source.skipped == {"line": 2}


async def test_a_file_without_a_header_has_the_columns_that_are_set(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", "a,b", "1,x")
    columns = ["a", "b"]
    for header, expected in (("none", ["a", "1"]), ("optional", ["1"]), ("required", ["1"])):
        source = file_source(path, format="csv", uri="urn:{a}", header=header, columns=columns)
        assert [s.source for s in (await read(source)).samples] == [f"urn:{name}" for name in expected]
    path.write_text("2,y\n1,x\n")
    source = file_source(path, format="csv", uri="urn:{a}", header="optional", columns=columns)
    assert [s.source for s in (await read(source)).samples] == ["urn:2", "urn:1"]


REFUSED: list[tuple[tuple[str, ...], dict[str, Any], str]] = [
    (("time;machine", "1;a"), {}, "line 1: the header has no column 'machine', only 'time;machine'"),
    (("time,machine,time", "1,a,1"), {}, "line 1: the header has the column 'time' twice"),
    (("", "zeit,machine", "1,a"), {}, "line 2: the header has no column 'time'"),
    (("time,machine", "1,a"), {"columns": ["machine", "time"]}, "line 1: the header is 'time', 'machine' instead of"),
    (("t\xe4me,machine", "1,a"), {"encoding": "ascii"}, "line 1: the header can't be read: it is not ascii"),
    (
        ("time,machine", "2026-01-01T00:00:00Z,a", "2026-01-01 00:00:00,a"),
        {"time_format": "rfc3339"},
        "line 3: the time has no offset from UTC in 'time'; set time_zone",
    ),
]


@pytest.mark.parametrize(("lines", "given", "message"), REFUSED, ids=lambda item: item if isinstance(item, str) else "")
async def test_a_file_that_does_not_fit_stops_the_source_which_says_why_and_goes_on_when_it_fits(
    tmp_path: Path, lines: tuple[str, ...], given: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "a.csv", *lines)
    source = file_source(path, **{**MACHINES, "time_format": "s", **given})
    intake = ListIntake()
    with caplog.at_level(logging.WARNING):
        async with until_running(source.run(intake)) as until:
            await until(lambda: source.problem is not None, "it is not refused")
            assert source.problem is not None
            assert source.problem.startswith(f"{path} {message}")
            assert not source.is_up
            columns = given.get("columns", ["time", "machine"])
            values = {"time": "2026-01-01T00:00:00Z" if "time_format" in given else "9", "machine": "b"}
            good = written(tmp_path / "good", ",".join(columns), ",".join(values[name] for name in columns))
            good.replace(path)
            await until(lambda: source.is_up, "the file that fits is not read")
    assert intake.samples[-1].source == "urn:plant:b"
    assert caplog.text.count("not reading") == 1
    assert source.skipped == {"line": 0}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"uri": "urn:{machine"}, "not the template of a URI"),
        ({"uri": "urn:größe:{machine}"}, "perhaps 'urn:gr%C3%B6%C3%9Fe:{machine}'"),
        ({"encoding": "utf-16"}, "name its byte order"),
        ({"encoding": "base64"}, "not an encoding"),
        ({"encoding": "nonsense"}, "not an encoding"),
        ({"time_zone": "Europe/Bärlin"}, "not the name of a time zone"),
        ({"time_zone": "../../etc/passwd"}, "not the name of a time zone"),
        ({"delimiter": "\n"}, "can't be the delimiter"),
        ({"delimiter": '"'}, "can't be the quote"),
        ({"delimiter": ";;"}, "at most 1 character"),
        ({"header": "none"}, "needs columns"),
        ({"columns": ["a", "a"]}, "twice"),
        ({"columns": ["a", "machine"]}, "does not name 'time'"),
        ({"format": "jsonl", "delimiter": ";"}, "delimiter is for csv only"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(Exception, match=message):
        file_source(tmp_path / "a", **{**MACHINES, **given})


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_keep_their_value_with_either_decimal_sign(number: float) -> None:
    for decimal in (".", ","):
        found = typed(repr(number).replace(".", decimal), decimal)
        assert (found, type(found)) == (number, type(number))


@given(st.text())
def test_what_is_no_number_stays_text(text: str) -> None:
    found = typed(text, ".")
    assert found == text or (isinstance(found, int | float) and type(found)(text) == found)
