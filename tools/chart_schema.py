"""Generates values.schema.json: types from values.yaml, settings and groups from the service's declarations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dedup_service.config.file import ConfigFile
from dedup_service.config.settings import Settings
from tools.values import Value, values_with_comments

Schema = dict[str, Any]

SET_BY_THE_CHART = {"config_file", "ca_file"}
ALWAYS_SECRET = {"api_token"}
PYDANTICS_OWN = {"title", "default", "examples", "writeOnly", "format"}
"""What pydantic's schemas contain in addition to the constraints on a value."""
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"}
LOWER_CASE = {"type": "string", "pattern": "^[a-z0-9-]*$"}
POSITIVE = {"type": "integer", "minimum": 1}
STRINGS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
ANYTHING: Schema = {"type": "object"}
PORTS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["port"],
        "properties": {name: {"type": "integer", "minimum": 1, "maximum": 65535} for name in ("port", "endPort")},
    },
}
SPECIAL: dict[str, Schema] = {
    "replicaCount": POSITIVE,
    "partitions": {"type": "integer", "minimum": 1, "maximum": 2048},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "service.type": {"enum": ["ClusterIP", "LoadBalancer", "NodePort"]},
    "strategy.type": {"enum": ["RollingUpdate", "Recreate"]},
    "imagePullSecrets": {"type": "array", "items": {"type": "object", "required": ["name"]}},
    "extraEnv": {"type": "array", "items": {"type": "object", "required": ["name"]}},
    "tolerations": {"type": "array", "items": ANYTHING},
    "topologySpreadConstraints": {"type": "array", "items": ANYTHING},
    "networkPolicy.from": {"type": "array", "items": ANYTHING},
    "networkPolicy.egress": PORTS,
    "podDisruptionBudget.maxUnavailable": {"type": ["integer", "string"]},
    "affinity": ANYTHING,
    "nodeSelector": STRINGS,
    "podAnnotations": STRINGS,
    "podLabels": STRINGS,
    "serviceAccount.annotations": STRINGS,
    "service.annotations": STRINGS,
    "monitoring.podMonitor.labels": STRINGS,
    "monitoring.prometheusRule.labels": STRINGS,
    "monitoring.grafanaDashboard.labels": STRINGS,
    "resources": ANYTHING,
    "valkey.resources": ANYTHING,
    "tests.resources": ANYTHING,
    "preStopSeconds": {"type": "integer", "minimum": 1, "maximum": 60},
    "terminationGracePeriodSeconds": {"type": "integer", "minimum": 25},
    "autoscaling.hpa.minReplicas": POSITIVE,
    "autoscaling.hpa.maxReplicas": POSITIVE,
    "autoscaling.keda.minReplicas": POSITIVE,
    "autoscaling.keda.maxReplicas": POSITIVE,
    "autoscaling.keda.unprocessedEventThreshold": POSITIVE,
    "autoscaling.keda.eventHubNamespace": LOWER_CASE,
    "autoscaling.keda.eventHubName": {"type": "string", "pattern": "^[a-z0-9._-]*$"},
    "autoscaling.keda.storageAccountName": LOWER_CASE,
}
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}


def chart_schema(values: Path) -> str:
    described = values_with_comments(values)
    config, definitions = _config()
    special = {
        **SPECIAL,
        "settings": _settings(),
        "secrets.keys": _by_setting("Key in the Secret."),
        "secretsStore.objects": _by_setting("Object in the Key Vault."),
        "config": config,
    }
    root: Schema = {"$schema": "http://json-schema.org/draft-07/schema#", "$defs": definitions, **_section()}
    root["properties"]["global"] = ANYTHING
    for value in described:
        _place(root, value, special)
    return json.dumps(root, indent=2) + "\n"


def _section() -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _place(root: Schema, value: Value, special: dict[str, Schema]) -> None:
    at = root
    for name in value.path[:-1]:
        at = at["properties"].setdefault(name, _section())
    path = ".".join(value.path)
    schema = special.get(path)
    if schema is None:
        kind = TYPES.get(type(value.default))
        if kind is None or kind == "array":
            raise ValueError(f"{path}: its type is not known; add it to SPECIAL")
        schema = {"type": kind}
    at["properties"][value.path[-1]] = {"description": value.description, **schema}


def _settings() -> Schema:
    """The schema of each setting by its name, without those that are always secret: these may not be in the values."""
    properties = {}
    for name, schema in Settings.model_json_schema()["properties"].items():
        if name not in SET_BY_THE_CHART | ALWAYS_SECRET:
            properties[name] = _setting(schema)
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _setting(schema: Schema) -> Schema:
    kept = {
        name: part for name, part in schema.items() if name not in ("title", "default", "examples", "writeOnly", "format")
    }
    options = [option for option in kept.pop("anyOf", []) if option != {"type": "null"}]
    for option in options:
        kept |= {name: part for name, part in option.items() if name not in PYDANTICS_OWN}
    return kept


def _by_setting(description: str) -> Schema:
    names = [name for name in Settings.model_fields if name not in SET_BY_THE_CHART]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: {"type": "string", "minLength": 1, "description": description} for name in names},
    }


def _config() -> tuple[Schema, Schema]:
    schema = ConfigFile.model_json_schema()
    definitions = schema.pop("$defs")
    is_empty = {"maxProperties": 0}
    return {"anyOf": [is_empty, {"$ref": "#/$defs/ConfigFile"}]}, {**definitions, "ConfigFile": schema}
