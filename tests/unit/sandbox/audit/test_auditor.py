"""The demo's auditor detects what it must detect."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.audit.auditor import ReadingKey, Verdict, audit, read_journal, readings_in
from tests.support.hub import batch, event

EMITTED: dict[ReadingKey, int] = {("s", "e", n): n * 1_000_000_000 for n in range(10)}
CLEAN = [(key, time_ns + 5_000_000) for key, time_ns in EMITTED.items()]


def test_a_complete_stream_is_clean() -> None:
    verdict = audit(EMITTED, CLEAN)
    assert verdict == Verdict(10, 10, 0, 0, 0, 5.0, 5.0, [])
    assert verdict.is_clean


@pytest.mark.parametrize(
    ("clean", "lost", "doubled", "unknown"),
    [
        (CLEAN[1:], 1, 0, 0),
        ([*CLEAN, CLEAN[3], CLEAN[3]], 0, 2, 0),
        ([*CLEAN, (("s", "e", 99), 0)], 0, 0, 1),
        ([*CLEAN, (("s", "other-epoch", 1), 0)], 0, 0, 1),
        ([], 10, 0, 0),
    ],
)
def test_what_is_lost_doubled_or_unknown_is_counted(
    clean: list[tuple[ReadingKey, int]], lost: int, doubled: int, unknown: int
) -> None:
    verdict = audit(EMITTED, clean)
    assert (verdict.lost, verdict.clean_duplicates, verdict.unknown) == (lost, doubled, unknown)
    assert not verdict.is_clean


def test_an_empty_run_is_not_clean() -> None:
    assert not audit({}, []).is_clean


def test_readings_are_recognised_by_the_plants_own_counter_whatever_their_id() -> None:
    data = {"epoch": "e", "sequence": 7, "value": 1}
    source = "urn:sandbox:plant#nsu=x;s=press-1/flow"
    in_batch = batch([{"id": "any", "source": source, "data": data}])
    alone = event('{"epoch":"e","sequence":7}', "application/json")
    alone.properties = {b"cloudEvents_source": source.encode()}
    assert list(readings_in(in_batch)) == list(readings_in(alone)) == [("press-1/flow", "e", 7)]


def test_the_journal_is_read_as_the_plant_writes_it(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    journal.write_text('{"source":"a","epoch":"e","sequence":0,"time_ns":5}\n')
    assert read_journal(journal) == {("a", "e", 0): 5}
