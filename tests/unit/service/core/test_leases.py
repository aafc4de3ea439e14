"""Shares, records, and what the clean stream says about copies in doubt."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dedup_service.core.events import Origin
from dedup_service.core.input_log import InputLog
from dedup_service.core.leases import LeaseRecord, fair_share
from dedup_service.core.progress import Position
from dedup_service.core.resolve import PublishedOrigins


@pytest.mark.parametrize("pods", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("partitions", [1, 4, 8, 32])
def test_shares_are_even_and_add_up(pods: int, partitions: int) -> None:
    names = [f"pod-{n}" for n in range(pods)]
    shares = [fair_share(names, name, partitions) for name in names]
    assert sum(shares) == partitions
    assert max(shares) - min(shares) <= 1


def test_a_pod_that_is_not_listed_yet_counts_itself() -> None:
    assert fair_share([], "a", 4) == 4
    assert fair_share(["a"], "b", 4) == 2


@pytest.mark.parametrize("finished", [None, Position(5, "50", 500)])
def test_records_survive_encoding(finished: Position | None) -> None:
    for rule in ("", "0123abcd"):
        record = LeaseRecord(finished, {"0": 7, "1": -1}, 2**32 - 1, rule)
        assert LeaseRecord.decode(record.encode()) == record


def test_a_pod_of_before_reads_a_record_with_a_rule() -> None:
    """It unpacks three parts, and looks up partitions in the second."""
    _, sample, incarnation = json.loads(LeaseRecord(None, {"0": 7}, 5, "0123abcd").encode())
    assert (sample["0"], incarnation) == (7, 5)


def clean(origin: Any = "000000ab/3/17", indexes: Any = "0-2,5", **more: Any) -> dict[str, Any]:
    return {"dedup_origin": origin, "dedup_indexes": indexes, **more}


def test_the_origins_of_one_partition_are_read_back() -> None:
    published = PublishedOrigins(InputLog(0xAB, 3))
    origins = {*published.of(clean()), *published.of(clean("000000ab/3/18", "0"))}
    assert PublishedOrigins(InputLog(0xAB, 3), behind=17).of(clean()) == []
    assert origins == {Origin(0xAB, 3, 17, index) for index in (0, 1, 2, 5)} | {Origin(0xAB, 3, 18, 0)}


@pytest.mark.parametrize(
    "event",
    [
        clean("000000ab/33/17"),
        clean("000000ac/3/17"),
        clean(dedup_duplicate=True),
        {},
        clean(5),
        clean("000000ab/3/x"),
        clean(indexes="x"),
        clean(indexes=None),
        clean("garbage"),
    ],
)
def test_an_event_that_is_not_a_winner_of_this_partition_is_skipped(event: dict[str, Any]) -> None:
    assert PublishedOrigins(InputLog(0xAB, 3)).of(event) == []
