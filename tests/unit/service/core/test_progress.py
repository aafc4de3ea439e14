"""Finished positions: replays are skipped, a recreated hub is noticed (R4)."""

from __future__ import annotations

import pytest

from dedup_service.core.events import InputEvent
from dedup_service.core.progress import Position, Progress
from dedup_service.errors import HubRecreatedError
from tests.support.readings import event


def at(number: int, ms: int) -> InputEvent:
    return event(sequence_number=number, offset=str(number), enqueued_ms=ms)


def finished(number: int, ms: int) -> Progress:
    progress = Progress()
    progress.finish(at(number, ms))
    return progress


def test_everything_is_fresh_at_the_start() -> None:
    events = [at(5, 1), at(6, 2)]
    assert Progress().fresh(events) == events


def test_events_delivered_again_are_skipped() -> None:
    assert finished(6, 20).fresh([at(5, 10), at(6, 20), at(7, 20)]) == [at(7, 20)]


def test_a_number_that_went_back_with_a_newer_time_means_another_hub() -> None:
    with pytest.raises(HubRecreatedError, match="recreated"):
        finished(6, 20).fresh([at(0, 21)])


def test_finishing_moves_the_position() -> None:
    assert finished(6, 20).finished == Position(6, "6", 20)
