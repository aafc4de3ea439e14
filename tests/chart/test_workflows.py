"""The workflows are valid for the hosted CI and name only what exists, and the cluster that they create suits the chart."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
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
DEPENDABOT = ROOT / ".github" / "dependabot.yml"
MANIFESTS = {
    ".github/workflows/*.yaml": "github-actions",
    "pyproject.toml": "pip",
    "requirements/*.txt": "pip",
    "**/package-lock.json": "npm",
    "**/go.mod": "gomod",
    "**/Dockerfile": "docker",
    ".github/kind/peers.yaml": "docker",
    "**/docker-compose.yml": "docker-compose",
    "**/Chart.yaml": "helm",
}
"""Files that name what others wrote, by their ecosystem."""
NOT_OURS = {"node_modules", ".venv", "build"}


@pytest.mark.parametrize("path", [*WORKFLOWS, DEPENDABOT], ids=lambda path: path.name)
def test_the_hosted_ci_accepts_a_file(path: Any) -> None:
    schema = "vendor.dependabot" if path == DEPENDABOT else "vendor.github-workflows"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
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


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_their_commit_and_say_their_version(path: Path) -> None:
    used = re.findall(r"uses: *(.+)$", path.read_text(), re.MULTILINE)
    others = [line for line in used if not line.startswith("./")]
    assert others
    for line in others:
        assert re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_has_one_version_in_all_workflows() -> None:
    text = "".join(path.read_text() for path in WORKFLOWS)
    pins = set(re.findall(r"uses: ([\w-]+/[\w/-]+)@(\w+) # (\S+)", text))
    assert len(pins) == len({name for name, _, _ in pins})


def test_the_hosted_ci_runs_the_versions_of_python_that_the_project_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [item.rpartition(" ")[2] for item in project["classifiers"] if re.search(r"Python :: 3\.\d+$", item)]
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text())["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == named
    assert project["requires-python"] == f">={named[0]}"
    image = re.search(r"^ARG PYTHON_IMAGE=python:(\d+\.\d+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert image
    assert image[1] == named[-1]


def ecosystems() -> Iterator[tuple[str, str]]:
    """(ecosystem, folder) of every manifest in the tree."""
    for pattern, ecosystem in MANIFESTS.items():
        found = [path for path in ROOT.glob(pattern) if not NOT_OURS & set(path.relative_to(ROOT).parts)]
        assert found, f"nothing is like {pattern} any more"
        for path in found:
            folder = ROOT if ecosystem == "github-actions" else path.parent
            yield ecosystem, "/" if folder == ROOT else f"/{folder.relative_to(ROOT)}"


def test_dependabot_looks_into_every_folder_that_names_what_others_wrote_and_no_other() -> None:
    updates = yaml.safe_load(DEPENDABOT.read_text())["updates"]
    configured = [
        (update["package-ecosystem"], folder)
        for update in updates
        for folder in update.get("directories", [update.get("directory")])
    ]
    assert sorted(configured) == sorted(set(ecosystems()))


def test_the_template_for_pull_requests_and_the_security_policy_are_where_the_host_looks() -> None:
    template, policy = ROOT / ".github" / "pull_request_template.md", ROOT / "SECURITY.md"
    for page in (template, policy):
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert (page.parent / target).exists(), target
    assert re.findall(r"^- \[ \] `make (\w+)` and `make (\w+)`", template.read_text(), re.MULTILINE) == [("lint", "test")]
    assert "Report a vulnerability" in policy.read_text()


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
    (policy, _) = of_kind(resources, "NetworkPolicy")
    let_out = {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert {service["spec"]["ports"][0]["port"] for service in of_kind(peers(), "Service")} <= let_out
