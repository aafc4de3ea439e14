"""What the documentation names exists: alerts, values, variables, commands, metrics, links."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from dedup_service.__main__ import make_parser
from dedup_service.config.settings import PREFIX, Settings
from edge_sender.config.settings import PREFIX as EDGE_PREFIX
from edge_sender.config.settings import EdgeSettings
from tests.support.chart import CHART, ROOT, of_kind, render

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), CHART / "README.md"]
PAGES += [ROOT / "examples" / "README.md", *sorted((ROOT / "examples").glob("*/README.md"))]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def indented_block(text: str, beginning: str) -> str:
    """The code block whose first line starts with `beginning`, without its indentation."""
    match = re.search(rf"^    {re.escape(beginning)}.*?(?=^\S|^\n\S|\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, beginning
    return "\n".join(line[4:] for line in match[0].splitlines())


def test_every_alert_is_explained() -> None:
    rules = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"][0]["rules"]
    explained = re.findall(r"^\| ([A-Z]\w+(?:, [A-Z]\w+)*) \|", OPERATIONS, re.MULTILINE)
    assert {name for names in explained for name in names.split(", ")} == {rule["alert"] for rule in rules}


def test_the_values_of_the_installation_are_accepted() -> None:
    text = (
        indented_block(OPERATIONS, "settings:\n")
        .split("helm install")[0]
        .replace("<CLIENT>", "00000000-0000-0000-0000-000000000000")
    )
    values: dict[str, Any] = yaml.safe_load(text)
    (account,) = of_kind(render(values), "ServiceAccount")
    subject = re.search(r"system:serviceaccount:(\S+)", OPERATIONS)
    assert subject
    assert subject[1] == f"dedup:{account['metadata']['name']}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_variables_and_commands_exist(page: Path) -> None:
    text = page.read_text()
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {EDGE_PREFIX + name.upper() for name in EdgeSettings.model_fields}
    for name in set(re.findall(r"(?:DEDUP|EDGE)_[A-Z_]+[A-Z]", text)):
        assert name in known or any(other.startswith(name) for other in known), name
    for command in re.findall(r"(?:^    |`|-- )dedup-service ((?!run --help)[a-z][^`\n#]*)", text, re.MULTILINE):
        words = shlex.split(command.replace("FORMAT", "json"))
        if words[0] in ("run", "report", "check", "init", "plan") or len(words) > 1:
            make_parser().parse_args(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_metrics_of_the_edge_exist(page: Path) -> None:
    source = (ROOT / "edge_sender" / "observability" / "telemetry.py").read_text()
    known = {name + ending for name in re.findall(r'"(edge_[a-z_]+)"', source) for ending in ("", "_total")}
    named = set(re.findall(r"`(edge_[a-z_]+)(?=[`{])", page.read_text())) - {"edge_sender"}
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_point_to_files_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target
