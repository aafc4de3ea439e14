"""deploy/azure, evaluated for every size and switch: what it makes, and what it hands to the chart."""

from __future__ import annotations

import argparse
import json
import math
import re
import stat
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from dedup_service.commands.plan import add_plan
from dedup_service.core.sizing import TU_INGRESS_BYTES, TU_INGRESS_EVENTS, PlannedLoad, plan
from tests.documents.terminal import Terminals
from tests.documents.words import check
from tests.support.chart import ROOT, of_kind, render, service_container
from tools.azure_types.deployments import MAIN, deployment, deployments
from tools.bicep import Deployment, Resource

AZURE = ROOT / "deploy" / "azure"
PAGE = (ROOT / "docs" / "azure.md").read_text()
SIZES: dict[str, dict[str, Any]] = json.loads((AZURE / "sizes.json").read_text())
ALL = list(deployments())
TRIAL, CLOSED = deployment(), deployment(privateEndpoints=True)
ROLES = {
    "2b629674-e913-4c01-ae53-ef4638d8f975": "Azure Event Hubs Data Sender",
    "a638d3c7-ab3a-418d-83e6-5f17a39d4fde": "Azure Event Hubs Data Receiver",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "4d97b98b-1d4f-4787-a291-c67834d212e7": "Network Contributor",
}
"""Source: "Azure built-in roles" in Microsoft's documentation."""
REDIS_GIGABYTES = {
    "Balanced_B0": 0.5,
    "Balanced_B1": 1,
    "Balanced_B3": 3,
    "Balanced_B5": 6,
    "Balanced_B10": 12,
    "Balanced_B20": 24,
}
REDIS_USABLE = 0.8
"""Azure Managed Redis keeps a fifth of a tier's memory for itself. Source: its documentation on memory management."""
GLOBALLY_UNIQUE = {
    "Microsoft.Cache/redisEnterprise",
    "Microsoft.Devices/IotHubs",
    "Microsoft.EventHub/namespaces",
    "Microsoft.KeyVault/vaults",
    "Microsoft.Storage/storageAccounts",
}
OPEN_ON_PURPOSE = {"Microsoft.Devices/IotHubs", "Microsoft.Insights/dataCollectionEndpoints"}
"""Gateways reach the first from outside. The second carries metrics of the nodes, which are no readings."""


def made(deployed: Deployment, type_: str) -> list[Resource]:
    return [resource for resource in deployed.resources if resource.type == type_]


def everywhere(value: Any) -> Iterator[Any]:
    yield value
    inside = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inside:
        yield from everywhere(item)


def test_no_two_resources_are_the_same_and_each_that_is_named_is_made() -> None:
    for deployed in ALL:
        ids = [resource.id for resource in deployed.resources]
        assert len(set(ids)) == len(ids)
        subnets = [f"{network.id}/subnets/{one['name']}" for network in made(deployed, "Microsoft.Network/virtualNetworks")
                   for one in network.body["properties"]["subnets"]]  # fmt: skip
        named = [
            text for resource in deployed.resources for text in everywhere(resource.body) if str(text).startswith("/subscr")
        ]
        assert {text for text in named if "/roleDefinitions/" not in text} <= {*ids, *subnets}
        assert all(resource.scope is None or resource.scope.id in {*ids, *subnets} for resource in deployed.resources)


@pytest.mark.parametrize("name", ["plant", "Plant_7 (north)", "7", "x" * 60])
def test_names_are_legal_whatever_the_plant_is_called(name: str) -> None:
    for resource in deployment(name=name).resources:
        if resource.type in GLOBALLY_UNIQUE:
            assert re.fullmatch("[a-z][a-z0-9]{2,23}", resource.name)


def test_every_output_is_a_value_that_the_chart_takes() -> None:
    for deployed in ALL:
        assert deployed.outputs.keys() == {"helmValues"}
        resources = render(deployed.outputs["helmValues"])
        (account,) = of_kind(resources, "ServiceAccount")
        (federation,) = made(deployed, "Microsoft.ManagedIdentity/userAssignedIdentities/federatedIdentityCredentials")
        assert federation.body["properties"]["subject"] == f"system:serviceaccount:dedup:{account['metadata']['name']}"
        environment = {item["name"]: item.get("value") for item in service_container(resources)["env"]}
        hubs = {
            environment[f"DEDUP_{hub}_CONNECTION_STRING"].rpartition("=")[2] for hub in ("INPUT", "OUTPUT", "DEAD_LETTER")
        }
        assert hubs == {item.name.rpartition("/")[2] for item in made(deployed, "Microsoft.EventHub/namespaces/eventhubs")}
        groups = {
            item.name.split("/", 1)[1] for item in made(deployed, "Microsoft.EventHub/namespaces/eventhubs/consumergroups")
        }
        assert {
            f"telemetry/{environment['DEDUP_INPUT_CONSUMER_GROUP']}",
            f"clean/{environment['DEDUP_OUTPUT_CONSUMER_GROUP']}",
        } <= groups
        (container,) = made(deployed, "Microsoft.Storage/storageAccounts/blobServices/containers")
        assert environment["DEDUP_CHECKPOINT_URL"].endswith(f"/{container.name.rpartition('/')[2]}")


def test_no_secret_is_an_output() -> None:
    deployed = deployment(apiToken="a-token-of-the-plant")
    said = json.dumps([deployed.outputs, *deployed.between])
    assert deployed.between
    assert not re.search("a-token-of-the-plant|SharedAccessKey=|AccountKey=", said)
    kept = [item.type for item in deployed.resources if "a-token-of-the-plant" in everywhere(item.body)]
    assert kept == ["Microsoft.KeyVault/vaults/secrets"]
    assert not [file.name for file in AZURE.glob("*.bicep") if re.search(r"\blist[A-Z]\w*\(", file.read_text())]


