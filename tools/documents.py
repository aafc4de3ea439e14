"""Pages that are written from declarations: the settings' reference, and the table of the chart's values."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from dedup_service.config.file import ConfigFile
from dedup_service.config.settings import PREFIX, Settings
from edge_sender.config.settings import PREFIX as EDGE_PREFIX
from edge_sender.config.settings import TWIN_SETTINGS, EdgeSettings
from edge_sender.config.sources import SourcesDocument
from tools.values import values_with_comments

CONFIGURATION = """\
# Configuration

Written by `make generate` from the service's own declarations. `dedup-service run --help` prints the same.

## Environment variables

A setting that is missing or wrong stops the start with one message that names it. In the Helm chart they stand under
`settings` (or `secrets.keys`) by their name in lower case without `DEDUP_`.

| variable | default | meaning | example |
| --- | --- | --- | --- |
{settings}

Entra ID itself is configured by the variables that AKS gives to a pod with workload identity (`AZURE_CLIENT_ID`,
`AZURE_TENANT_ID`, `AZURE_FEDERATED_TOKEN_FILE`), or by those of any other way that `DefaultAzureCredential` knows.

## The file (`DEDUP_CONFIG_FILE`)

YAML; `config` in the Helm chart. [groups.md](groups.md) explains it.
{file}
"""
EDGE = """\
# The edge's settings

Written by `make generate` from the sender's own declarations; [edge.md](edge.md) explains them. `edge-sender run --help`
prints the settings, too. A setting that is missing or wrong stops the start with one message that names it.

## Environment variables

| variable | default | meaning | example | twin |
| --- | --- | --- | --- | --- |
{settings}

Twin: with `EDGE_TWIN=true` the twin may set it, by its name in lower case without `EDGE_`; and `sources`, as below.

## The sources' document (`EDGE_SOURCES_FILE`, `EDGE_SOURCES`)

YAML or JSON: `sources` is a list of these.
{sources}
"""
CHART = """\
# dedup-service

The Helm chart of [redundant-edge-dedup](../../README.md): N redundant edge gateways, one clean stream.
[docs/operations.md](../../docs/operations.md) installs it step by step.

    helm install plant oci://ghcr.io/redundant-edge-dedup/charts/dedup-service -f my-values.yaml
    helm test plant

`values-production.yaml` is a starting point. `values.schema.json` refuses a value that does not exist or can't be right, and
names it.

## Values

Written by `make generate` from the comments in values.yaml.

| value | default | meaning |
| --- | --- | --- |
{values}
"""


def configuration_page() -> str:
    schema = ConfigFile.model_json_schema()
    parts = [_table("at the top", schema)]
    parts += [_table(f"`{name}`", schema["$defs"][kind]) for name, kind in SECTIONS.items()]
    return CONFIGURATION.format(settings="\n".join(_setting(name) for name in Settings.model_fields), file="\n".join(parts))


SECTIONS = {"groups": "GroupSettings", "inputs": "InputSettings", "outputs": "OutputSettings"}


def edge_page() -> str:
    schema = SourcesDocument.model_json_schema()
    common = set(EDGE_COMMON)
    parts = [_table("every source", _without(schema["$defs"]["SyntheticConfig"], keep=common))]
    parts += [_table(f"kind `{kind}`", _without(schema["$defs"][name], drop=common)) for kind, name in SOURCE_KINDS.items()]
    settings = [_edge_setting(name) for name in EdgeSettings.model_fields]
    return EDGE.format(settings="\n".join(settings), sources="\n".join(parts))


EDGE_COMMON = ("name", "kind", "identity", "event_type")
SOURCE_KINDS = {"opcua": "OpcUaConfig", "mqtt": "MqttConfig", "file": "FileConfig", "synthetic": "SyntheticConfig"}


def _without(schema: dict[str, Any], keep: Collection[str] = (), drop: Collection[str] = ()) -> dict[str, Any]:
    fields = {name: field for name, field in schema["properties"].items() if (name in keep if keep else name not in drop)}
    return {"properties": fields, "required": schema.get("required", [])}


def _edge_setting(name: str) -> str:
    twin = "yes" if name in TWIN_SETTINGS else ""
    return _row(*_setting_cells(EDGE_PREFIX, name, EdgeSettings.model_fields[name]), twin)


def _setting(name: str) -> str:
    return _row(*_setting_cells(PREFIX, name, Settings.model_fields[name]))


def _setting_cells(prefix: str, name: str, field: FieldInfo) -> tuple[str, str, str, str]:
    if field.is_required():
        default = "required"
    elif field.default in (None, ""):
        default = ""
    else:
        default = f"`{_yaml(field.default)}`"
    example = f"`{field.examples[0]}`" if field.examples else ""
    return f"`{prefix}{name.upper()}`", default, field.description or "", example


def _table(title: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    lines = ["", f"### {title}", "", "| field | default | meaning |", "| --- | --- | --- |"]
    for name, field in schema["properties"].items():
        default = "required" if name in required else f"`{_yaml(field.get('default'))}`"
        lines.append(_row(f"`{name}`", "" if default == "`null`" else default, field.get("description", "")))
    return "\n".join(lines)


def chart_page(values: Path) -> str:
    rows = [_row(f"`{'.'.join(v.path)}`", f"`{_yaml(v.default)}`", v.description) for v in values_with_comments(values)]
    return CHART.format(values="\n".join(rows))


def _yaml(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else (value or '""')


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
