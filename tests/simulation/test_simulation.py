"""R3, R4 and R8 on the real code in a simulated world, and proof that the auditor can fail."""

from __future__ import annotations

import pytest

from tests.simulation.auditor import Verdict, audit
from tests.simulation.mutants import CAUGHT_BY, MAY_STAND_STILL
from tests.simulation.simulate import SCENARIOS, STUCK, run

SEEDS, CHUNKS = 2_400, 24
MUTANT_SEEDS = 600
MUTANT_SECONDS = 600
"""Those that are caught late need a minute of a processor to themselves."""


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_lost_and_nothing_is_published_twice(chunk: int) -> None:
    size = SEEDS // CHUNKS
    failures = [failure for seed in range(chunk * size, (chunk + 1) * size) if (failure := run(seed)) is not None]
    assert not failures, "\n".join(map(str, failures))


def test_every_scenario_has_its_share_of_the_seeds() -> None:
    assert SEEDS >= 2_000
    assert len(SCENARIOS) <= SEEDS // CHUNKS


@pytest.mark.timeout(MUTANT_SECONDS)
@pytest.mark.parametrize("name", CAUGHT_BY)
def test_every_mutant_of_the_protocol_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant, scenario = CAUGHT_BY[name]
    mutant(monkeypatch)
    for seed in range(MUTANT_SEEDS):
        failure = run(seed, scenario)
        if failure is not None and (name in MAY_STAND_STILL or not failure.what.startswith(STUCK)):
            return
    pytest.fail(f"{name} got through {MUTANT_SEEDS} seeds of {scenario!r}")


def test_a_seed_is_the_same_run_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    CAUGHT_BY["no-tail"][0](monkeypatch)
    failures = [run(seed, "many crashes") for seed in range(12)]
    assert failures == [run(seed, "many crashes") for seed in range(12)]
    assert any(failures)


class Event:
    def __init__(self, body: str, **properties: object) -> None:
        self.body, self.properties = body, properties


def test_the_auditor_counts_by_the_plants_own_mark() -> None:
    clean = [Event('{"reading":"a"}'), Event('[{"data":{"reading":"b"}},{"data":{"reading":"a"}}]')]
    marked = Event('{"reading":"c"}', dedup_duplicate=True)
    assert audit(["a", "b", "c"], [*clean, marked]) == Verdict(lost=["c"], doubled=["a"])
