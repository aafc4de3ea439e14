"""The Helm chart, rendered by Helm's own engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "dedup-service"
KUBERNETES = ("1.30", "1.37")
"""The oldest supported version, and the newest whose schemas are available."""

Resource = dict[str, Any]


def value_files() -> list[Path]:
    return [*sorted((CHART / "ci").glob("*-values.yaml")), CHART / "values-production.yaml"]


def load_values(name: str) -> dict[str, Any]:
    """The values in ci/<name>-values.yaml."""
    values: dict[str, Any] = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text())
    return values


def render(values: dict[str, Any], *, namespace: str = "dedup") -> list[Resource]:
    """The rendered resources. Raises the engine's errors."""
    with Chart.load(CHART) as chart:
        files = chart.render(values=values, name="plant", namespace=namespace)
    resources: list[Resource] = []
    for name, text in files.items():
        if name.endswith(".yaml"):
            resources += [resource for resource in yaml.safe_load_all(text) if resource]
    return resources


def of_kind(resources: list[Resource], kind: str, name_contains: str = "") -> list[Resource]:
    return [item for item in resources if item["kind"] == kind and name_contains in item["metadata"]["name"]]


def pod_specs(resources: list[Resource]) -> list[tuple[str, Resource]]:
    """(name, pod spec) of everything that becomes pods."""
    specs = [(item["metadata"]["name"], item["spec"]["template"]["spec"]) for item in of_kind(resources, "Deployment")]
    return specs + [(item["metadata"]["name"], item["spec"]) for item in of_kind(resources, "Pod")]


def service_container(resources: list[Resource]) -> Resource:
    (deployment,) = (item for item in of_kind(resources, "Deployment") if "valkey" not in item["metadata"]["name"])
    container: Resource = deployment["spec"]["template"]["spec"]["containers"][0]
    return container
