"""Every alert fires when it should and stays silent when it should not, as evaluated by Prometheus itself."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dedup_service.core.rebuild_progress import RebuildProgress
from dedup_service.observability.metrics import create_registry
from dedup_service.observability.shared_overview import Overview
from dedup_service.telemetry import PartitionFigures, Telemetry
from tests.support.overview import overview_of
from tests.support.programs import require
from tests.support.shared import REDIS

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "helm" / "dedup-service" / "files" / "alerts.yaml"
GROUP, POD_B = '{group="presses",pod="a"}', '{group="presses",pod="b"}'
EDGE_1, EDGE_2 = '{group="presses",replica="edge-1",pod="a"}', '{group="presses",replica="edge-2",pod="a"}'
POD = '{pod="a"}'
PLANT_A = {"namespace": "plant-a", "job": "plant-a/dedup-service"}
PLANT_B = {"namespace": "plant-b", "job": "plant-b/dedup-service"}
Series = dict[str, str]

CASES: dict[str, tuple[str, Series, Series]] = {
    "RedundancyLost": (
        "1m",
        {
            f"dedup_group_live_replicas{GROUP}": "3 2x40",
            f"dedup_group_live_replicas{POD_B}": "3 2x40",
            f"dedup_group_expected_replicas{GROUP}": "3x40",
        },
        {f"dedup_group_live_replicas{GROUP}": "3x40", f"dedup_group_expected_replicas{GROUP}": "3x40"},
    ),
    "OneReplicaLeft": (
        "1m",
        {f"dedup_group_live_replicas{GROUP}": "1x40", f"dedup_group_expected_replicas{GROUP}": "3x40"},
        {f"dedup_group_live_replicas{GROUP}": "1x40", f"dedup_group_expected_replicas{GROUP}": "1x40"},
    ),
    "ReplicaSilent": (
        "1m",
        {f"dedup_replica_live{EDGE_2}": "1 0x40"},
        {f"dedup_replica_live{EDGE_2}": "1 0 1x40"},
    ),
    "CoverageLow": (
        "20m",
        {f"dedup_replica_live{EDGE_2}": "1x100", f"dedup_replica_coverage_ratio{EDGE_2}": "0.9x100"},
        {
            f"dedup_replica_live{EDGE_1}": "1x100",
            f"dedup_replica_coverage_ratio{EDGE_1}": "0.999x100",
            f"dedup_replica_live{EDGE_2}": "0x100",
            f"dedup_replica_coverage_ratio{EDGE_2}": "0.9x100",
        },
    ),
    "Conflicts": (
        "3m",
        {f"dedup_group_conflicting_copies{GROUP}": "0 3x40"},
        {f"dedup_group_conflicting_copies{GROUP}": "0x40"},
    ),
    "ReadingsLostByEveryReplica": (
        "12m",
        {f"dedup_group_missing_readings{GROUP}": "7x60"},
        {f"dedup_group_missing_readings{GROUP}": "7x20 0x40"},
    ),
    "WindowTooShort": (
        "8m",
        {f"dedup_group_copy_spread_seconds{GROUP}": "9000x40", f"dedup_group_window_seconds{GROUP}": "14400x40"},
        {f"dedup_group_copy_spread_seconds{GROUP}": "7000x40", f"dedup_group_window_seconds{GROUP}": "14400x40"},
    ),
    "DeadLetters": (
        "15m",
        {'dedup_dead_lettered_total{reason="no-key",pod="a"}': "_x58 500x40"},  # all at once
        {'dedup_dead_lettered_total{reason="no-key",pod="a"}': "5x200"},
    ),
    "DependencyUnavailable": (
        "2m",
        {'dedup_paused{dependency="Redis",pod="a"}': "1x40"},
        {'dedup_paused{dependency="Redis",pod="a"}': "1 1 stale"},
    ),
    "RedisUnreadable": (
        "15m",
        {'dedup_redis_unreadable_total{pod="a"}': "0x30 3x40"},
        {'dedup_redis_unreadable_total{pod="a"}': "3x200"},
    ),
    "RedisForgot": (
        "15m",
        {'dedup_redis_forgot_total{pod="a"}': "0x30 1x40", 'dedup_redis_forgot_total{pod="b"}': "0x70"},
        {'dedup_redis_forgot_total{pod="a"}': "3x200", 'dedup_redis_forgot_total{pod="b"}': "0x200"},
    ),
    "ClaimsNotRestored": (
        "15m",
        {'dedup_not_restored_total{pod="a"}': "0x70", 'dedup_clean_stream_expired_total{pod="a"}': "_x58 1x40"},
        {'dedup_not_restored_total{pod="a"}': "3x200", 'dedup_clean_stream_expired_total{pod="a"}': "0x200"},
    ),
    "PartitionsGivenUp": (
        "15m",
        {'dedup_partitions_given_up_total{pod="a"}': "0x30 3x40"},
        {'dedup_partitions_given_up_total{pod="a"}': "3x200"},
    ),
    "ReplicaBeyondLimits": (
        "15m",
        {'dedup_beyond_limits_total{replica="edge-1",pod="a"}': "0x30 50000x40"},
        {'dedup_beyond_limits_total{replica="edge-1",pod="a"}': "50000x200"},
    ),
    "ClaimsLost": (
        "15m",
        {'dedup_claims_lost_total{pod="a"}': "0x30 3x40"},
        {'dedup_claims_lost_total{pod="a"}': "3x200"},
    ),
    "RetentionSetTooShort": (
        "2m",
        {'dedup_retention_disproved_total{input="default",pod="a"}': "1x40"},
        {'dedup_retention_disproved_total{input="default",pod="a"}': "0x40"},
    ),
    "RedisEvicts": (
        "5m",
        {f"dedup_redis_evicted_keys_total{POD}": "0+5x40"},
        {f"dedup_redis_evicted_keys_total{POD}": "7x40"},
    ),
    "ClaimsNearMemoryLimit": (
        "8m",
        {
            f"dedup_redis_projected_claims_bytes{POD}": "900x40",
            f"dedup_redis_used_bytes{POD}": "100x40",
            f"dedup_redis_limit_bytes{POD}": "1000x40",
        },
        {
            f"dedup_redis_projected_claims_bytes{POD}": "900x40",
            f"dedup_redis_used_bytes{POD}": "900x40",
            f"dedup_redis_limit_bytes{POD}": "0x40",
        },
    ),
    "ServiceGone": (
        "45m",
        {f"dedup_partitions_owned{POD}": "4x20 stale"},
        {f"dedup_partitions_owned{POD}": "4x20 stale", 'dedup_partitions_owned{pod="b"}': "_x20 4x200"},
    ),
    "UnexpectedErrors": (
        "15m",
        {f"dedup_worker_failures_total{POD}": "_x58 1x40"},
        {f"dedup_worker_failures_total{POD}": "3x200"},
    ),
    "InputHubRecreated": (
        "15m",
        {f"dedup_hub_recreated_total{POD}": "_x58 1x40"},
        {f"dedup_hub_recreated_total{POD}": "3x200"},
    ),
    "PartitionLag": (
        "8m",
        {'dedup_partition_lag_seconds{partition="3",pod="a"}': "120x40"},
        {'dedup_partition_lag_seconds{partition="3",pod="a"}': "5x40"},
    ),
}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def test_every_alert_has_a_case() -> None:
    assert {rule["alert"] for rule in rules()} == set(CASES)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("firing", [True, False], ids=["fires", "stays-silent"])
def test_alert(name: str, firing: bool, tmp_path: Path) -> None:
    at, loud, quiet = CASES[name]
    series = [{"series": series, "values": values} for series, values in (loud if firing else quiet).items()]
    count = {"expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)', "eval_time": at}
    expected = {**count, "exp_samples": [{"labels": "{}", "value": int(firing)}]}
    case = {"interval": "15s", "input_series": series, "promql_expr_test": [expected]}
    test = tmp_path / "test.yaml"
    test.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "15s", "tests": [case]}))
    promtool("test", str(test))


@pytest.mark.parametrize("name", CASES)
def test_another_release_neither_masks_an_alert_nor_raises_it(name: str, tmp_path: Path) -> None:
    """Two releases in one Prometheus, of the same groups and partitions; then in one namespace, told apart by their job."""
    at, loud, quiet = CASES[name]
    for places in ((PLANT_A, PLANT_B), (PLANT_A, {**PLANT_B, "namespace": PLANT_A["namespace"]})):
        of_both = zip(places, (loud, quiet), strict=True)
        series = [{"series": scraped(item, place), "values": v} for place, given in of_both for item, v in given.items()]
        case = {"interval": "15s", "input_series": series, "promql_expr_test": [firing_in(name, at, places[0])]}
        test = tmp_path / "test.yaml"
        test.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "15s", "tests": [case]}))
        promtool("test", str(test))


def firing_in(name: str, at: str, place: dict[str, str]) -> dict[str, Any]:
    """What is expected to fire: once, and in this place only."""
    expr = f'count by (namespace, job) (ALERTS{{alertname="{name}",alertstate="firing"}})'
    return {"expr": expr, "eval_time": at, "exp_samples": [{"labels": scraped("{}", place), "value": 1}]}


def scraped(series: str, place: dict[str, str]) -> str:
    """The series with the labels that Prometheus adds."""
    labels = ",".join(f'{name}="{value}"' for name, value in place.items())
    return series.replace("{", f"{{{labels}," if series[-2] != "{" else f"{{{labels}")


def test_every_alert_names_the_page_that_explains_it() -> None:
    (repository,) = yaml.safe_load((ALERTS.parents[1] / "Chart.yaml").read_text())["sources"]
    page = (ROOT / "docs" / "operations.md").read_text()
    for rule in rules():
        anchor = rule["alert"].lower()
        assert rule["annotations"]["runbook_url"] == f"{repository}/blob/main/docs/operations.md#{anchor}"
        assert page.count(f'<a id="{anchor}"></a>') == 1, anchor


def test_the_rules_are_valid() -> None:
    promtool("check", str(ALERTS))


def promtool(action: str, file: str) -> None:
    command = [require("promtool"), action, "rules", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# --- what the service exposes


def exposed() -> dict[str, set[str]]:
    """Every metric of this service, with its labels."""
    overview: Overview = overview_of()
    telemetry = Telemetry()
    telemetry.unavailable(REDIS, "away")
    telemetry.partitions["0"] = PartitionFigures()
    telemetry.partition_taken("0", "", 1)
    registry = create_registry(telemetry, lambda: overview)
    labels_of: dict[str, set[str]] = {}
    for family in registry.collect():
        if family.name.startswith("dedup_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels_of[name] = {label for sample in family.samples for label in sample.labels}
    return labels_of


def test_alerts_use_metrics_that_exist() -> None:
    used = {name for rule in rules() for name in re.findall(r"dedup_\w+", rule["expr"])}
    assert used <= set(exposed())


def test_every_metric_is_documented_and_every_documented_one_exists() -> None:
    documented = set(re.findall(r"^\| `(dedup_\w+)`", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    assert documented == set(exposed())


def test_only_labels_with_bounded_values_are_used() -> None:
    all_labels = {label for labels in exposed().values() for label in labels}
    assert all_labels <= {"group", "replica", "reason", "dependency", "partition", "outcome", "input"}


def test_clean_events_that_are_not_restored_are_reported_alone(tmp_path: Path) -> None:
    """The alert has two causes, of which its case has the other one."""
    series = [{"series": 'dedup_not_restored_total{pod="a"}', "values": "0x30 3x40"}]
    expr = 'count(ALERTS{alertname="ClaimsNotRestored",alertstate="firing"})'
    expected = {"expr": expr, "eval_time": "15m", "exp_samples": [{"labels": "{}", "value": 1}]}
    case = {"interval": "15s", "input_series": series, "promql_expr_test": [expected]}
    test = tmp_path / "test.yaml"
    test.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "15s", "tests": [case]}))
    promtool("test", str(test))


def test_a_rebuild_is_exported_while_it_lasts_and_what_is_not_known_has_no_value() -> None:
    def values(progress: RebuildProgress | None) -> dict[str, float]:
        telemetry = Telemetry()
        telemetry.rebuild = progress
        samples = [item for family in create_registry(telemetry, lambda: None).collect() for item in family.samples]
        return {item.name: item.value for item in samples if item.name.startswith("dedup_rebuild")}

    share, left = "dedup_rebuild_progress_ratio", "dedup_rebuild_remaining_seconds"
    assert values(None) == {share: 1.0, left: 0.0}
    assert values(RebuildProgress(1, 0.63, True, 41.0)) == {share: 0.63, left: 41.0}
    assert values(RebuildProgress(1, 0.0, False)) == {share: 0.0}
