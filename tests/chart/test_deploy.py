"""The edge's templates for IoT Edge, Kubernetes and Nomad are valid, and the sender accepts everything in them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import hcl2
import kubernetes_validate
import pytest
import yaml

from dedup_service.config.settings import Settings
from edge_sender.config.edgehub import EdgeHubConfig
from edge_sender.config.settings import PREFIX, EdgeSettings, load, with_twin
from edge_sender.config.sources import parse_sources
from sandbox.hub.mqtt_face.routes import parse_route, targets
from sandbox.hub.namespace import Device
from tests.support.chart import KUBERNETES

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
IMAGE = f"ghcr.io/redundant-edge-dedup/edge-sender:{VERSION}"
CREATE_OPTION_LIMIT = 512 * 8
"""Characters of a module's createOptions: IoT Edge splits them into pieces of 512, of which it accepts eight."""


def check_environment(names: set[str]) -> None:
    assert names
    assert {name.removeprefix(PREFIX).lower() for name in names} <= EdgeSettings.model_fields.keys()


# --- IoT Edge


@pytest.fixture
def manifest() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DEPLOY / "iot-edge" / "deployment.template.json").read_text())["modulesContent"]
    return content


def desired(manifest: dict[str, Any], module: str) -> dict[str, Any]:
    properties: dict[str, Any] = manifest[module]["properties.desired"]
    return properties


def modules(manifest: dict[str, Any]) -> dict[str, Any]:
    agent = desired(manifest, "$edgeAgent")
    return {**agent["systemModules"], **agent["modules"]}


def test_the_manifest_starts_the_module_with_settings_that_it_accepts(manifest: dict[str, Any]) -> None:
    module = modules(manifest)["edge-sender"]
    given = {name: item["value"] for name, item in module["env"].items()}
    check_environment(set(given))
    assert module["settings"]["image"] == IMAGE
    settings = load(**{name.removeprefix(PREFIX).lower(): value for name, value in given.items()})
    assert settings.twin
    _, sources = with_twin(settings, desired(manifest, "edge-sender"))
    assert sources.sources[0].name == "machines"


def test_the_spool_outlives_the_container(manifest: dict[str, Any]) -> None:
    for module in modules(manifest).values():
        options = json.loads(module["settings"]["createOptions"])
        assert len(module["settings"]["createOptions"]) <= CREATE_OPTION_LIMIT
        assert set(options) == {"HostConfig"}
    binds = json.loads(modules(manifest)["edge-sender"]["settings"]["createOptions"])["HostConfig"]["Binds"]
    folder = str(Path(EdgeSettings.model_fields["spool_path"].default).parent)
    assert [bind.partition(":")[2] for bind in binds] == [folder]


def test_the_route_takes_the_modules_messages_to_the_hub(manifest: dict[str, Any]) -> None:
    (route,) = desired(manifest, "$edgeHub")["routes"].values()
    match = re.fullmatch(r"FROM /messages/modules/([\w-]+)/\* INTO \$upstream", route["route"])
    assert match is not None
    assert match[1] in desired(manifest, "$edgeAgent")["modules"]
    assert 0 <= route["priority"] <= 9


def test_what_edge_and_runtime_keep_arrives_within_the_services_window(manifest: dict[str, Any]) -> None:
    """A copy that arrives later is published again."""
    hub = desired(manifest, "$edgeHub")
    kept = {route["timeToLiveSecs"] for route in hub["routes"].values()}
    kept.add(hub["storeAndForwardConfiguration"]["timeToLiveSecs"])
    spool = desired(manifest, "edge-sender")["spool_max_age_seconds"]
    assert max(kept) + spool < Settings.model_fields["window_seconds"].default


# --- IoT Edge, with modules that are there already


@pytest.fixture
def beside_a_publisher() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DEPLOY / "iot-edge" / "opc-publisher.template.json").read_text())["modulesContent"]
    return content


def test_the_manifests_differ_by_the_publisher_alone(manifest: dict[str, Any], beside_a_publisher: dict[str, Any]) -> None:
    other = modules(beside_a_publisher)
    assert {name: module for name, module in other.items() if name != "opcpublisher"} == modules(manifest)
    options = other["opcpublisher"]["settings"]["createOptions"]
    assert len(options) <= CREATE_OPTION_LIMIT
    assert json.loads(options)


