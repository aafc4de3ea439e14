"""The Grafana dashboard queries what the service exposes, explains what it shows, and agrees with the alerts."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from dedup_service.observability.metrics import FleetCollector, create_registry
from dedup_service.telemetry import Count, PartitionFigures, Telemetry
from tests.support.overview import overview_of
from tests.support.programs import require
from tests.support.shared import REDIS

ROOT = Path(__file__).parents[2]
FILES = ROOT / "helm" / "dedup-service" / "files"
DASHBOARD, ALERTS = FILES / "grafana-dashboard.json", FILES / "alerts.yaml"
SCRAPED = {"namespace", "pod", "job", "instance"}
"""Labels that Prometheus adds to the series of a PodMonitor's targets."""
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
VALUES = {"$namespace": "plant", "$job": "plant/dedup", "$group": ".*", "$__rate_interval": "4m", "$__range": "6h"}
WORDS = {"max", "min", "sum", "count", "rate", "increase", "time", "clamp_min", "and", "or", "unless", "offset"}
"""The words that a query may contain in addition to metrics and labels."""
UNITS = {"none", "short", "s", "bytes", "percentunit", "cps", "eps", "ops"}
UNIT_OF = {"_seconds": "s", "_bytes": "bytes", "_ratio": "percentunit"}
COLOR_OF = {"warning": "orange", "critical": "red"}
CALM = {"green", "transparent"}
ROWS = ["Is the stream whole?", "How much redundancy is left?", "Do the copies agree?", "How is the service itself?"]
Json = dict[str, Any]
Law = Callable[[Json], Iterator[str]]


# --- what the service exposes


@dataclass(frozen=True)
class Shown:
    labels: dict[str, set[str]]
    """Names of labels by metric."""
    series: dict[str, float]
    """Values by series, without the labels that Prometheus adds."""


def shown(registry: CollectorRegistry) -> Shown:
    labels: dict[str, set[str]] = {}
    series: dict[str, float] = {}
    for sample in (sample for family in registry.collect() for sample in family.samples):
        labels.setdefault(sample.name, set()).update(sample.labels)
        series[sample.name + "".join(f',{label}="{value}"' for label, value in sample.labels.items())] = sample.value
    return Shown(labels, series)


def service() -> Shown:
    """What a service exposes once it has counted everything that it can count."""
    overview, telemetry = overview_of(), Telemetry()
    telemetry.partitions["0"] = PartitionFigures()
    telemetry.partition_taken("0", "", 1)
    telemetry.unavailable(REDIS, "away")
    for count in Count:
        telemetry.add(count, 7, "some" if count.value[1] else "")
    return shown(create_registry(telemetry, lambda: overview))


def deployment_wide() -> set[str]:
    """The metrics for which every pod shows the same values."""
    registry, overview = CollectorRegistry(), overview_of()
    registry.register(FleetCollector(lambda: overview))
    return set(shown(registry).labels)


# --- what the dashboard queries


@dataclass(frozen=True)
class Query:
    name: str
    panel: Json
    target: Json

    @property
    def expr(self) -> str:
        return str(self.target["expr"])

    @property
    def metrics(self) -> set[str]:
        return metrics_of(self.expr)


def panels_of(dashboard: Json) -> list[Json]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries_of(dashboard: Json) -> list[Query]:
    return [
        Query(f"panel:{panel['id']}:{target['refId']}", panel, target)
        for panel in panels_of(dashboard)
        for target in panel["targets"]
    ]


