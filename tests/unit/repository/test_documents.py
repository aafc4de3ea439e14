"""What the documentation names exists: alerts, variables, metrics, links. Commands and files: tests/documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from dedup_service.config.settings import PREFIX, Settings
from edge_sender.config.settings import PREFIX as EDGE_PREFIX
from edge_sender.config.settings import EdgeSettings
from tests.documents.blocks import pages
from tests.support.chart import CHART, ROOT

PAGES = pages()
NOT_FOR_NEWCOMERS = {"glossary.md", "decisions.md", "configuration.md", "edge-settings.md"}
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def test_every_alert_is_explained() -> None:
    rules = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"][0]["rules"]
    rows = re.findall(r"^\| (<a id=[^|]*) \|", OPERATIONS, re.MULTILINE)
    explained = [re.sub(r"<a id=\"\w+\"></a>", "", row) for row in rows]
    assert {name for names in explained for name in names.split(", ")} == {rule["alert"] for rule in rules}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_variables_exist(page: Path) -> None:
    text = page.read_text()
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {EDGE_PREFIX + name.upper() for name in EdgeSettings.model_fields}
    for name in set(re.findall(r"(?:DEDUP|EDGE)_[A-Z_]+[A-Z]", text)):
        assert name in known or any(other.startswith(name) for other in known), name


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_metrics_of_the_edge_exist(page: Path) -> None:
    source = (ROOT / "edge_sender" / "observability" / "telemetry.py").read_text()
    known = {name + ending for name in re.findall(r'"(edge_[a-z_]+)"', source) for ending in ("", "_total")}
    named = set(re.findall(r"`(edge_[a-z_]+)(?=[`{])", page.read_text())) - {"edge_sender"}
    assert named <= known


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in NOT_FOR_NEWCOMERS], ids=lambda path: path.name)
def test_newcomers_words_are_explained_where_they_come_first(page: Path) -> None:
    """In italics or bold, beside what they mean, or with a link to the glossary."""
    prose = re.sub(r"^(?:    |#).*$|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE)
    for word in ("claim", "lease", "witness"):
        first = re.search(rf"\S*\b{word}(s|es|ed)?\b\S*", prose, re.IGNORECASE)
        explained = rf"\*+{word}\w*\*+\W*|\[{word}\w*\]\((docs/)?glossary\.md#{word}\)\W*"
        assert first is None or re.fullmatch(rf"\W?({explained})", first[0], re.IGNORECASE), first[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_point_to_files_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target
