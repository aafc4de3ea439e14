"""Rules for the pods that the chart makes, whatever the values, and for the Services that lead to them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.peers.processes import free_port
from tests.support.chart import (
    CHART,
    Resource,
    load_values,
    of_kind,
    pod_specs,
    render,
    render_upgrade,
    service_deployment,
    value_files,
)
from tests.support.cluster import cluster

LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
TMP = "/tmp"  # noqa: S108 - where libraries write, in a container whose root file system is read-only
DIGEST = "sha256:" + "7" * 64
EVERYWHERE = {
    "dnsConfig": {"nameservers": ["10.0.0.10"]},
    "hostAliases": [{"ip": "10.0.0.7", "hostnames": ["hub"]}],
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "high",
    "imagePullSecrets": [{"name": "registry"}],
}


@pytest.fixture(params=value_files(), ids=lambda path: path.name)
def values(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(request.param.read_text())
    return loaded


# --- what reaches every pod


def test_where_pods_run_and_what_they_resolve_holds_for_every_pod(values: dict[str, Any]) -> None:
    for name, spec in pod_specs(render({**values, **EVERYWHERE})):
        assert {field: spec[field] for field in EVERYWHERE} == EVERYWHERE, name


def test_a_constraint_without_a_selector_gets_that_of_the_pods() -> None:
    zone = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    other = {**zone, "labelSelector": {"matchLabels": {"a": "b"}}}
    deployment = service_deployment(render({**load_values("minimal"), "topologySpreadConstraints": [zone, other]}))
    own, given = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert own == {**zone, "labelSelector": {"matchLabels": deployment["spec"]["selector"]["matchLabels"]}}
    assert given == other


def test_labels_are_valid_whatever_the_release_and_the_version_are_called(tmp_path: Path) -> None:
    shutil.copytree(CHART, copy := tmp_path / "dedup-service")
    file = copy / "Chart.yaml"
    file.write_text(re.sub(r"(?m)^(version|appVersion): .*", rf"\1: 1.2.3-rc.1+build.{'7' * 60}", file.read_text()))
    for resource in render(load_values("trial"), path=copy, name="a" * 53):
        labels = resource["metadata"]["labels"]
        labels = {**labels, **resource.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {})}
        assert all(LABEL.fullmatch(value) for value in labels.values()), labels
        limit = 63 if resource["kind"] == "Service" else 253
        assert len(resource["metadata"]["name"]) <= limit


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ("minimal", {"config": {"groups": [{"name": "presses", "devices": ["edge-*"]}]}}),
        ("trial", {"tests": {"roundTrip": False}}),
        ("production", {"secretsStore": {"objects": {"input_connection_string": "renamed"}}}),
        ("production", {"secretsStore": {"keyVaultName": "another"}}),
    ],
)
def test_pods_start_anew_when_what_they_have_mounted_changes(base: str, change: dict[str, Any]) -> None:
    before = yaml.safe_load((CHART / "values-production.yaml").read_text()) if base == "production" else load_values(base)
    (section,) = change
    after = {**before, section: {**before.get(section, {}), **change[section]}}
    templates = [service_deployment(render(given))["spec"]["template"]["metadata"] for given in (before, after)]
    assert templates[0] != templates[1]


def test_names_labels_and_registry_of_the_house_reach_everything() -> None:
    values = load_values("house-rules")
    resources = render(values)
    own = [item for item in resources if item["metadata"]["name"] != "proxies"]
    for item in own:
        assert item["metadata"]["name"].startswith(values["fullnameOverride"])
        assert values["commonLabels"].items() <= item["metadata"]["labels"].items(), item
        if item["kind"] == "Deployment":
            assert values["commonLabels"].items() <= item["spec"]["template"]["metadata"]["labels"].items()
            assert not values["commonLabels"].keys() & item["spec"]["selector"]["matchLabels"].keys()  # that can't change
    images = {container["image"] for _, spec in pod_specs(resources) for container in spec["containers"]}
    assert images == {
        "mirror.example.com/cached/redundant-edge-dedup/dedup-service:0.1.0-hardened",
        "mirror.example.com/cached/valkey/valkey:9.0.0-alpine",
        "mirror.example.com/logs:1",
    }


def test_every_image_may_be_named_by_its_digest() -> None:
    digests = {
        "image": {"digest": DIGEST},
        "valkey": {"enabled": True, "existingSecret": "v", "image": f"valkey/valkey:9@{DIGEST}"},
    }
    for name, spec in pod_specs(render({**load_values("trial"), **digests})):
        assert all(container["image"].endswith(f"@{DIGEST}") for container in spec["containers"]), name


def test_a_cluster_that_gives_out_ids_gets_none(values: dict[str, Any]) -> None:
    given = {**values, "podSecurityContext": {"runAsUser": None, "runAsGroup": None, "fsGroup": None}}
    for name, spec in pod_specs(render(given)):
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}, name


def test_the_service_and_its_tests_may_write_to_tmp(values: dict[str, Any]) -> None:
    for name, spec in pod_specs(render(values)):
        if "valkey" not in name:
            (mounted,) = (item["name"] for item in spec["containers"][0]["volumeMounts"] if item["mountPath"] == TMP)
            assert mounted in {volume["name"] for volume in spec["volumes"] if "emptyDir" in volume}


def test_what_the_values_add_is_in_the_pods_of_the_service() -> None:
    values = load_values("house-rules")
    deployment = service_deployment(render(values))
    spec = deployment["spec"]["template"]["spec"]
    service, *beside = spec["containers"]
    assert beside == values["sidecars"]
    assert spec["initContainers"] == values["initContainers"]
    assert service["envFrom"] == values["extraEnvFrom"]
    assert values["extraVolumes"][0] in spec["volumes"]
    assert values["extraVolumeMounts"][0] in service["volumeMounts"]
    request = {"path": "/readyz", "port": "http", "scheme": "HTTPS"}
    probe = {"httpGet": request, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 5}
    assert service["readinessProbe"] == probe
    assert (deployment["spec"]["minReadySeconds"], deployment["spec"]["revisionHistoryLimit"]) == (5, 3)
    assert deployment["metadata"]["annotations"] == values["deploymentAnnotations"]


# --- helm test


def test_test_pods_stay_for_their_logs(values: dict[str, Any]) -> None:
    """Helm 3 reads them (`helm test --logs`) after it has deleted what `hook-succeeded` names."""
    pods = of_kind(render(values), "Pod")
    assert pods
    assert {pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for pod in pods} == {"before-hook-creation"}


def test_the_round_trip_has_a_group_that_comes_first_and_that_nobody_misses() -> None:
    filtering = [{"name": "presses", "devices": ["edge-press-*"]}, {"name": "rest"}]
    (file,) = of_kind(render({**load_values("trial"), "config": {"groups": filtering}}), "ConfigMap")
    own, *others = yaml.safe_load(file["data"]["groups.yaml"])["groups"]
    assert others == filtering
    years = own["silent_after_seconds"] / 86400 / 365
    assert years >= 10


# --- Services, and leaving a node


def test_the_service_for_people_answers_as_long_as_pods_live() -> None:
    services = {item["metadata"]["name"]: item["spec"] for item in of_kind(render(load_values("everything")), "Service")}
    people, programs = services["plant-dedup-service"], services["plant-dedup-service-ready"]
    assert people["publishNotReadyAddresses"] is True
    assert "publishNotReadyAddresses" not in programs
    assert people["selector"] == programs["selector"]
    assert people["type"] == "LoadBalancer"
    assert "type" not in programs


def test_ingress_and_route_lead_to_the_service_for_people() -> None:
    values = load_values("house-rules")
    resources = render(values)
    (ingress,), (route,) = of_kind(resources, "Ingress"), of_kind(resources, "HTTPRoute")
    (service,) = (item for item in of_kind(resources, "Service") if item["spec"].get("publishNotReadyAddresses"))
    name, (port,) = service["metadata"]["name"], service["spec"]["ports"]
    (rule,) = ingress["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": name, "port": {"name": port["name"]}}
    assert ingress["spec"]["tls"] == [{"secretName": "dedup-tls", "hosts": [rule["host"]]}]
    assert route["spec"]["rules"] == [{"backendRefs": [{"name": name, "port": port["port"]}]}]


def test_an_object_of_ones_own_is_evaluated() -> None:
    (own,) = of_kind(render(load_values("house-rules"), namespace="plant-7"), "ConfigMap", "proxies")
    assert own["metadata"]["namespace"] == "plant-7"


def test_a_pod_that_waits_for_a_dependency_does_not_hold_up_a_drain(values: dict[str, Any]) -> None:
    for budget in of_kind(render(values), "PodDisruptionBudget"):
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


# --- autoscaling


def deployed(replicas: int) -> Resource:
    metadata = {"name": "plant-dedup-service", "namespace": "dedup"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": replicas}}


@pytest.mark.parametrize("name", ["hpa", "keda-identity"])
def test_switching_autoscaling_on_keeps_the_pods_that_run(name: str) -> None:
    with cluster(deployed(7)) as kubeconfig:
        deployment = service_deployment(render_upgrade(load_values(name), kubeconfig))
    assert deployment["spec"]["replicas"] == 7
    with cluster() as kubeconfig:
        deployment = service_deployment(render_upgrade(load_values(name), kubeconfig))
    assert "replicas" not in deployment["spec"]


def test_without_autoscaling_the_values_decide() -> None:
    with cluster(deployed(7)) as kubeconfig:
        deployment = service_deployment(render_upgrade(load_values("everything"), kubeconfig))
    assert deployment["spec"]["replicas"] == 3


def test_a_cluster_that_does_not_answer_is_no_cluster_without_pods() -> None:
    """Or the number of replicas would be lost when the API server is slow."""
    with cluster() as kubeconfig:
        gone = re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{free_port()}", kubeconfig)
    with pytest.raises(Exception, match="connection refused"):
        render_upgrade(load_values("hpa"), gone)


# --- TLS in the pod


def test_with_a_certificate_all_that_asks_the_pods_does_so_by_https() -> None:
    monitored = {"monitoring": {"podMonitor": {"enabled": True}}}
    service = {"service": {"type": "LoadBalancer"}}  # which a token may cross then
    resources = render({**load_values("house-rules"), **monitored, **service})
    deployment = service_deployment(resources)
    container = next(c for c in deployment["spec"]["template"]["spec"]["containers"] if c["name"] == "service")
    probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert {probe["scheme"] for probe in probes} == {"HTTPS"}
    mounted = next(mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "tls")
    environment = {item["name"]: item.get("value") for item in container["env"]}
    assert environment["DEDUP_HTTP_CERTIFICATE"] == f"{mounted}/tls.crt"
    assert environment["DEDUP_HTTP_PRIVATE_KEY"] == f"{mounted}/tls.key"
    (monitor,) = of_kind(resources, "PodMonitor")
    assert monitor["spec"]["podMetricsEndpoints"][0]["scheme"] == "https"
    tests = [pod for pod in of_kind(resources, "Pod") if "test" in pod["metadata"]["name"]]
    assert tests
    for pod in tests:
        (url,) = [argument for argument in pod["spec"]["containers"][0]["args"] if argument.startswith("--url=")]
        assert url.startswith("--url=https://")


def test_without_a_certificate_it_is_http() -> None:
    deployment = service_deployment(render(load_values("minimal")))
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["livenessProbe"]["httpGet"]["scheme"] == "HTTP"
    assert not [item for item in container["env"] if item["name"].startswith("DEDUP_HTTP_")]
