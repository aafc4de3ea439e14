"""The workflows are valid for the hosted CI and name only what exists, and the cluster that they create suits the chart."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import kubernetes_validate
import pytest
import yaml

from dedup_service.__main__ import make_parser
from dedup_service.config.settings import PREFIX, Settings
from sandbox.__main__ import make_parser as sandbox_parser
from tests.support.chart import KUBERNETES, ROOT, of_kind, render, service_container

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
KIND = ROOT / ".github" / "kind"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_the_hosted_ci_accepts_a_workflow(path: Any) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_workflows_name_files_and_targets_that_exist() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for path in WORKFLOWS:
        text = path.read_text()
        for file in re.findall(r"(?:-f |apply -f |bash |package )((?:\.github|\.ci|helm)/[\w./-]+)", text):
            assert (ROOT / file).exists(), file
        for target in re.findall(r"target: (\w+),", text) + re.findall(r"for target in ([\w ]+);", text):
            assert all(re.search(rf"AS {name}$", dockerfile, re.MULTILINE) for name in target.split())


def test_jobs_may_only_read_unless_they_ask_for_more() -> None:
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}


def peers() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KIND / "peers.yaml").read_text()))


def test_the_peers_are_valid_and_their_commands_exist() -> None:
    for resource in peers():
        kubernetes_validate.validate(resource, KUBERNETES[1], strict=True)
    (job,) = of_kind(peers(), "Job")
    container = job["spec"]["template"]["spec"]["containers"][0]
    make_parser().parse_args(container["args"])
    assert {item["name"] for item in container["env"]} <= {PREFIX + name.upper() for name in Settings.model_fields}
    (hub,) = of_kind(peers(), "Deployment", "hub")
    sandbox_parser().parse_args(hub["spec"]["template"]["spec"]["containers"][0]["args"])


def test_the_cluster_contains_what_the_charts_values_name() -> None:
    values = yaml.safe_load((KIND / "values.yaml").read_text())
    (secret,) = of_kind(peers(), "Secret")
    resources = render(values)
    for item in service_container(resources)["env"]:
        if reference := item.get("valueFrom", {}).get("secretKeyRef"):
            assert reference["name"] == secret["metadata"]["name"]
            assert reference["key"] in secret["stringData"]
    assert len(of_kind(resources, "Pod")) == 3
    let_out = {port["port"] for port in of_kind(resources, "NetworkPolicy")[0]["spec"]["egress"][0]["ports"]}
    assert {service["spec"]["ports"][0]["port"] for service in of_kind(peers(), "Service")} <= let_out
