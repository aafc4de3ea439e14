"""What is published are the readings that won, and nothing without a verdict."""

from __future__ import annotations

import pytest

from dedup_service.core.claims import Verdict
from dedup_service.core.events import Extraction, InputEvent, Reading
from dedup_service.core.input_log import InputLog
from dedup_service.processing.event_work import EventWork

READINGS = [Reading(index, "urn:a", str(index), [b"x"] * 3, b"hash") for index in range(3)]
WINNER, DUPLICATE = Verdict.WINNER, Verdict.DUPLICATE


def judged(*verdicts: Verdict) -> EventWork:
    work = EventWork(InputEvent("0", 1, "1", 0, b"x"), InputLog.of(1, "0"), "edge-1", extraction=Extraction(READINGS))
    work.verdicts = list(verdicts)
    return work


@pytest.mark.parametrize(
    ("verdicts", "winners"),
    [((WINNER,) * 3, [0, 1, 2]), ((WINNER, DUPLICATE, WINNER), [0, 2]), ((DUPLICATE,) * 3, [])],
)
def test_the_winners_are_those_that_won(verdicts: tuple[Verdict, ...], winners: list[int]) -> None:
    assert [reading.index for reading in judged(*verdicts).winners] == winners


@pytest.mark.parametrize("verdicts", [(), (WINNER,), (DUPLICATE,) * 2])
def test_readings_without_a_verdict_are_a_defect_and_no_winners(verdicts: tuple[Verdict, ...]) -> None:
    with pytest.raises(ValueError, match="zip"):
        _ = judged(*verdicts).winners
