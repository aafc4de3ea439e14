"""How long readings have waited: by the uptime, and across boots by a wall clock, if that is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sender.buffering.ages import MOST_AWAY_SECONDS, STABLE_SECONDS, Ages
from edge_sender.buffering.spool_values import Place
from edge_sender.clocks import system_clocks
from tests.support.clocks import GatewayClocks

HOUR = 3600.0


def restarted(ages: Ages, gateway: GatewayClocks) -> Ages:
    """As the next process finds it."""
    return Ages(ages._boots.values(), gateway.clocks)


def age(ages: Ages, place: Place) -> float:
    found = ages.age(place)
    assert found is not None
    return found


def test_a_restart_of_the_process_changes_nothing() -> None:
    gateway = GatewayClocks()
    place = (ages := Ages([], gateway.clocks)).place(1)
    gateway.elapse(50)
    gateway.error = 5 * HOUR
    ages = restarted(ages, gateway)
    assert age(ages, place) == pytest.approx(50)
    assert ages.steps == 1


def test_a_weekend_without_power_counts() -> None:
    gateway = GatewayClocks()
    place = (ages := Ages([], gateway.clocks)).place(1)
    gateway.boot(60 * HOUR)
    assert age(restarted(ages, gateway), place) == pytest.approx(60 * HOUR)


def test_a_boot_at_the_last_known_time_makes_readings_neither_older_nor_younger() -> None:
    """All gateways of a plant lose power for 5 h, boot at the last known time, read, and then NTP sets their clocks."""
    gateway = GatewayClocks()
    before = (ages := Ages([], gateway.clocks)).place(1)
    gateway.boot(5 * HOUR)
    gateway.error, gateway.is_synchronised = -5 * HOUR, False
    ages = restarted(ages, gateway)
    fresh = ages.place(2)
    gateway.elapse(60)
    ages.note()
    assert age(ages, before) == pytest.approx(60), "nobody knows better"
    gateway.error, gateway.is_synchronised = 0.0, True
    ages.note()
    assert age(ages, before) == pytest.approx(60), "the clock was set a moment ago"
    gateway.elapse(STABLE_SECONDS)
    ages.note()
    assert age(ages, before) == pytest.approx(5 * HOUR + 60 + STABLE_SECONDS)
    assert age(ages, fresh) == pytest.approx(60 + STABLE_SECONDS)


def test_readings_of_a_boot_whose_clock_was_never_right_are_as_young_as_they_may_be() -> None:
    gateway = GatewayClocks()
    first = (ages := Ages([], gateway.clocks)).place(1)
    gateway.boot(5 * HOUR)
    gateway.error, gateway.is_synchronised = -5 * HOUR, False
    ages = restarted(ages, gateway)
    second = ages.place(2)
    gateway.elapse(100)
    ages.note()
    gateway.boot(1 * HOUR)
    gateway.error, gateway.is_synchronised = 0.0, True
    ages = restarted(ages, gateway)
    assert age(ages, first) == pytest.approx(6 * HOUR + 100)
    assert age(ages, second) == pytest.approx(100)


@pytest.mark.parametrize("error", [MOST_AWAY_SECONDS + HOUR, 3e8, -3e8, -5 * HOUR])
def test_an_absence_that_is_not_plausible_is_none(error: float) -> None:
    """A receiver that begins in 2036, and says that it is right."""
    gateway = GatewayClocks()
    place = (ages := Ages([], gateway.clocks)).place(1)
    gateway.boot(1.0)
    gateway.error = error
    ages = restarted(ages, gateway)
    gateway.elapse(STABLE_SECONDS)
    ages.note()
    assert age(ages, place) == pytest.approx(STABLE_SECONDS)


def test_a_step_is_remembered_by_the_next_process() -> None:
    gateway = GatewayClocks()
    place = (ages := Ages([], gateway.clocks)).place(1)
    gateway.boot(1.0)
    gateway.is_synchronised = False
    ages = restarted(ages, gateway)
    gateway.error, gateway.is_synchronised = 5 * HOUR, True
    ages.note()
    gateway.elapse(STABLE_SECONDS / 2)
    ages = restarted(ages, gateway)
    assert age(ages, place) == pytest.approx(STABLE_SECONDS / 2)


def test_what_is_not_known_has_no_age() -> None:
    gateway = GatewayClocks()
    assert Ages([], gateway.clocks).age(Place(1, 77, 0.0)) is None


def test_a_boot_is_written_when_there_is_news_and_not_with_each_commit() -> None:
    gateway = GatewayClocks()
    ages = Ages([], gateway.clocks)
    ages.written(ages.unwritten())
    gateway.elapse(1)
    ages.note()
    assert not ages.unwritten()
    gateway.elapse(10)
    ages.note()
    assert ages.unwritten() == [ages.boot]
    ages.written(ages.unwritten())
    gateway.error = 100.0
    ages.note()
    assert ages.unwritten() == [ages.boot]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("elapse"), st.floats(0, 1e5)),
            st.tuples(st.just("step"), st.floats(-1e9, 1e9)),
            st.tuples(st.just("boot"), st.floats(1, 1e6)),
            st.tuples(st.just("synchronise"), st.sampled_from([0.0, 1.0])),
            st.tuples(st.just("restart"), st.just(0.0)),
            st.tuples(st.just("spool"), st.just(0.0)),
        )
    )
)
def test_no_reading_is_ever_older_than_the_truth_while_only_right_clocks_are_called_synchronised(
    steps: list[tuple[str, float]],
) -> None:
    gateway = GatewayClocks(is_synchronised=False)
    ages, spooled = Ages([], gateway.clocks), list[tuple[Place, float]]()
    for step, seconds in steps:
        match step:
            case "elapse":
                gateway.elapse(seconds)
            case "step" if not gateway.is_synchronised:
                gateway.error = seconds
            case "boot":
                gateway.boot(seconds)
                ages = restarted(ages, gateway)
            case "synchronise":
                gateway.is_synchronised = bool(seconds)
                gateway.error = 0.0 if seconds else gateway.error
            case "restart":
                ages = restarted(ages, gateway)
            case "spool":
                spooled.append((ages.place(1), gateway.true))
        ages.note()
        for place, at in spooled:
            assert age(ages, place) <= gateway.true - at + 1.0


def test_the_clocks_of_this_machine_are_there() -> None:
    one, two = system_clocks(), system_clocks()
    assert one.boot == two.boot != ""
    assert 0 < one.uptime() <= two.uptime()
    assert isinstance(one.is_synchronised(), bool)
