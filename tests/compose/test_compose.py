"""docker-compose.yml is valid, refers only to what exists, and works when its services are run as processes."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

import dedup_service.__main__
import edge_sender.__main__
import sandbox.__main__
from dedup_service.adapters.azure_clients import DEFAULT_CONTAINER
from dedup_service.config.file import load_config_file
from dedup_service.config.settings import PREFIX, Settings
from edge_sender.config.settings import EdgeSettings
from sandbox.hub.namespace import device_key
from sandbox.peers.azurite import AZURITE_KEY
from tests.support.compose import COMPOSE, ROOT, command, compose_file, composition, services, target
from tests.support.programs import require

PARSERS = {"service": dedup_service.__main__, "edge": edge_sender.__main__, "sandbox": sandbox.__main__}
PROFILES = ("sandbox", "emulator")
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DEADLINE_SECONDS = 90.0


@pytest.fixture(params=[(p, n) for p in PROFILES for n in services(p)], ids=lambda item: "/".join(item))
def service(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    profile, name = request.param
    return name, services(profile)[name]


def test_it_is_what_compose_accepts() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_image_is_pinned_or_built(service: tuple[str, dict[str, Any]]) -> None:
    _, definition = service
    if target(definition) is None:
        assert re.search(r":v?\d", definition["image"]), definition["image"]
    else:
        assert re.search(rf"^FROM .* AS {target(definition)}$", DOCKERFILE, re.MULTILINE)


def test_every_command_of_ours_exists(service: tuple[str, dict[str, Any]]) -> None:
    _, definition = service
    if (module := PARSERS.get(target(definition) or "")) is not None:
        module.make_parser().parse_args(command(definition))


def test_every_variable_of_ours_exists_and_has_a_value_that_is_accepted(
    service: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    _, definition = service
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    variables = definition.get("environment", {})
    given = {name: str(value).replace("/shared/ca.pem", str(tmp_path / "ca.pem")) for name, value in variables.items()}
    if target(definition) == "service":
        fields = {name.removeprefix(PREFIX).lower(): value for name, value in given.items()}
        assert fields.keys() <= Settings.model_fields.keys()
        Settings.model_validate(fields)
    elif target(definition) == "edge":
        fields = {name.removeprefix("EDGE_").lower(): value for name, value in given.items()}
        assert fields.keys() <= EdgeSettings.model_fields.keys()
        EdgeSettings.model_validate(fields).sources_document()
    elif target(definition) == "sandbox":
        assert given.keys() <= {"SANDBOX_KEY"}


def test_every_file_that_is_mounted_exists(service: tuple[str, dict[str, Any]]) -> None:
    for mount in service[1].get("volumes", []):
        source = mount.split(":")[0]
        assert (ROOT / source).is_file() if source.startswith("./") else source in compose_file()["volumes"]


def test_every_host_name_is_that_of_a_service(service: tuple[str, dict[str, Any]]) -> None:
    profile = "emulator" if "emulator" in service[1].get("profiles", []) else "sandbox"
    known = services(profile)
    assert set(service[1].get("depends_on", [])) <= set(known)
    text = " ".join(str(value) for value in service[1].get("environment", {}).values())
    for host in re.findall(r"(?:sb|redis|opc\.tcp|http)://([a-z0-9-]+)|GatewayHostName=([a-z0-9-]+)", text):
        if service[0] != "checkpoints":  # it does not connect to the hubs that its settings name
            assert "".join(host) in known, f"{service[0]}: {host}"


def test_every_published_port_is_one_on_which_its_service_listens() -> None:
    listening = {"hub": {5672, 8883}, "emulator": {5672}, "prometheus": {9090}, "grafana": {3000}}
    for profile in PROFILES:
        published: list[str] = []
        for name, definition in services(profile).items():
            for port in definition.get("ports", []):
                host, outside, inside = port.split(":")
                assert host == "127.0.0.1"
                published.append(outside)
                assert int(inside) in (listening.get(name) or {Settings.model_fields["http_port"].default}), name
        assert len(published) == len(set(published))


def test_keys_are_those_of_emulators() -> None:
    definitions = services("sandbox")
    key = definitions["hub"]["environment"]["SANDBOX_KEY"]
    assert len(base64.b64decode(key)) == 32
    for name in ("edge-1", "edge-2", "edge-3"):
        fields = dict(
            part.partition("=")[::2] for part in definitions[name]["environment"]["EDGE_CONNECTION_STRING"].split(";")
        )
        path = "/".join(fields[part] for part in ("DeviceId", "ModuleId") if part in fields)
        assert path in definitions["hub"]["command"]
        assert fields["SharedAccessKey"] == device_key(key, path)
    for name in ("dedup-1", "dedup-2"):
        assert f"SharedAccessKey={key};" in definitions[name]["environment"]["DEDUP_INPUT_CONNECTION_STRING"]
        url = definitions[name]["environment"]["DEDUP_CHECKPOINT_URL"]
        assert f"AccountKey={AZURITE_KEY};" in url
        assert url.endswith(f"ContainerName={DEFAULT_CONTAINER}")


def test_the_emulator_has_the_hubs_that_are_used() -> None:
    config = json.loads((ROOT / "compose" / "emulator.json").read_text())
    (namespace,) = config["UserConfig"]["NamespaceConfig"]
    has = {item["Name"]: {group["Name"] for group in item["ConsumerGroups"]} for item in namespace["Entities"]}
    text = str({name: item.get("environment") for name, item in services("emulator").items() if name != "checkpoints"})
    assert set(re.findall(r"EntityPath=([a-z-]+)", text)) == set(has)
    assert all(groups == {"dedup"} for groups in has.values())


def test_the_default_profile_is_one_that_exists() -> None:
    assert "COMPOSE_PROFILES=sandbox" in (ROOT / ".env").read_text().splitlines()


def test_prometheus_reads_its_configuration(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "compose" / "prometheus.yaml").read_text())
    mounts = dict(mount.split(":")[1::-1] for mount in services("sandbox")["prometheus"]["volumes"])
    assert [mounts[path] for path in config["rule_files"]] == ["./helm/dedup-service/files/alerts.yaml"]
    config["rule_files"] = [str(ROOT / mounts[path]) for path in config["rule_files"]]
    file = tmp_path / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    done = subprocess.run([require("promtool"), "check", "config", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (job,) = config["scrape_configs"]
    assert job["static_configs"][0]["targets"] == ["dedup-1:8000", "dedup-2:8000"]


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    (source,) = yaml.safe_load((ROOT / "compose" / "grafana-datasource.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((ROOT / "compose" / "grafana-dashboards.yaml").read_text())["providers"]
    mounted = [mount.split(":")[1] for mount in services("sandbox")["grafana"]["volumes"]]
    assert any(path.startswith(provider["options"]["path"]) for path in mounted)


def test_groups_are_read() -> None:
    assert load_config_file(ROOT / "compose" / "groups.yaml").groups[0].expected_replicas == 3


# --- running it


def ask(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return json.load(response)
    except OSError:
        return None


async def test_readings_flow_from_the_plant_to_the_clean_hub_once(tmp_path: Path) -> None:
    with composition(tmp_path, "127.0.77") as running:
        for name in ("valkey", "azurite", "hub", "plant"):
            running.start(name)
        async with asyncio.timeout(DEADLINE_SECONDS):  # as `restart: on-failure` does
            while await asyncio.to_thread(running.start("checkpoints").wait) != 0:
                await asyncio.sleep(0.5)
            while not (tmp_path / "ca.pem").exists():
                await asyncio.sleep(0.1)
        for name in ("dedup-1", "dedup-2", "edge-1", "edge-2", "edge-3"):
            running.start(name)
        url = f"http://{running.addresses['dedup-2']}:8000/v1"
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                stats, groups = ask(f"{url}/stats"), ask(f"{url}/groups")
                totals = stats["totals"] if stats else {"duplicates": 0, "clean_readings": 0}
                is_flowing = totals["duplicates"] > totals["clean_readings"] > 100 and len(stats["pods"]) == 2
                if is_flowing and groups and groups[0]["live_replicas"] == 3:
                    break
                for name, process in running.running.items():
                    assert name == "checkpoints" or process.poll() is None, (tmp_path / f"{name}.log").read_text()[-2000:]
                await asyncio.sleep(0.2)
