"""`dedup-service plan`: arithmetic that a person can follow."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dedup_service.__main__ import make_parser
from dedup_service.commands.plan import as_values, planned
from dedup_service.core.hub_tiers import NAMESPACE_TIERS, TIERS, least_tier
from dedup_service.core.sizing import MAX_UTILIZATION, Plan, PlannedLoad, copy_us, plan
from tests.support.chart import load_values, render, service_container, service_deployment, sizes

LOADS = st.builds(
    PlannedLoad,
    readings_per_second=st.floats(0.1, 1e5),
    replicas=st.integers(1, 8),
    batch=st.integers(1, 200),
    body_bytes=st.integers(1, 2000),
    window_seconds=st.integers(60, 86_400),
)


@given(load=LOADS)
def test_more_load_never_needs_less(load: PlannedLoad) -> None:
    more = plan(replace(load, readings_per_second=load.readings_per_second * 2))
    less = plan(load)
    assert more.pods >= less.pods >= 2
    assert more.partitions >= less.partitions >= less.pods
    assert more.redis_bytes >= less.redis_bytes
    assert more.clean_throughput_units >= less.clean_throughput_units >= 1
    assert all(more.iot_hub_units[tier] >= less.iot_hub_units[tier] for tier in more.iot_hub_units)


@given(load=LOADS)
def test_pods_have_the_headroom_that_was_asked_for(load: PlannedLoad) -> None:
    needed = plan(load)
    assert needed.pods * MAX_UTILIZATION >= needed.cores * load.headroom * 0.999
    assert needed.cores == pytest.approx(load.copies_per_second * copy_us(load) / 1e6)


@given(load=LOADS)
def test_iot_hub_units_suffice_for_the_day_and_for_the_second(load: PlannedLoad) -> None:
    needed = plan(load)
    for tier in TIERS:
        if units := needed.iot_hub_units.get(tier.name):
            assert units * tier.messages_per_day >= needed.metered_messages_per_day * 0.999
            assert max(units * tier.sends_per_second, tier.free_sends_per_second) >= load.events_per_second * 0.999
            assert units <= tier.max_units


def test_twenty_readings_in_4_kb_are_metered_as_one_message() -> None:
    single = plan(PlannedLoad(100, body_bytes=1))
    batched = plan(PlannedLoad(100, batch=17, body_bytes=1))
    assert single.metered_messages_per_day == pytest.approx(17 * batched.metered_messages_per_day)
    assert any("batching" in warning for warning in single.warnings)
    assert not batched.warnings


def _without_sizes_of_the_window(needed: Plan) -> Plan:
    return replace(needed, redis_bytes=0, replica_readings_in_window=0)


def test_the_window_costs_redis_memory_and_nothing_else() -> None:
    short, long = (plan(PlannedLoad(1000, window_seconds=hours * 3600)) for hours in (1, 10))
    assert long.redis_bytes == 10 * short.redis_bytes
    assert long.replica_readings_in_window == 10 * short.replica_readings_in_window
    assert _without_sizes_of_the_window(long) == _without_sizes_of_the_window(short)


def test_an_impossible_load_is_warned_about() -> None:
    needed = plan(PlannedLoad(100_000, replicas=5, batch=2000, body_bytes=4000))
    text = " ".join(needed.warnings)
    assert not needed.iot_hub_units
    assert "batch less" in text
    assert "DEDUP_REDIS_CLUSTER" in text


@pytest.mark.parametrize(
    ("rate", "partitions", "needed"),
    [(1000, 4, None), (1000, 40, "Premium, 1 unit:"), (1e7, 32, "Premium, 3 units:"), (1, 1000, "Dedicated, 1 unit:")],
)
def test_a_tier_that_has_too_few_partitions_or_connections_is_warned_of(
    rate: float, partitions: int, needed: str | None
) -> None:
    text = " ".join(plan(PlannedLoad(rate, batch=20, output_partitions=partitions)).warnings)
    assert ("connections need Event Hubs" in text) == (needed is not None)
    assert (needed or "") in text


def test_no_tier_has_so_many_partitions() -> None:
    assert "no hub has 5000 partitions" in " ".join(plan(PlannedLoad(1, output_partitions=5000)).warnings)


@given(connections=st.integers(0, 10**6), partitions=st.integers(1, 2000))
def test_the_least_tier_carries_what_the_ones_before_it_do_not(connections: int, partitions: int) -> None:
    tier = least_tier(connections, partitions)
    before = NAMESPACE_TIERS if tier is None else NAMESPACE_TIERS[: NAMESPACE_TIERS.index(tier)]
    assert not any(one.carries(connections, partitions) for one in before)
    if tier is not None:
        assert tier.units(connections) * tier.connections >= connections
        assert tier.has_units or tier.units(connections) == 1


def test_the_plan_is_printed_for_people_and_for_programs() -> None:
    words = ["plan", "--rate", "1000", "--replicas", "3", "--batch", "20", "--window", "4h"]
    text = planned(make_parser().parse_args(words))
    assert "2.3 GB of claims" in text
    assert "3,000 copies/s, 150 events/s" in text
    printed = json.loads(planned(make_parser().parse_args([*words, "--json"])))
    assert printed["plan"]["pods"] == 2
    assert printed["load"]["batch"] == 20


@pytest.mark.parametrize("wrong", [["--rate", "0"], ["--rate", "1", "--window", "4"], ["--rate", "1", "--batch", "0"], []])
def test_an_invalid_argument_is_refused_with_its_name(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["plan", *wrong])
    assert (wrong[-2] if wrong else "--rate") in capsys.readouterr().err


# --- values for the chart


@given(load=LOADS)
def test_the_chart_gets_the_pods_and_cores_of_the_plan(load: PlannedLoad) -> None:
    values, needed = yaml.safe_load(as_values(load)), plan(load)
    assert (values["replicaCount"], values["partitions"]) == (needed.pods, needed.partitions)
    millicores = int(values["resources"]["requests"]["cpu"].removesuffix("m"))
    assert needed.pods * millicores / 1000 * MAX_UTILIZATION >= needed.cores * load.headroom * 0.999
    assert millicores <= 1000
    assert values["settings"]["window_seconds"] == load.window_seconds


def test_what_the_chart_has_no_value_for_is_in_comments() -> None:
    printed = planned(make_parser().parse_args(["plan", "--rate", "1000", "--batch", "20", "--values"]))
    comments = [line for line in printed.splitlines() if line.startswith("# ")]
    assert any("IoT Hub" in line for line in comments)
    assert any("maxmemory" in line for line in comments)


@pytest.mark.parametrize("rate", ["0.1", "1000", "100000", "1000000"])
def test_the_chart_accepts_the_values(rate: str) -> None:
    printed = yaml.safe_load(planned(make_parser().parse_args(["plan", "--rate", rate, "--values"])))
    values = load_values("minimal")
    resources = render({**values, **printed, "settings": {**values["settings"], **printed["settings"]}})
    assert service_deployment(resources)["spec"]["replicas"] == printed["replicaCount"]


@pytest.mark.parametrize("path", sizes(), ids=lambda path: path.name)
def test_a_file_for_a_size_suffices_for_the_load_that_it_names(path: Path) -> None:
    given = yaml.safe_load(path.read_text())
    command = re.search(r"^# Sized by: dedup-service (plan .*)$", path.read_text(), re.MULTILINE)
    assert command is not None
    needed = yaml.safe_load(planned(make_parser().parse_args([*command[1].split(), "--values"])))
    assert given["replicaCount"] >= needed["replicaCount"]
    assert given["partitions"] >= needed["partitions"]
    assert given["settings"]["window_seconds"] == needed["settings"]["window_seconds"]
    assert given["settings"].get("redis_cluster", False) >= needed["settings"].get("redis_cluster", False)
    requested = service_container(render(given))["resources"]["requests"]["cpu"]
    assert cores(requested) >= cores(needed["resources"]["requests"]["cpu"])


def cores(quantity: str) -> float:
    return int(quantity.removesuffix("m")) / 1000 if quantity.endswith("m") else float(quantity)
