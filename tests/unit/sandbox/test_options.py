"""What `sandbox hub` takes for units, and how it refuses anything else."""

from __future__ import annotations

import pytest

from sandbox.__main__ import make_parser
from sandbox.hub.throttling import IotHubUnits


def test_units_are_read() -> None:
    options = make_parser().parse_args(["hub", "--throughput-units", "3", "--iot-hub-units", "S2:2"])
    assert options.throughput_units == 3
    assert options.iot_hub_units == IotHubUnits.of("S2", 2)
    assert make_parser().parse_args(["hub", "--iot-hub-units", "S1"]).iot_hub_units == IotHubUnits.of("S1", 1)


@pytest.mark.parametrize(
    ("option", "given", "why"),
    [
        ("--throughput-units", "0", "'0' is not a number of units from 1 to 200"),
        ("--throughput-units", "many", "'many' is not a number of units"),
        ("--iot-hub-units", "F1:1", "'F1' is none of S1, S2, S3"),
        ("--iot-hub-units", "S1:201", "'201' is not a number of units"),
    ],
)
def test_anything_else_is_refused(option: str, given: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["hub", option, given])
    assert why in capsys.readouterr().err