def test_the_publishers_messages_come_to_the_senders_input_and_only_the_senders_go_to_the_hub(
    beside_a_publisher: dict[str, Any],
) -> None:
    routes = [parse_route(route["route"]) for route in desired(beside_a_publisher, "$edgeHub")["routes"].values()]
    _, sources = with_twin(load(twin=True), desired(beside_a_publisher, "edge-sender"))
    (source,) = sources.sources
    assert isinstance(source, EdgeHubConfig)
    publisher, sender = (Device("gw-a", name, "") for name in ("opcpublisher", "edge-sender"))
    assert list(targets(routes, publisher, "any")) == [("edge-sender", source.input)]
    assert list(targets(routes, sender, None)) == [None]


def test_what_waits_on_the_way_through_all_of_them_arrives_within_the_services_window(
    beside_a_publisher: dict[str, Any],
) -> None:
    routes = desired(beside_a_publisher, "$edgeHub")["routes"].values()
    spool = desired(beside_a_publisher, "edge-sender")["spool_max_age_seconds"]
    assert sum(route["timeToLiveSecs"] for route in routes) + spool < Settings.model_fields["window_seconds"].default


# --- IoT Edge, with peers


def read_manifest(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DEPLOY / "iot-edge" / name).read_text())["modulesContent"]
    return content


def test_the_manifest_with_peers_has_what_turns_need_and_is_else_the_same(manifest: dict[str, Any]) -> None:
    with_peers = modules(read_manifest("peers.template.json"))
    module, single = with_peers.pop("edge-sender"), modules(manifest)
    given = {name: item["value"] for name, item in module["env"].items()}
    check_environment(set(given))
    assert given.items() >= {name: item["value"] for name, item in single.pop("edge-sender")["env"].items()}.items()
    assert with_peers == single
    settings = load(**{name.removeprefix(PREFIX).lower(): value for name, value in given.items()})
    assert settings.ha == "active-passive"
    assert settings.peer_addresses()
    ports = json.loads(module["settings"]["createOptions"])["HostConfig"]["PortBindings"]
    assert ports[f"{settings.peers_port}/udp"] == [{"HostPort": str(settings.peers_port)}]


@pytest.mark.parametrize("name", [path.name for path in sorted((DEPLOY / "iot-edge").glob("*.json"))])
def test_no_modules_log_fills_the_gateways_disk(name: str) -> None:
    for module in modules(read_manifest(name)).values():
        assert len(module["settings"]["createOptions"]) <= CREATE_OPTION_LIMIT
        log = json.loads(module["settings"]["createOptions"])["HostConfig"]["LogConfig"]
        assert log == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}


# --- Kubernetes


def resources(name: str = "edge-sender.yaml") -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text()))


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", ["edge-sender.yaml", "edge-sender-peers.yaml"])
def test_kubernetes_accepts_the_resources(version: str, name: str) -> None:
    for resource in resources(name):
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize("name", ["edge-sender.yaml", "edge-sender-peers.yaml"])
def test_a_slow_start_is_waited_for_and_nothing_else_is(name: str) -> None:
    (workload,) = [one for one in resources(name) if one["kind"] in ("Deployment", "StatefulSet")]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    startup, liveness = container["startupProbe"], container["livenessProbe"]
    assert startup["httpGet"] == liveness["httpGet"] == {"path": "/healthz", "port": "http"}
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 60
    assert "cpu" not in container["resources"]["limits"]


def test_senders_that_take_turns_hear_each_other_and_nobody_else_is_let_in() -> None:
    by_kind = {resource["kind"]: resource for resource in resources("edge-sender-peers.yaml")}
    stateful = by_kind["StatefulSet"]
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    check_environment({item["name"] for item in container["env"]})
    given = {
        item["name"].removeprefix(PREFIX).lower(): item.get("value", "a secret of some length") for item in container["env"]
    }
    settings = load(**{**given, "replica": "edge-sender-peers-0"})
    service, name = stateful["spec"]["serviceName"], stateful["metadata"]["name"]
    hosts = [f"{name}-{number}.{service}" for number in range(stateful["spec"]["replicas"])]
    assert settings.peer_addresses() == [(host, settings.peers_port) for host in hosts]
    assert by_kind["Service"]["metadata"]["name"] == service
    heartbeat, status = by_kind["NetworkPolicy"]["spec"]["ingress"]
    labels = stateful["spec"]["template"]["metadata"]["labels"]
    assert heartbeat["from"] == [{"podSelector": {"matchLabels": labels}}]
    assert heartbeat["ports"] == [{"port": settings.peers_port, "protocol": "UDP"}]
    assert status["ports"] == [{"port": settings.http_port, "protocol": "TCP"}]
    ports = {(port["containerPort"], port.get("protocol", "TCP")) for port in container["ports"]}
    assert ports == {(settings.http_port, "TCP"), (settings.peers_port, "UDP")}


