"""Groups as pages and files show them can be copied: their fields exist, each has devices, and their sources can come."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest
import yaml
from asyncua import ua

from dedup_service.config.file import ConfigFile
from dedup_service.config.unknown_fields import unknown_fields
from dedup_service.config.warnings import file_warnings
from edge_sender.config.file import FileConfig
from edge_sender.config.mqtt import MqttConfig
from edge_sender.config.opcua import OpcUaConfig
from edge_sender.config.sources import SyntheticConfig, parse_sources
from edge_sender.sources.opcua.addresses import Addresses
from sandbox.demo.plan import GROUPS
from sandbox.plant.sources import machines
from tests.support.chart import ROOT
from tests.unit.repository.test_documents import PAGES

FILES = [ROOT / "compose" / "groups.yaml", *sorted((ROOT / "helm").rglob("*values*.yaml"))]
BLOCK = re.compile(r"(?:^    .*\n|^\n(?=    ))+", re.MULTILINE)


def blocks() -> Iterator[tuple[str, Any]]:
    """Where it stands, and what YAML it is."""
    for page in PAGES:
        for block in map(textwrap.dedent, BLOCK.findall(page.read_text())):
            files = re.findall(r"<<(\w+)\n(.*?)^\1$", block, re.MULTILINE | re.DOTALL)
            for part in [text for _, text in files] or re.split(r"^(?=helm |dedup-service )", block, flags=re.MULTILINE):
                if re.search(r"^ *groups:", part, re.MULTILINE):
                    yield page.name, yaml.safe_load(part)
    for file in FILES:
        yield file.name, yaml.safe_load(file.read_text())
    yield "the demo", yaml.safe_load(GROUPS)


def configurations() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, content in blocks():
        file = content.get("config", content)
        if isinstance(file, dict) and "groups" in file:
            yield name, {key: file[key] for key in ("outputs", "inputs", "groups") if key in file}


SAMPLES = list(configurations())


def minted() -> Iterator[str]:
    """Sources of the edge in its page's document."""
    text = next(
        block
        for block in map(textwrap.dedent, BLOCK.findall((ROOT / "docs" / "edge.md").read_text()))
        if "kind: opcua" in block
    )
    for config in parse_sources(text).sources:
        match config:
            case OpcUaConfig():
                namespaces = ("http://opcfoundation.org/UA/", config.namespace_uri or "urn:factory")
                server = Addresses("urn:factory:plc-1", namespaces)
                yield from (server.source_uri(ua.NodeId(source.name, 1)) for source in machines("1"))
            case MqttConfig():
                yield from (config.uri_prefix + re.sub("[+#]", "press-1", topic) for topic in config.topics)
            case FileConfig():
                yield re.sub(r"\{\w+\}", "press-1", config.uri)
            case SyntheticConfig():
                yield from (f"{config.uri_prefix}{number}" for number in range(config.count))


def test_samples_are_found() -> None:
    places = {name for name, _ in SAMPLES}
    assert {
        "groups.md",
        "formats.md",
        "azure.md",
        "azure-commands.md",
        "groups.yaml",
        "values-production.yaml",
        "the demo",
    } <= places


@pytest.mark.parametrize(("name", "file"), SAMPLES, ids=[name for name, _ in SAMPLES])
def test_a_sample_can_be_copied(name: str, file: dict[str, Any]) -> None:
    assert list(unknown_fields(file, ConfigFile)) == [], name
    warnings = file_warnings(ConfigFile.model_validate(file))
    assert [str(warning) for warning in warnings if warning.name == "devices_taken"] == []


def test_the_sources_of_a_sample_can_come() -> None:
    patterns = {pattern for _, file in SAMPLES for group in file["groups"] for pattern in group.get("sources", [])}
    assert patterns
    sources = list(minted())
    assert {pattern for pattern in patterns if not any(fnmatchcase(source, pattern) for source in sources)} == set()


def test_the_page_of_the_groups_shows_the_default_of_the_code() -> None:
    page = (ROOT / "docs" / "groups.md").read_text()
    default = ConfigFile.model_validate({"groups": [{"name": "a"}]}).groups[0].expected_replicas
    assert f"# default: {default}, as many as have ever sent" in page
