"""Sources that each message makes anew are found, in linear time, and those of machines are not."""

from __future__ import annotations

import uuid
from random import Random

import pytest

from dedup_service.core.single_use import FEW_SOURCES, made_anew, told
from tests.support.cpu_time import seconds_of


def named(pattern: str, count: int, replicas: int = 2) -> dict[str, str]:
    rng = Random(1)
    return {
        pattern.format(uuid.UUID(int=rng.getrandbits(128)), tag): f"edge-{n % replicas}"
        for n in range(count)
        for tag in ("T", "P")
    }


@pytest.mark.parametrize("pattern", ["{}/{}", "press/{}/{}", "plant#{};tag={}"])
def test_what_is_new_in_each_message_is_found_wherever_it_stands(pattern: str) -> None:
    senders = named(pattern, 2 * FEW_SOURCES)
    found = made_anew(senders)
    assert sorted(source for alike in found for source in alike) == sorted(senders)
    assert [len(alike) for alike in found] == [2 * FEW_SOURCES] * 2
    assert f"each of {2 * FEW_SOURCES} sources" in told(found[0])


@pytest.mark.parametrize(
    "senders",
    [
        {},
        named("press/{}/{}", 2 * FEW_SOURCES - 2),
        named("press/{}/{}", 500, replicas=1),
        {f"press/{n}": "edge-0" for n in range(500)} | {f"press/other/{n}": "edge-1" for n in range(500)},
        {f"press/{n}": "edge-0" for n in range(500)} | {f"press/b{n}": "edge-1" for n in range(FEW_SOURCES - 1)},
    ],
)
def test_other_sources_are_not(senders: dict[str, str]) -> None:
    assert made_anew(senders) == []


def seconds(count: int) -> float:
    senders = named("opc.tcp://plant/line-1/{};s={}", count)

    def judge() -> None:
        assert len(made_anew(senders)) == 2

    return seconds_of(judge)


def test_the_time_is_linear_in_the_number_of_sources() -> None:
    assert seconds(20_000) < 100 * seconds(1_000)