def metrics_of(expr: str) -> set[str]:
    """Every word that is not a label, range, function or operator."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\bby \([^)]*\)", " ", expr)
    return set(re.findall(r"(?<![\w.])[a-zA-Z_:][\w:]*", bare)) - WORDS


def selections(expr: str) -> list[tuple[str, set[str]]]:
    """(metric, labels that select from it)."""
    selected = re.findall(r"([a-zA-Z_]\w*)\{([^}]*)\}", expr)
    return [(metric, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))) for metric, inside in selected]


def groupings(expr: str) -> list[tuple[str, set[str]]]:
    """(metric, labels that it is aggregated by)."""
    grouped = re.findall(r"by \(([^)]*)\) \((?:\w+\(|\()*(\w+)", expr)
    return [(metric, {label.strip() for label in labels.split(",")}) for labels, metric in grouped]


def filled_in(text: str) -> str:
    for variable, value in VALUES.items():
        text = re.sub(re.escape(variable) + r"\b", value, text)
    return text


def variables_of(dashboard: Json) -> dict[str, Json]:
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def looked_up(dashboard: Json) -> list[tuple[str, str]]:
    """(selector, label) of every variable that is looked up in Prometheus."""
    queries = [variable["query"]["query"] for variable in variables_of(dashboard).values() if variable["type"] == "query"]
    matches = [re.fullmatch(r"label_values\((.+), (\w+)\)", query) for query in queries]
    return [(match[1], match[2]) for match in matches if match is not None]


def alert_rules() -> list[Json]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


# --- the laws: each yields its violations


def every_query_parses(dashboard: Json) -> Iterator[str]:
    queries = {query.name: query.expr for query in queries_of(dashboard)}
    queries |= {f"variable:{n}": selector for n, (selector, _) in enumerate(looked_up(dashboard))}
    rules = [{"record": name, "expr": filled_in(expr)} for name, expr in queries.items()]
    yield from (f"{rule['record']}: unknown variable in {rule['expr']}" for rule in rules if "$" in rule["expr"])
    yield from promtool("check", {"groups": [{"name": "dashboard", "rules": rules}]})


def every_query_finds_something(dashboard: Json) -> Iterator[str]:
    """As evaluated by Prometheus itself, with two pods that have counted everything that they can count."""
    series = []
    for shown_series, value in service().series.items():
        name, _, labels = shown_series.partition(",")
        values = f"{value}+{value}x80" if name.endswith("_total") else f"{value}x80"
        for pod in "ab":
            scraped = f'namespace="plant",job="plant/dedup",pod="{pod}",instance="{pod}:8000"'
            series.append({"series": f"{name}{{{','.join(filter(None, [scraped, labels]))}}}", "values": values})
    tests = [
        {
            "expr": f"count({filled_in(query.expr)}) > bool 0",
            "eval_time": "15m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for query in queries_of(dashboard)
    ]
    yield from promtool("test", {"tests": [{"interval": "15s", "input_series": series, "promql_expr_test": tests}]})


def every_metric_exists(dashboard: Json) -> Iterator[str]:
    exist = set(service().labels)
    asked = {query.name: query.metrics for query in queries_of(dashboard)}
    asked |= {f"variable {label}": metrics_of(selector) for selector, label in looked_up(dashboard)}
    yield from (f"{name}: there is no {metric}" for name, metrics in asked.items() for metric in metrics - exist)


def every_label_exists(dashboard: Json) -> Iterator[str]:
    exist = service().labels
    for query in queries_of(dashboard):
        grouped = groupings(query.expr)
        if len(grouped) != query.expr.count("by ("):
            yield f"{query.name}: cannot tell what is aggregated by which label"
        for metric, labels in selections(query.expr) + grouped:
            yield from (
                f"{query.name}: {metric} has no label {label}" for label in labels - exist.get(metric, set()) - SCRAPED
            )
    for selector, label in looked_up(dashboard):
        for metric in metrics_of(selector):
            if label not in exist.get(metric, set()) | SCRAPED:
                yield f"variable: {metric} has no label {label}"


def every_legend_uses_labels_that_are_left(dashboard: Json) -> Iterator[str]:
    for query in queries_of(dashboard):
        left = {label for _, labels in groupings(query.expr) for label in labels}
        for label in set(re.findall(r"\{\{(\w+)\}\}", query.target.get("legendFormat", ""))) - left:
            yield f"{query.name}: {label} is not left after the aggregation"


def every_query_keeps_to_what_was_chosen(dashboard: Json) -> Iterator[str]:
    """A query selects one deployment, and the chosen groups if its metric has groups."""
    exist = service().labels
    for query in queries_of(dashboard):
        selected = selections(query.expr)
        yield from (
            f"{query.name}: {metric} is not selected" for metric in query.metrics - {metric for metric, _ in selected}
        )
        for metric, labels in selected:
            needed = {"namespace", "job"} | (exist.get(metric, set()) & {"group"})
            yield from (f"{query.name}: {metric} is not selected by {label}" for label in needed - labels)


def what_every_pod_shows_alike_is_never_summed(dashboard: Json) -> Iterator[str]:
    for query in queries_of(dashboard):
        for metric in query.metrics & deployment_wide():
            for match in re.finditer(rf"\b{metric}\b", query.expr):
                before = query.expr[: match.start()]
                by = re.search(r"\bmax(?: by \(([^)]*)\) )?\((?:increase\()?$", before)
                if by is None or {"pod", "instance"} & set(re.findall(r"\w+", by[1] or "")):
                    yield f"{query.name}: {metric} needs max"


def every_panel_says_what_it_shows(dashboard: Json) -> Iterator[str]:
    for panel in panels_of(dashboard):
        title, description = panel.get("title", ""), panel.get("description", "")
        if not title:
            yield f"{panel['id']}: no title"
        if not re.fullmatch(r"[A-Z0-9][^\n]*[^.\s]\.", description) or ". " in description:
            yield f"{title}: the description is not one sentence"
        if panel["fieldConfig"]["defaults"].get("unit") not in UNITS:
            yield f"{title}: no unit"
        if panel["type"] == "table":
            names = panel["transformations"][-1]["options"]["renameByName"]
            yield from (f"{title}: a column without a name" for t in panel["targets"] if f"Value #{t['refId']}" not in names)


def every_unit_is_that_of_the_metric(dashboard: Json) -> Iterator[str]:
    for query in queries_of(dashboard):
        unit, metrics = query.panel["fieldConfig"]["defaults"].get("unit"), query.metrics
        for suffix, expected in UNIT_OF.items():
            alike = len(metrics) == 1 and all(metric.endswith(suffix) for metric in metrics)
            if alike and query.panel["type"] != "table" and unit != expected:
                yield f"{query.name}: {unit} instead of {expected}"


def everything_comes_from_the_chosen_data_source(dashboard: Json) -> Iterator[str]:
    variables = variables_of(dashboard)
    if (variables["datasource"]["type"], variables["datasource"]["query"]) != ("datasource", "prometheus"):
        yield "datasource: not for Prometheus"
    asking = [*panels_of(dashboard), *(query.target for query in queries_of(dashboard))]
    asking += [variable for variable in variables.values() if variable["type"] == "query"]
    yield from (f"{item.get('title', item)}: another data source" for item in asking if item.get("datasource") != DATASOURCE)


def nothing_is_in_the_same_place(dashboard: Json) -> Iterator[str]:
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    yield from (f"{number} is the id of several panels" for number in set(ids) if ids.count(number) > 1)
    for panel in panels:
        place = panel["gridPos"]
        if min(place["x"], place["y"]) < 0 or min(place["w"], place["h"]) < 1 or place["x"] + place["w"] > 24:
            yield f"{panel['title']}: outside of the grid"
    for one, other in combinations(panels, 2):
        a, b = one["gridPos"], other["gridPos"]
        apart = [a[at] + a[size] <= b[at] or b[at] + b[size] <= a[at] for at, size in (("x", "w"), ("y", "h"))]
        if not any(apart):
            yield f"{one['title']} and {other['title']} overlap"


def the_rows_are_in_the_order_of_the_questions(dashboard: Json) -> Iterator[str]:
    places = [(panel["gridPos"]["y"], panel["gridPos"]["x"]) for panel in dashboard["panels"]]
    if places != sorted(places):
        yield "the panels are not in the order in which they are read"
    rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    if rows != ROWS:
        yield f"the rows are {rows}"


def nothing_is_shown_twice(dashboard: Json) -> Iterator[str]:
    titles = [panel["title"] for panel in dashboard["panels"]]
    exprs = [query.expr for query in queries_of(dashboard)]
    yield from (f"twice: {text}" for texts in (titles, exprs) for text in set(texts) if texts.count(text) > 1)


def thresholds_are_those_of_the_alerts(dashboard: Json) -> Iterator[str]:
    """A threshold has the colour of its alert's severity. Without an alert it may only say that the value should be 0."""
    for panel in panels_of(dashboard):
        metrics = {metric for target in panel["targets"] for metric in metrics_of(target["expr"])}
        rules = [rule for rule in alert_rules() if metrics & set(re.findall(r"dedup_\w+", rule["expr"]))]
        numbers = {float(n) or 1.0 for rule in rules for n in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", rule["expr"])}
        colors = {COLOR_OF[rule["labels"]["severity"]] for rule in rules}
        for step in (step for steps in thresholds_of(panel) for step in steps):
            if step["value"] is not None and step["value"] not in (numbers if rules else {1}):
                yield f"{panel['title']}: no alert at {step['value']}"
            if step["color"] not in CALM | (colors if rules else {"red"}):
                yield f"{panel['title']}: no alert is {step['color']}"


def thresholds_of(panel: Json) -> Iterator[list[Json]]:
    config = panel["fieldConfig"]
    yield config["defaults"].get("thresholds", {}).get("steps", [])
    for override in config["overrides"]:
        yield from (prop["value"]["steps"] for prop in override["properties"] if prop["id"] == "thresholds")


def every_alert_can_be_looked_at(dashboard: Json) -> Iterator[str]:
    asked = {metric for query in queries_of(dashboard) for metric in query.metrics}
    for rule in alert_rules():
        unseen = set(re.findall(r"dedup_\w+", rule["expr"])) - asked
        yield from (f"{rule['alert']}: {metric} is not on the dashboard" for metric in unseen)


def it_is_the_dashboard_that_is_linked_to(dashboard: Json) -> Iterator[str]:
    expected = {"uid": "redundant-edge-dedup", "title": "Redundant edge dedup", "schemaVersion": 39}
    yield from (f"{key} is not {value}" for key, value in expected.items() if dashboard.get(key) != value)
    if list(variables_of(dashboard)) != ["datasource", "namespace", "job", "group"]:
        yield "other variables"
    if len(looked_up(dashboard)) != 3:
        yield "a variable that is not looked up with label_values"


LAWS: dict[Law, tuple[tuple[str, str], ...]] = {
    every_query_parses: (
        ("max by (partition) (", "max by (partition) (("),
        ("label_values(dedup_input_events_total{", "label_values(dedup_input_events_total{{"),
        ("[$__rate_interval]", "[$__interval]"),
    ),
    every_query_finds_something: (
        (" / max by (group) (dedup_group_window_seconds", " / max by (namespace) (dedup_group_window_seconds"),
        (r"job=\"$job\",group=~\"$group\"", r"job=\"$job\",group=~\"\""),
    ),
    every_metric_exists: (
        ("sum(rate(dedup_copies_total", "sum(rate(dedup_copies"),
        ("0 * max by (dependency) (dedup_failures_total", "0 * max by (dependency) (up"),
        ("label_values(dedup_group_expected_replicas", "label_values(dedup_groups"),
    ),
    every_label_exists: (
        ("sum by (reason) (", "sum by (cause) ("),
        (r"dedup_paused{namespace=\"$namespace\"", r"dedup_paused{group=\"$group\",namespace=\"$namespace\""),
        ("max by (partition) (", "max by (partition)("),
        (r"job=\"$job\"}, group)", r"job=\"$job\"}, replica)"),
    ),
    every_legend_uses_labels_that_are_left: (('"{{partition}}"', '"{{pod}}"'),),
    every_query_keeps_to_what_was_chosen: (
        (r"dedup_copies_total{namespace=\"$namespace\",job=\"$job\"}", "dedup_copies_total"),
        (r"dedup_paused{namespace=\"$namespace\",", "dedup_paused{"),
        (
            r"dedup_group_missing_readings{namespace=\"$namespace\",job=\"$job\",group=~\"$group\"}",
            r"dedup_group_missing_readings{namespace=\"$namespace\",job=\"$job\"}",
        ),
    ),
    what_every_pod_shows_alike_is_never_summed: (
        ("max by (group) (dedup_group_missing_readings", "sum by (group) (dedup_group_missing_readings"),
        ("max(dedup_redis_used_bytes", "avg(dedup_redis_used_bytes"),
        ("max(dedup_redis_used_bytes", "(dedup_redis_used_bytes"),
        ("max by (group) (dedup_group_sole_source_ratio", "max by (group, pod) (dedup_group_sole_source_ratio"),
        ("max(increase(dedup_redis_evicted_keys_total", "sum(increase(dedup_redis_evicted_keys_total"),
    ),
    every_panel_says_what_it_shows: (
        ('"title": "Which events are ignored?"', '"title": ""'),
        ("The age of the oldest event that may be unfinished: ", "The age of the oldest event that may be unfinished. "),
        ('"description": "The age of', '"comment": "The age of'),
        ('"unit": "cps"', '"unit": "c/s"'),
        ('"Value #B": "First"', '"Value #Z": "First"'),
    ),
    every_unit_is_that_of_the_metric: (('"unit": "bytes"', '"unit": "short"'), ('"unit": "percentunit"', '"unit": "none"')),
    everything_comes_from_the_chosen_data_source: (
        ('"uid": "${datasource}"', '"uid": "prometheus"'),
        ('"query": "prometheus"', '"query": "loki"'),
    ),
    nothing_is_in_the_same_place: (('"id": 2,', '"id": 3,'), ('"x": 12,', '"x": 11,'), ('"x": 12,', '"x": 13,')),
    the_rows_are_in_the_order_of_the_questions: (
        ("Do the copies agree?", "Copies"),
        ('"y": 68', '"y": 100'),
    ),
    nothing_is_shown_twice: (
        ("Which operations fail?", "Which events are ignored?"),
        ("dedup_duplicates_total", "dedup_copies_total"),
    ),
    thresholds_are_those_of_the_alerts: (
        ('"value": 60', '"value": 120'),
        ('"value": 0.95', '"value": 0.9'),
        ('"color": "orange"', '"color": "yellow"'),
    ),
    every_alert_can_be_looked_at: (("dedup_group_missing_readings", "dedup_group_sole_source_ratio"),),
    it_is_the_dashboard_that_is_linked_to: (
        ('"uid": "redundant-edge-dedup"', '"uid": "dedup"'),
        ('"name": "namespace"', '"name": "cluster"'),
        ('"query": "label_values(', '"query": "query_result('),
    ),
}
"""The laws, and for each of them edits of the dashboard that break it."""


def promtool(action: str, content: Json) -> Iterator[str]:
    """Yields promtool's complaints. The file is passed through a pipe, so that nothing is left behind."""
    command = [require("promtool"), action, "rules", "/dev/stdin"]
    done = subprocess.run(command, input=yaml.safe_dump(content, width=10_000), capture_output=True, text=True, check=False)
    if done.returncode:
        yield done.stdout + done.stderr


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_dashboard_keeps_the_law(law: Law) -> None:
    assert list(law(json.loads(DASHBOARD.read_text()))) == []


@pytest.mark.parametrize(
    ("law", "old", "new"),
    [pytest.param(law, *edit, id=f"{law.__name__}-{n}") for law, edits in LAWS.items() for n, edit in enumerate(edits)],
)
def test_a_dashboard_that_breaks_the_law_is_detected(law: Law, old: str, new: str) -> None:
    text = DASHBOARD.read_text()
    assert old in text
    assert list(law(json.loads(text.replace(old, new)))) != []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("_x40 5x40", 5),
        ("3x40 8x40", 5),
        ("5x80", 0),
    ],
    ids=["the-first-ones", "more-of-them", "no-more"],
)
def test_a_first_burst_of_dead_letters_is_seen(values: str, expected: int) -> None:
    """The counter of a reason appears with its first dead letters, so increase() alone does not count these."""
    query = next(q for q in queries_of(json.loads(DASHBOARD.read_text())) if "dedup_dead_lettered_total" in q.metrics)
    series = 'dedup_dead_lettered_total{namespace="plant",job="plant/dedup",pod="a",reason="no-key"}'
    case = {
        "expr": f"round({filled_in(query.expr)})",
        "eval_time": "12m",
        "exp_samples": [{"labels": '{reason="no-key"}', "value": expected}],
    }
    series_of = [{"series": series, "values": values}]
    tests = [{"interval": "15s", "input_series": series_of, "promql_expr_test": [case]}]
    assert list(promtool("test", {"tests": tests})) == []


def test_every_law_is_listed_and_can_fail() -> None:
    law = {"dashboard": "Json", "return": "Iterator[str]"}
    laws = {name for name, thing in globals().items() if getattr(thing, "__annotations__", None) == law}
    assert laws == {law.__name__ for law in LAWS}
    assert all(LAWS.values())


def test_the_file_is_formatted_for_people() -> None:
    text = DASHBOARD.read_text()
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
