"""What units allow, as a function of time."""

from __future__ import annotations

import pytest

from sandbox.hub.throttling import BACKLOG_SECONDS, BacklogFullError, IotHubUnits, Throughput

KB = 1024


def test_a_unit_admits_a_thousand_events_a_second() -> None:
    throughput = Throughput(1)
    assert sum(throughput.admits(1, 100, 5.0) for _ in range(1500)) == pytest.approx(1000, abs=1)
    assert not throughput.admits(1, 100, 5.0)
    assert sum(throughput.admits(1, 100, 6.0) for _ in range(1500)) == pytest.approx(1000, abs=1)


def test_a_unit_admits_a_megabyte_a_second() -> None:
    throughput = Throughput(1)
    assert [throughput.admits(1, 512 * KB, 5.0) for _ in range(4)] == [True, True, True, False]


def test_one_large_batch_is_admitted_and_then_paid_for() -> None:
    throughput = Throughput(1)
    assert throughput.admits(4000, 100, 0.0)
    assert not throughput.admits(1, 1, 2.9)
    assert throughput.admits(1, 1, 3.1)


def test_units_add_up() -> None:
    throughput = Throughput(3)
    assert sum(throughput.admits(1, 100, 5.0) for _ in range(5000)) == pytest.approx(3000, abs=1)


def test_egress_is_slowed_down_and_not_refused() -> None:
    throughput = Throughput(1)
    assert throughput.egress_wait(5.0) == 0
    throughput.left(3 * 4096, 100, 5.0)
    assert throughput.egress_wait(5.0) == pytest.approx(2.0)
    assert throughput.egress_wait(7.0) == pytest.approx(0.0)


@pytest.mark.parametrize(("tier", "units", "sends"), [("S1", 1, 100), ("S1", 9, 108), ("S2", 2, 240), ("S3", 1, 6000)])
def test_an_iot_hub_takes_a_burst_at_once_and_then_lets_messages_wait(tier: str, units: int, sends: int) -> None:
    made = IotHubUnits.of(tier, units)
    waits = [made.send_wait(5.0) for _ in range(sends + 3)]
    assert waits[:sends] == pytest.approx([0.0] * sends, abs=1e-6)
    assert waits[sends + 1 :] == pytest.approx([1 / sends, 2 / sends], abs=1e-6)


def test_an_iot_hub_whose_backlog_is_full_refuses_until_it_has_worked_some_off() -> None:
    made = IotHubUnits(10, 1, 1)
    waits = [made.send_wait(5.0) for _ in range(int(10 * (BACKLOG_SECONDS + 1)))]
    assert waits == sorted(waits)
    made.send_wait(5.0)  # the last one that fits, give or take a rounding error
    with pytest.raises(BacklogFullError, match="429002"):
        made.send_wait(4.9)
    assert made.send_wait(6.0) == pytest.approx(BACKLOG_SECONDS, abs=1.0)


def test_twin_requests_do_not_wait() -> None:
    made = IotHubUnits(1, 2, 1)
    assert [made.admits_twin_request(5.0, is_read=True) for _ in range(4)] == [True, True, True, False]
    assert [made.admits_twin_request(5.0, is_read=False) for _ in range(3)] == [True, True, False]
    assert made.admits_twin_request(6.0, is_read=False)
