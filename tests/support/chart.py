"""The Helm chart, rendered by Helm's own engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart, Config

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "dedup-service"
KUBERNETES = ("1.30", "1.37")
"""The oldest supported version, and the newest whose schemas are available."""

Resource = dict[str, Any]


def value_files() -> list[Path]:
    return [*sorted((CHART / "ci").glob("*-values.yaml")), *sizes()]


def sizes() -> list[Path]:
    """The files from which a deployment of some size may start."""
    return sorted(CHART.glob("values-*.yaml"))


def load_values(name: str) -> dict[str, Any]:
    """The values in ci/<name>-values.yaml."""
    values: dict[str, Any] = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text())
    return values


def render(values: dict[str, Any], *, path: Path = CHART, name: str = "plant", namespace: str = "dedup") -> list[Resource]:
    """The rendered resources, as `helm template` makes them. Raises the engine's errors."""
    with Chart.load(path) as chart:
        return _resources(chart.render(values=values, name=name, namespace=namespace))


def render_upgrade(values: dict[str, Any], kubeconfig: str, *, namespace: str = "dedup") -> list[Resource]:
    """The rendered resources, as `helm upgrade` makes them: the chart may look up what is in the cluster."""
    with Chart.load(CHART) as chart, Config(kubeconfig_content=kubeconfig, namespace=namespace) as config:
        return _resources(config.render(chart, values=values, name="plant", namespace=namespace, is_upgrade=True))


def _resources(files: dict[str, str]) -> list[Resource]:
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


def service_deployment(resources: list[Resource]) -> Resource:
    (deployment,) = (item for item in of_kind(resources, "Deployment") if "valkey" not in item["metadata"]["name"])
    return deployment


def service_container(resources: list[Resource]) -> Resource:
    container: Resource = service_deployment(resources)["spec"]["template"]["spec"]["containers"][0]
    return container