def test_the_deployment_provides_what_its_settings_name() -> None:
    by_kind = {resource["kind"]: resource for resource in resources()}
    pod = by_kind["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    check_environment({item["name"] for item in container["env"]})
    assert container["image"] == IMAGE
    given = {item["name"]: item.get("value") for item in container["env"]}
    mounts = {item["mountPath"]: item["name"] for item in container["volumeMounts"]}
    assert mounts[str(Path(given["EDGE_SOURCES_FILE"] or "").parent)] == "sources"
    assert parse_sources(by_kind["ConfigMap"]["data"][Path(given["EDGE_SOURCES_FILE"] or "").name])
    assert mounts[str(Path(EdgeSettings.model_fields["spool_path"].default).parent)] in {v["name"] for v in pod["volumes"]}
    assert given["EDGE_REPLICA"]
    assert container["ports"][0]["containerPort"] == EdgeSettings.model_fields["http_port"].default
    assert pod["terminationGracePeriodSeconds"] > EdgeSettings.model_fields["flush_seconds"].default


# --- Nomad


def nomad_group(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The file, and the job's only group."""
    with (DEPLOY / "nomad" / f"{name}.nomad.hcl").open() as file:
        content: dict[str, Any] = hcl2.load(file, serialization_options=hcl2.SerializationOptions(strip_string_quotes=True))
    (job,) = content["job"]
    (group,) = job[name]["group"]
    return content, group["edge-sender"]


def nomad_tasks(group: dict[str, Any]) -> dict[str, Any]:
    return {name: task for item in group["task"] for name, task in item.items()}


def test_the_nomad_jobs_that_take_turns_hear_each_other() -> None:
    content, group = nomad_group("edge-sender-peers")
    environment = nomad_tasks(group)["edge-sender"]["env"][0]
    (variable,) = content["variable"]
    assert environment["EDGE_PEERS"] == "${var.peers}"
    secrets = {"witness": "a", "peers_key": "a key of some length", "connection_string": "a"}
    settings = load(ha="active-passive", replica="a", peers=variable["peers"]["default"], uplink="event-hubs", **secrets)
    (port,) = [item["heartbeat"] for item in group["network"][0]["port"] if "heartbeat" in item]
    assert (port["static"], port["to"]) == (settings.peers_port, settings.peers_port)
    assert {address[1] for address in settings.peer_addresses()} == {settings.peers_port}
    assert group["count"] == len(settings.peer_addresses())
    assert group["constraint"][0]["operator"] == "distinct_hosts"


@pytest.mark.parametrize("name", ["edge-sender", "edge-sender-peers"])
def test_the_nomad_job_provides_what_its_settings_name(name: str) -> None:
    _, group = nomad_group(name)
    tasks = nomad_tasks(group)
    task = tasks["edge-sender"]
    assert task["logs"][0]["max_files"] * task["logs"][0]["max_file_size"] <= 50
    assert tasks["own-the-spool"]["volume_mount"][0]["destination"] == task["volume_mount"][0]["destination"]
    assert "EDGE_REPLICA" in task["env"][0]
    assert task["config"][0]["image"] == IMAGE
    templates = {item["destination"]: item["data"] for item in task["template"]}
    secrets = set(re.findall(r"(EDGE_\w+)=", templates["secrets/edge.env"]))
    check_environment({*task["env"][0], *secrets} - {"__is_block__"})
    body = re.sub(r"^<<-\w+\n|\n\s*\w+\s*$", "", templates["local/sources.yaml"])
    assert parse_sources(body).sources[0].name == "machines"
    assert task["volume_mount"][0]["destination"] == str(Path(EdgeSettings.model_fields["spool_path"].default).parent)
