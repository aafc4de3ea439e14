"""The chart renders with every switch, in Helm's own engine, and the result is valid, safe and complete."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import SchemaNotFoundError

from dedup_service.__main__ import SHUTDOWN_SECONDS
from dedup_service.config.file import load_config_file
from dedup_service.config.settings import PREFIX, Settings
from sandbox.peers.node import install_node_packages
from tests.support.chart import (
    CHART,
    KUBERNETES,
    ROOT,
    load_values,
    of_kind,
    pod_specs,
    render,
    service_container,
    value_files,
)
from tests.support.peers import run_node
from tools.chart_schema import ALWAYS_SECRET
from tools.values import values_with_comments

MINIMAL = load_values("minimal")
CUSTOM = {"HTTPRoute", "PodMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication"}
AZURE_MONITORING = "azmonitoring.coreos.com/v1"
"""Azure's copy of the Prometheus operator's kinds, under a group of its own."""


@pytest.fixture(params=value_files(), ids=lambda path: path.name)
def values(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(request.param.read_text())
    return loaded


def changed(path: str, value: Any, base: dict[str, Any] = MINIMAL) -> dict[str, Any]:
    made = deepcopy(base)
    at = made
    *parents, last = path.split(".")
    for name in parents:
        at = at.setdefault(name, {})
    at[last] = value
    return made


# --- lint, render, schemas


def test_helm_lint_finds_no_problem(values: dict[str, Any]) -> None:
    report = helm.lint(CHART, values=values, strict=True)
    assert not report.get("errors"), report
    messages = [m for m in report.get("messages", []) if "icon is recommended" not in str(m)]
    assert not messages, report


@pytest.mark.parametrize("version", KUBERNETES)
def test_rendered_resources_are_valid_kubernetes(values: dict[str, Any], version: str) -> None:
    for resource in render(values):
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except SchemaNotFoundError:
            assert resource["kind"] in CUSTOM | {"SecretProviderClass"}


def test_a_wrong_resource_is_not_valid() -> None:
    service, *_ = of_kind(render(MINIMAL), "Service")
    service["spec"]["prts"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, KUBERNETES[0], strict=True)


def test_operators_accept_the_custom_resources(tmp_path: Path) -> None:
    install_node_packages()
    resources = [item for path in value_files() for item in render(yaml.safe_load(path.read_text()))]
    custom = [item for item in resources if item["kind"] in CUSTOM]
    assert {item["kind"] for item in custom} == CUSTOM
    broken = deepcopy(of_kind(custom, "ScaledObject")[0])
    broken["spec"]["maxReplicaCount"] = "many"
    assert AZURE_MONITORING in {item["apiVersion"] for item in custom}
    for item in custom:
        item["apiVersion"] = item["apiVersion"].replace(AZURE_MONITORING, "monitoring.coreos.com/v1")
    file = tmp_path / "resources.json"
    file.write_text(json.dumps([*custom, broken]))
    results: Any = run_node("crds.mjs", str(file))
    assert [result["error"] for result in results[:-1]] == [None] * len(custom)
    assert "maxReplicaCount" in results[-1]["error"]


def test_the_key_vault_is_mapped_to_the_secret_that_the_pods_read() -> None:
    resources = render(yaml.safe_load((CHART / "values-production.yaml").read_text()))
    (provider,) = of_kind(resources, "SecretProviderClass")
    (made,) = provider["spec"]["secretObjects"]
    objects = yaml.safe_load(provider["spec"]["parameters"]["objects"])["array"]
    assert {yaml.safe_load(item)["objectName"] for item in objects} == {item["objectName"] for item in made["data"]}
    keys = {item["key"] for item in made["data"]}
    read = [item["valueFrom"]["secretKeyRef"] for item in service_container(resources)["env"] if "valueFrom" in item]
    assert {(item["name"], item["key"]) for item in read} == {(made["secretName"], key) for key in keys}


# --- refusals


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("settings.windowseconds", 1, "windowseconds"),
        ("replicas", 3, "replicas"),
        ("settings.window_seconds", "4h", "window_seconds"),
        ("settings.window_seconds", 0, "window_seconds"),
        ("settings.mode", "dorp", "mode"),
        ("settings.config_file", "/x", "config_file"),
        ("settings.api_token", "hunter2", "api_token"),
        ("secrets.keys.redisurl", "redis", "redisurl"),
        ("config", {"groups": [{"name": "a", "device": ["x"]}]}, "device"),
        ("config", {"groups": []}, "groups"),
        ("image.pullPolicy", "always", "pullPolicy"),
        ("replicaCount", 0, "replicaCount"),
        ("terminationGracePeriodSeconds", "5s", "terminationGracePeriodSeconds"),
        ("settings.http_port", 0, "http_port"),
        ("service.port", 70000, "service/port|service.port"),
        ("resources.limits.memory", "512MB", "memory"),
        ("resources.limit", {"cpu": 1}, "limit"),
        ("podDisruptionBudget.maxUnavailable", "half", "maxUnavailable"),
        ("secrets.existingSecret", "Dedup_Secret", "existingSecret"),
        ("secrets.keys.redis_url", "redis url", "redis_url"),
        ("caBundle.configMap", "a b", "configMap"),
        ("podLabels", {"team": "plant 1"}, "team"),
        ("podLabels", {"my team": "plant"}, "my team"),
        ("nodeSelector", {"disk": True}, "disk"),
        ("tolerations", [{"key": "a", "efect": "NoSchedule"}], "efect"),
        ("affinity", {"nodeAfinity": {}}, "nodeAfinity"),
        ("topologySpreadConstraints", [{"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}], "maxSkew"),
        ("imagePullSecrets", ["registry"], "imagePullSecrets"),
        ("networkPolicy.from", [{"podselector": {}}], "podselector"),
        ("extraEnv", [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}], "key"),
        ("monitoring.podMonitor.interval", "15 s", "interval"),
        ("image.tag", "a:b", "tag"),
        ("image.repository", "https://ghcr.io/a", "repository"),
        ("valkey.maxmemory", "1 GB", "maxmemory"),
        ("readinessProbe", {"httpGet": {"path": "/"}}, "httpGet"),
        ("sidecars", [{"name": "a", "imagee": "b"}], "imagee"),
        ("extraVolumes", [{"name": "a", "emptydir": {}}], "emptydir"),
        ("extraObjects", [{"kind": "ConfigMap"}], "extraObjects"),
        ("podSecurityContext", {"runAsUser": "me"}, "runAsUser"),
        ("networkPolicy.egress", [{"port": 53, "protocol": "udp"}], "protocol"),
        ("autoscaling.hpa.behavior", {"scaleUpp": {}}, "scaleUpp"),
        ("monitoring.podMonitor.apiVersion", "v1", "apiVersion"),
        ("fullnameOverride", "a" * 54, "fullnameOverride"),
        ("networkPolicy.egress", [{"prot": 443}], "egress"),
        ("autoscaling.keda.eventHubNamespace", "Plant", "eventHubNamespace"),
    ],
)
def test_a_mistake_is_refused_with_the_name_of_the_value(path: str, value: Any, message: str) -> None:
    with pytest.raises(helm.HelmError, match=message):
        render(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("settings.redis_url", "rediss://:hunter2@host:6380", "settings.redis_url is also given by a Secret"),
        (
            "settings.http_proxy",
            "http://u:hunter2@proxy:3128",
            "settings.http_proxy holds a secret.*keys.http_proxy",
        ),
        ("settings.check_connection_string", "Endpoint=sb://a/;SharedAccessKey=hunter2", "holds a secret"),
        ("secrets.existingSecret", "", "secrets.existingSecret is missing"),
        ("secrets.keys", {"input_connection_string": "i"}, r"checkpoint_url is missing: .*settings\.checkpoint_url"),
        ("valkey.enabled", True, "valkey.enabled and redis_url exclude each other"),
        ("tests.roundTrip", True, "check_connection_string is missing"),
        ("terminationGracePeriodSeconds", 22, "terminationGracePeriodSeconds is 22, and .* is 23"),
        ("preStopSeconds", 11, "terminationGracePeriodSeconds is 30, and .* is 31"),
        (
            "extraEnv",
            [{"name": "DEDUP_WINDOW_SECONDS", "value": "1"}],
            "extraEnv: DEDUP_WINDOW_SECONDS .* settings.window_seconds",
        ),
        ("extraEnv", [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}], "extraEnv: A is given twice"),
        ("networkPolicy.egress", [{"port": 90, "endPort": 80}], "endPort 80 is below port 90"),
        ("resources.requests.memory", "1Gi", "resources.requests.memory is 1Gi, .* limit of 768Mi"),
        ("resources.requests.cpu", 3, "resources.requests.cpu is 3, .* limit of 2"),
        ("tests.resources.requests.cpu", "1001m", "tests.resources.requests.cpu is 1001m, .* limit of 1"),
        ("workloadIdentity.enabled", True, "workloadIdentity.clientId is missing"),
        ("secretsStore", {"enabled": True, "objects": {"redis_url": "r"}}, "secretsStore.keyVaultName|is missing"),
        ("autoscaling.hpa", {"enabled": True, "maxReplicas": 5}, "autoscaling.hpa.maxReplicas is 5, and .* 4 partitions"),
        ("autoscaling.hpa", {"enabled": True, "minReplicas": 4, "maxReplicas": 3}, "minReplicas is above"),
        ("autoscaling.keda.enabled", True, "autoscaling.keda.*is missing"),
        ("settings.checkpoint_url", "sqlite:////data/x.db", "checkpoint_url is a"),
    ],
)
def test_values_that_contradict_each_other_are_refused_with_a_remedy(path: str, value: Any, message: str) -> None:
    with pytest.raises(helm.HelmError, match=message) as caught:
        render(changed(path, value))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("base", "path", "value", "message"),
    [
        ("trial", "valkey.existingSecret", "", "valkey.existingSecret is missing"),
        ("trial", "settings.mode", "observe", "tests.roundTrip and settings.mode observe exclude each other"),
        ("trial", "config", {"groups": [{"name": "dedup-check"}]}, "dedup-check is the name of the group"),
        ("everything", "tests.roundTrip", True, "check_connection_string is missing"),
        ("keda-identity", "serviceAccount.create", False, "serviceAccount.name is missing: workloadIdentity"),
        ("everything", "secrets.keys.api_token", "token", "tls.secretName is missing: with service.type LoadBalancer"),
        ("everything", "service.type", "NodePort", "service.loadBalancerClass needs service.type LoadBalancer"),
        ("house-rules", "service.externalTrafficPolicy", "Local", "service.externalTrafficPolicy needs service.type"),
        ("house-rules", "ingress.host", "", "ingress.host is missing"),
        ("house-rules", "ingress.tlsSecret", "", "ingress.tlsSecret is missing: without TLS, api_token"),
        ("house-rules", "httpRoute.parentRefs", [], "httpRoute.parentRefs is missing"),
        ("house-rules", "commonLabels", {"helm.sh/chart": "a"}, "commonLabels: helm.sh/chart is a label of the chart's own"),
        ("house-rules", "podLabels", {"cost-center": "1"}, "podLabels: cost-center is also in commonLabels"),
    ],
)
def test_so_are_values_that_contradict_a_choice(base: str, path: str, value: Any, message: str) -> None:
    with pytest.raises(helm.HelmError, match=message):
        render(changed(path, value, load_values(base)))


# --- settings


def test_every_variable_is_a_setting(values: dict[str, Any]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    extra = {item["name"] for item in values.get("extraEnv", [])} | {"VALKEY_PASSWORD"}
    names = [item["name"] for item in service_container(render(values))["env"]]
    assert len(names) == len(set(names))
    assert set(names) - extra <= known


def test_every_setting_is_reachable_from_the_values() -> None:
    by_secret = {name: "k" for name in Settings.model_fields if name not in ("config_file", "ca_file")}
    more = {"config": {"groups": [{"name": "a"}]}, "caBundle": {"configMap": "ca"}}
    env = service_container(render({"secrets": {"existingSecret": "s", "keys": by_secret}, **more}))["env"]
    assert {item["name"] for item in env} == {PREFIX + name.upper() for name in Settings.model_fields}
    schema = json.loads((CHART / "values.schema.json").read_text())
    plain = set(schema["properties"]["settings"]["properties"])
    assert plain == set(Settings.model_fields) - {"config_file", "ca_file"} - ALWAYS_SECRET


def test_numbers_and_switches_arrive_as_they_were_given() -> None:
    values = changed("settings", {**MINIMAL["settings"], "window_seconds": 8640000, "shards": 16, "accounting": False})
    env = {item["name"]: item.get("value") for item in service_container(render(values))["env"]}
    assert (env["DEDUP_WINDOW_SECONDS"], env["DEDUP_SHARDS"], env["DEDUP_ACCOUNTING"]) == ("8640000", "16", "false")


def test_the_service_reads_the_groups_as_the_values_define_them(tmp_path: Path) -> None:
    values = load_values("everything")
    (configured,) = of_kind(render(values), "ConfigMap", "plant-dedup-service")[:1]
    file = tmp_path / "groups.yaml"
    file.write_text(configured["data"]["groups.yaml"])
    assert [group.name for group in load_config_file(file).groups] == ["presses", "ovens"]


def test_a_changed_group_starts_new_pods() -> None:
    def checksum(name: str) -> str:
        (deployment,) = of_kind(render(changed("config", {"groups": [{"name": name}]})), "Deployment")
        return str(deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"])

    assert checksum("a") != checksum("b")


# --- rules for everything that the chart runs


def test_every_container_is_confined(values: dict[str, Any]) -> None:
    for name, spec in pod_specs(render(values)):
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        given = values.get("podSecurityContext", {})
        assert spec["securityContext"].get("runAsUser") == given.get("runAsUser", 10001), name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name  # a Service called dedup-http would set DEDUP_HTTP_PORT
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert {"cpu", "memory"} <= container["resources"]["limits"].keys() & container["resources"]["requests"].keys()
            assert ":latest" not in container["image"]
            assert ":" in container["image"]


def test_every_long_running_container_has_probes(values: dict[str, Any]) -> None:
    for deployment in of_kind(render(values), "Deployment"):
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


def test_liveness_does_not_depend_on_dependencies() -> None:
    container = service_container(render(MINIMAL))
    paths = {probe: container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {"startupProbe": "/healthz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}
    assert container["ports"] == [{"name": "http", "containerPort": 8000}]


def test_a_pod_may_drain_before_it_is_killed(values: dict[str, Any]) -> None:
    (deployment,) = (d for d in of_kind(render(values), "Deployment") if "valkey" not in d["metadata"]["name"])
    spec = deployment["spec"]["template"]["spec"]
    before_term = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] >= before_term + SHUTDOWN_SECONDS


def test_a_pod_that_could_not_drain_is_refused() -> None:
    least = 3 + int(SHUTDOWN_SECONDS)
    assert render(changed("terminationGracePeriodSeconds", least))
    with pytest.raises(helm.HelmError, match="terminationGracePeriodSeconds"):
        render(changed("terminationGracePeriodSeconds", least - 1))


def test_pods_are_replaced_one_by_one_and_spread_over_nodes_and_zones() -> None:
    (deployment,) = of_kind(render(MINIMAL), "Deployment")
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    spec = deployment["spec"]["template"]["spec"]
    selector = deployment["spec"]["selector"]["matchLabels"]
    spread = [item["labelSelector"]["matchLabels"] for item in spec["topologySpreadConstraints"]]
    terms = spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert [selector] == spread == [term["podAffinityTerm"]["labelSelector"]["matchLabels"] for term in terms]


def test_every_selector_matches_its_pods(values: dict[str, Any]) -> None:
    resources = render(values)
    pods = [item["spec"]["template"]["metadata"]["labels"] for item in of_kind(resources, "Deployment")]
    for kind, path in {
        "Service": ("spec", "selector"),
        "NetworkPolicy": ("spec", "podSelector", "matchLabels"),
        "PodDisruptionBudget": ("spec", "selector", "matchLabels"),
        "PodMonitor": ("spec", "selector", "matchLabels"),
    }.items():
        for resource in of_kind(resources, kind):
            selector: Any = resource
            for name in path:
                selector = selector[name]
            assert sum(selector.items() <= labels.items() for labels in pods) == 1, kind


def test_references_name_resources_that_exist(values: dict[str, Any]) -> None:
    resources = render(values)
    (deployment,) = (d for d in of_kind(resources, "Deployment") if "valkey" not in d["metadata"]["name"])
    name = deployment["metadata"]["name"]
    for kind in ("HorizontalPodAutoscaler", "ScaledObject"):
        for resource in of_kind(resources, kind):
            assert resource["spec"]["scaleTargetRef"]["name"] == name
            assert "replicas" not in deployment["spec"]
    (service,) = (item for item in of_kind(resources, "Service") if item["metadata"]["name"] == name)
    for pod in of_kind(resources, "Pod"):
        (url,) = (text for text in pod["spec"]["containers"][0]["args"] if text.startswith("--url="))
        scheme = "https" if "tls" in values else "http"
        assert url == f"--url={scheme}://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    configmaps = {item["metadata"]["name"] for item in of_kind(resources, "ConfigMap")}
    external = values.get("caBundle", {}).get("configMap")
    for _, spec in pod_specs(resources):
        used = {volume["configMap"]["name"] for volume in spec.get("volumes", []) if "configMap" in volume}
        assert used <= configmaps | {external}


def test_helm_test_checks_health_and_api_and_on_request_a_round_trip() -> None:
    def commands(name: str) -> set[str]:
        pods = of_kind(render(load_values(name)), "Pod")
        assert all(pod["metadata"]["annotations"]["helm.sh/hook"] == "test" for pod in pods)
        return {" ".join(pod["spec"]["containers"][0]["args"][:-1]) for pod in pods}

    assert commands("minimal") == {"check --health", "check"}
    assert commands("trial") == {"check --health", "check", "check --round-trip"}


def test_the_network_policy_lets_out_a_proxy_or_another_port() -> None:
    (policy,) = of_kind(render(load_values("everything")), "NetworkPolicy")
    dns, proxy, time = policy["spec"]["egress"]
    assert [item["port"] for item in dns["ports"]] == [53, 53]
    assert dns["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    assert proxy == {"ports": [{"protocol": "TCP", "port": 3128}]}
    assert time == {"ports": [{"protocol": "UDP", "port": 123}], "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}


def test_a_network_policy_with_few_peers_still_admits_the_test_pods() -> None:
    (policy,) = of_kind(render(load_values("everything")), "NetworkPolicy")
    (test, *_) = of_kind(render(load_values("everything")), "Pod")
    peers = [peer["podSelector"]["matchLabels"] for peer in policy["spec"]["ingress"][0]["from"] if "podSelector" in peer]
    assert any(labels.items() <= test["metadata"]["labels"].items() for labels in peers)


def test_the_chart_installs_the_alerts_and_the_dashboard_that_are_tested() -> None:
    resources = render(load_values("everything"))
    (rule,) = of_kind(resources, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    (dashboard,) = of_kind(resources, "ConfigMap", "dashboard")
    shown = json.loads(dashboard["data"]["dedup-service.json"])
    assert shown == json.loads((CHART / "files" / "grafana-dashboard.json").read_text())


# --- the chart itself


def test_every_switch_is_changed_by_one_of_the_value_files() -> None:
    switches = {
        ".".join(v.path): v.default for v in values_with_comments(CHART / "values.yaml") if isinstance(v.default, bool)
    }
    changed_switches = set()
    for path in value_files():
        given = yaml.safe_load(path.read_text())
        for switch, default in switches.items():
            at: Any = given
            for name in switch.split("."):
                at = at.get(name, {}) if isinstance(at, dict) else {}
            if at is not default and isinstance(at, bool):
                changed_switches.add(switch)
    assert changed_switches == set(switches)


def test_every_value_that_does_nothing_by_default_is_set_by_one_of_the_value_files() -> None:
    given = [yaml.safe_load(path.read_text()) for path in value_files()]

    def is_set(path: tuple[str, ...], values: Any) -> bool:
        for name in path:
            values = values.get(name) if isinstance(values, dict) else None
        return bool(values)

    idle = [value.path for value in values_with_comments(CHART / "values.yaml") if not value.default]
    assert [path for path in idle if not any(is_set(path, values) for values in given)] == []


def test_chart_and_project_have_the_same_version() -> None:
    from dedup_service import __version__

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


def test_what_artifact_hub_shows_is_what_the_chart_is() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    notes = {name.removeprefix("artifacthub.io/"): text for name, text in chart["annotations"].items()}
    used = {container["image"] for _, spec in pod_specs(render(load_values("trial"))) for container in spec["containers"]}
    assert {item["image"] for item in yaml.safe_load(notes["images"])} == used
    assert notes["license"] in (ROOT / "LICENSE").read_text()
    for link in yaml.safe_load(notes["links"]):
        assert (ROOT / link["url"].removeprefix(f"{chart['sources'][0]}/blob/main/")).exists()


def test_the_chart_can_be_packaged(tmp_path: Path) -> None:
    archive = Path(str(helm.package(CHART, destination=tmp_path)))
    with helm.Chart.load(archive) as chart:
        assert chart.name == "dedup-service"
        assert not any(item["name"].startswith("ci/") for item in chart.files)


def test_lag_is_read_where_the_mode_keeps_its_checkpoints() -> None:
    values = load_values("keda-identity")
    group = values["settings"]["input_consumer_group"]
    for mode, expected in (("drop", group), ("observe", f"{group}/observe")):
        values["settings"]["mode"] = mode
        (scaled,) = of_kind(render(values), "ScaledObject")
        (trigger,) = scaled["spec"]["triggers"]
        assert trigger["metadata"]["consumerGroup"] == expected


@pytest.mark.parametrize(("is_enabled", "given", "expected"), [(True, None, "1"), (True, 30, "30"), (False, None, None)])
def test_checkpoints_are_as_fresh_as_the_scaler_that_reads_them_needs(
    is_enabled: bool, given: int | None, expected: str | None
) -> None:
    values = load_values("keda-identity")
    values["autoscaling"]["keda"]["enabled"] = is_enabled
    if given is not None:
        values["settings"]["checkpoint_interval_seconds"] = given
    (deployment,) = of_kind(render(values), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    told = [item["value"] for item in container["env"] if item["name"] == "DEDUP_CHECKPOINT_INTERVAL_SECONDS"]
    assert told == ([] if expected is None else [expected])
