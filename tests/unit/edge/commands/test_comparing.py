"""`edge-sender try --compare`: what two gateways share, what only one has, and by what that differs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from edge_sender.commands.compare import compared
from edge_sender.commands.outputs import CompareError
from edge_sender.commands.trial import Observed
from edge_sender.commands.tried import AsJsonLines
from edge_sender.config.sources import parse_sources
from edge_sender.identity.readings import make_reading
from edge_sender.identity.rules import parse_rules
from wire.ids import NS_PER_SECOND, NoIdentityError, Sample

NOON_NS = 1_700_000_000 * NS_PER_SECOND
PRESS = "urn:press"


def at(seconds: float, value: Any = 1.0, source: str = PRESS) -> Sample:
    return Sample(source, NOON_NS + round(seconds * NS_PER_SECOND), {"value": value, "status": 0})


def printed(path: Path, samples: Iterable[Sample], identity: str = "source-time") -> Path:
    """As `edge-sender try --json` prints it, half a second after each source time."""
    document = parse_sources(json.dumps({"sources": [{"name": "p", "kind": "synthetic", "identity": identity}]}))
    output, rules = AsJsonLines(), parse_rules(identity)
    lines = list(output.begin(document, NOON_NS))
    for number, sample in enumerate(samples):
        arrived_ns = (NOON_NS + number * NS_PER_SECOND if sample.time_ns is None else sample.time_ns) + NS_PER_SECOND // 2
        try:
            observed = Observed("p", arrived_ns, sample, make_reading(sample, rules, "reading"))
        except NoIdentityError as error:
            observed = Observed("p", arrived_ns, sample, None, str(error))
        lines.append(output.line(observed))
    lines += output.end([], NOON_NS)
    path.write_text("\n".join(lines))
    return path


def compare(folder: Path, one: Iterable[Sample], two: Iterable[Sample], *identities: str) -> tuple[int, str]:
    first, second = identities or ("source-time", "source-time")
    lines: list[str] = []
    status = compared(printed(folder / "A.jsonl", one, first), printed(folder / "B.jsonl", two, second), lines.append)
    return status, "\n".join(lines)


def test_gateways_that_read_the_same_match_also_where_they_read_at_other_times(tmp_path: Path) -> None:
    readings = [at(second, second) for second in range(20)]
    status, text = compare(tmp_path, readings[:15], readings[5:])
    assert status == 0
    assert "A.jsonl and B.jsonl: 1 of 1 source match" in text
    assert "match  urn:press  (source-time): 10 readings in both, 0 only in A.jsonl, 0 only in B.jsonl" in text
    assert "not compared: 5 and 5 from before or after" in text


def test_what_only_one_has_is_said(tmp_path: Path) -> None:
    readings = [at(second, second) for second in range(20)]
    status, text = compare(tmp_path, readings, readings[:7] + readings[9:])
    assert status == 1
    assert "DIFFERENT  urn:press  (source-time): 18 readings in both, 2 only in A.jsonl, 0 only in B.jsonl" in text


def test_other_stamps_of_the_same_values_are_named_as_the_difference(tmp_path: Path) -> None:
    one = [at(second, second) for second in range(20)]
    two = [at(second + 0.01, second) for second in range(20)]
    status, text = compare(tmp_path, one, two)
    assert status == 1
    assert "0 readings in both, 19 only in A.jsonl, 19 only in B.jsonl" in text
    assert "differs from its nearest counterpart in time (19)" in text
    assert "not-deterministic" in text
    assert "time-bucket" in text


def test_other_values_under_one_id_are_named_as_the_difference(tmp_path: Path) -> None:
    one = [at(second, second) for second in range(20)]
    two = [at(second, -second - 1) for second in range(20)]
    status, text = compare(tmp_path, one, two)
    assert status == 1
    assert "20 readings in both" in text
    assert "readings with the same id differ in data.value (20)" in text
    assert "conflicts" in text


def test_one_conflict_is_enough_though_it_is_too_little_for_a_verdict(tmp_path: Path) -> None:
    status, text = compare(tmp_path, [at(1, "a")], [at(1, "b")])
    assert status == 1
    assert "readings with the same id differ in data.value (1)" in text


def test_other_identities_are_named_as_the_difference(tmp_path: Path) -> None:
    readings = [at(second, second) for second in range(9)]
    status, text = compare(tmp_path, readings, readings, "source-time", "time-bucket:0.5+0.1")
    assert status == 1
    assert "identity is source-time in A.jsonl and time-bucket:0.5+0.1 in B.jsonl: set the same" in text


def test_readings_without_an_id_are_no_match(tmp_path: Path) -> None:
    readings = [Sample(PRESS, None, {"value": number}) for number in range(9)]
    status, text = compare(tmp_path, readings, readings)
    assert status == 1
    assert "DROPPED, no id: 9 and 9" in text


def test_readings_without_a_time_are_compared_by_when_they_arrived(tmp_path: Path) -> None:
    readings = [Sample(PRESS, None, {"sequence": number}) for number in range(20)]
    status, text = compare(tmp_path, readings, readings[:8] + readings[9:], "sequence", "sequence")
    assert status == 1
    assert "19 readings in both, 1 only in A.jsonl" in text


@pytest.mark.parametrize("two", [[], [at(1000)]], ids=["nothing", "another time"])
def test_nothing_in_common_is_no_match(tmp_path: Path, two: list[Sample]) -> None:
    assert compare(tmp_path, [at(1), at(2)], two)[0] == 1
    assert compare(tmp_path, [], [])[0] == 1


def test_sources_that_differ_come_first_and_matching_ones_do_not_flood_the_terminal(tmp_path: Path) -> None:
    many = [at(1, 1, f"urn:{number:05}") for number in range(3000)]
    status, text = compare(tmp_path, many, [*many[:-1], at(1, 2, "urn:02999")])
    lines = text.splitlines()
    assert status == 1
    assert lines[0] == "A.jsonl and B.jsonl: 2,999 of 3,000 sources match"
    assert lines[1].startswith("DIFFERENT  urn:02999")
    assert lines[-1] == "… and 2,899 more that match"
    assert len(lines) < 400


def test_names_from_a_plant_are_no_commands_for_the_terminal(tmp_path: Path) -> None:
    _, text = compare(tmp_path, [at(1, 1, "urn:\x1b[2J\x9b")], [])
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "urn:\\x1b[2J\\x9b" in text


def test_a_file_that_was_cut_off_is_read(tmp_path: Path) -> None:
    one, two = printed(tmp_path / "A.jsonl", [at(1)]), tmp_path / "B.jsonl"
    two.write_text("\n".join(one.read_text().splitlines()[:-1]))
    assert compared(one, two, lambda _: None) == 0


READING = b'{"entry":"%b","arrived":"%b","event":{"source":%b,"id":"b","data":1}}'
NOON = b"2026-01-31T12:00:00Z"
HEAD = b'{"trial":1,"sources":{"p":{"identity":"source-time"}}}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "B.jsonl can't be read: No such file"),
        (b"", "B.jsonl: is not what"),
        (b"[]", "B.jsonl: is not what"),
        (b'{"trial":2,"sources":{}}', "B.jsonl: was printed by another version"),
        (b'{"trial":1,"sources":{"p":{"identity":"guid"}}}', "B.jsonl: is not what"),
        (HEAD + b'{"entry":"p"', "B.jsonl line 2: is not what"),
        (
            HEAD + b'{"entry":"q","arrived":"2026-01-31T06:00:00Z","event":{"source":"a","id":"b","data":1}}',
            "line 2: is not",
        ),
        (HEAD + READING % (b"p", b"now", b'"a"'), "line 2: is not"),
        (HEAD + READING % (b"p", NOON, b"1"), "line 2: is not"),
        (HEAD + b"[" * 100_000, "line 2: is not"),
    ],
)
def test_what_is_no_output_of_try_is_refused_by_name_and_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    one = printed(tmp_path / "A.jsonl", [at(1)])
    two = tmp_path / "B.jsonl"
    if content is not None:
        two.write_bytes(content)
    with pytest.raises(CompareError, match=message):
        compared(one, two, lambda _: None)