def test_no_key_opens_what_the_pods_use() -> None:
    for deployed in ALL:
        (hubs,), (blobs,) = (
            made(deployed, "Microsoft.EventHub/namespaces"),
            made(deployed, "Microsoft.Storage/storageAccounts"),
        )
        (redis,) = made(deployed, "Microsoft.Cache/redisEnterprise/databases")
        assert hubs.body["properties"]["disableLocalAuth"] is True
        assert blobs.body["properties"]["allowSharedKeyAccess"] is False
        assert redis.body["properties"]["accessKeysAuthentication"] == "Disabled"
        assert redis.body["properties"]["evictionPolicy"] == "NoEviction"


def test_every_role_assignment_is_named_in_the_documentation() -> None:
    named = re.findall(r"^\| [\w ,]+ \| \*([\w ]+)\* \| ([\w -]+) \|", PAGE, re.MULTILINE)
    assigned = set()
    for deployed in ALL:
        for assignment in made(deployed, "Microsoft.Authorization/roleAssignments"):
            assert assignment.scope is not None
            role = ROLES[assignment.body["properties"]["roleDefinitionId"].rpartition("/")[2]]
            kind, last = assignment.scope.type.rpartition("/")[2], assignment.scope.name.rpartition("/")[2]
            assigned.add((role, last if kind in ("eventhubs", "containers", "subnets") else kind))
    assert assigned == set(named)


@pytest.mark.parametrize("deployed", [TRIAL, CLOSED], ids=["open", "closed"])
def test_public_access_is_stated_and_closed_where_private_endpoints_are(deployed: Deployment) -> None:
    endpoints = made(deployed, "Microsoft.Network/privateEndpoints")
    reached = [
        item.body["properties"]["privateLinkServiceConnections"][0]["properties"]["privateLinkServiceId"]
        for item in endpoints
    ]
    stated = {item.id: item for item in deployed.resources if item.type in GLOBALLY_UNIQUE}
    for item in stated.values():
        is_closed = item.id in reached
        assert item.body["properties"]["publicNetworkAccess"] == ("Disabled" if is_closed else "Enabled")
        assert is_closed == (deployed is CLOSED and item.type not in OPEN_ON_PURPOSE)
    opened = [item.type for item in CLOSED.resources if '"publicNetworkAccess": "Enabled"' in json.dumps(item.body)]
    assert set(opened) == OPEN_ON_PURPOSE


@pytest.mark.parametrize("size", SIZES)
def test_a_size_carries_what_plan_calculates_for_its_load(size: str) -> None:
    sizing = SIZES[size]
    parser = argparse.ArgumentParser()
    add_plan(parser.add_subparsers())
    given = parser.parse_args(["plan", *sizing["load"].split(), "--window", f"{sizing['windowSeconds']}s"])
    load = PlannedLoad(
        given.rate, given.replicas, given.batch, given.body, given.window, given.output_partitions, given.headroom
    )
    needed = plan(load)
    assert sizing["iotHubUnits"] == needed.iot_hub_units[sizing["iotHubSku"]]
    assert sizing["pods"] >= needed.pods
    assert sizing["partitions"] >= max(needed.partitions, sizing["pods"])
    assert sizing["cleanPartitions"] == given.output_partitions
    clean_bytes = load.readings_per_second * load.event_bytes / load.batch
    units = max(
        (load.events_per_second * load.event_bytes + clean_bytes) / TU_INGRESS_BYTES,
        (load.events_per_second + needed.clean_events_per_second) / TU_INGRESS_EVENTS,
    )
    assert math.ceil(units) <= sizing["throughputUnits"] <= sizing["maximumThroughputUnits"] <= 40
    assert needed.redis_bytes * 1.5 <= REDIS_GIGABYTES[sizing["redisSku"]] * 1e9 * REDIS_USABLE
    assert sizing["cleanRetentionHours"] * 3600 > sizing["windowSeconds"]
    assert sizing["nodes"] >= 2
    assert f"| `{size}` | `{sizing['load']}` |" in PAGE


def test_overrides_replace_figures_of_the_size() -> None:
    (hub,) = made(deployment(overrides={"iotHubUnits": 7}), "Microsoft.Devices/IotHubs")
    assert hub.body["sku"] == {"name": SIZES["trial"]["iotHubSku"], "capacity": 7}


def test_azd_gives_each_parameter_that_has_no_default_and_asks_for_the_secret() -> None:
    file = json.loads((AZURE / "main.parameters.json").read_text())["parameters"]
    declared = dict(re.findall(r"^param (\w+) \w+( =)?", MAIN.read_text(), re.MULTILINE))
    assert file.keys() <= declared.keys()
    assert {name for name, default in declared.items() if not default} - file.keys() == {"apiToken"}


def test_azd_runs_what_is_there() -> None:
    project = yaml.safe_load((AZURE / "azure.yaml").read_text())
    infra, hook = project["infra"], project["hooks"]["postprovision"]
    assert (AZURE / infra["path"] / f"{infra['module']}.bicep").resolve() == MAIN
    assert (AZURE / hook["run"]).stat().st_mode & stat.S_IXUSR


def test_the_commands_that_install_the_chart_are_right_word_by_word(tmp_path: Any) -> None:
    terminals = Terminals(tmp_path, {"AZURE_ENV_NAME": "plant", "helmValues": json.dumps(TRIAL.outputs["helmValues"])})
    terminals.type((AZURE / "install.sh").read_text())
    commands = [command.splitlines() for command in terminals.words.read_text().strip().split("\n\n")]
    assert [words[0] for words in commands] == ["az", "helm"]
    for words in commands:
        check(words)
