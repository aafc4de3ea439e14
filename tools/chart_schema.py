"""Generates values.schema.json: types from values.yaml, settings and groups from the service's declarations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dedup_service.config.file import ConfigFile
from dedup_service.config.settings import Settings
from tools.kubernetes_schema import definitions
from tools.values import Value, values_with_comments

Schema = dict[str, Any]

SET_BY_THE_CHART = {"config_file", "ca_file"}
ALWAYS_SECRET = {"api_token"}
PYDANTICS_OWN = {"title", "default", "examples", "writeOnly", "format"}
"""What pydantic's schemas contain in addition to the constraints on a value."""
LOWER_CASE = {"type": "string", "pattern": "^[a-z0-9-]*$"}
POSITIVE = {"type": "integer", "minimum": 1}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
ANYTHING: Schema = {"type": "object"}
NAME: Schema = {"type": "string", "maxLength": 253, "pattern": "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"}
"""Of a resource; empty where it is not needed."""
SECRET_KEY: Schema = {"type": "string", "minLength": 1, "maxLength": 253, "pattern": "^[-._a-zA-Z0-9]+$"}
QUALIFIED: Schema = {"pattern": "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"}
"""The name of a label or annotation."""
LABEL: Schema = {"type": "string", "maxLength": 63, "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"}
LABELS: Schema = {"type": "object", "propertyNames": QUALIFIED, "additionalProperties": LABEL}
ANNOTATIONS: Schema = {"type": "object", "propertyNames": QUALIFIED, "additionalProperties": {"type": "string"}}
VAULT_OBJECT: Schema = {"type": "string", "maxLength": 127, "pattern": "^[0-9a-zA-Z-]+$"}
DURATION: Schema = {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"}
REPOSITORY = "([a-z0-9.-]+(:[0-9]+)?/)?[a-z0-9._-]+(/[a-z0-9._-]+)*"
IMAGE: Schema = {"type": "string", "pattern": f"^{REPOSITORY}:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}(@sha256:[0-9a-f]{{64}})?$"}
PARENTS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["name"],
        "properties": {
            **{name: {"type": "string"} for name in ("group", "kind", "namespace", "name", "sectionName")},
            "port": PORT,
        },
    },
}
PORTS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["port"],
        "properties": {
            "port": PORT,
            "endPort": PORT,
            "protocol": {"enum": ["TCP", "UDP", "SCTP"]},
            "to": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/io.k8s.api.networking.v1.NetworkPolicyPeer"}},
        },
    },
}
PROBE: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": dict.fromkeys(("periodSeconds", "timeoutSeconds", "failureThreshold", "initialDelaySeconds"), POSITIVE),
}
OBJECTS: Schema = {"type": "array", "items": {"type": "object", "required": ["apiVersion", "kind", "metadata"]}}
LIST: Schema = {"type": "array", "items": ANYTHING}
"""Of an operator's objects."""
SPECIAL: dict[str, Schema] = {
    "nameOverride": LABEL,
    "fullnameOverride": {**NAME, "maxLength": 53},
    "commonLabels": LABELS,
    "extraObjects": OBJECTS,
    "imageRegistry": {"type": "string", "pattern": "^([a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*)?$"},
    "ingress.annotations": ANNOTATIONS,
    "ingress.className": NAME,
    "ingress.host": NAME,
    "ingress.tlsSecret": NAME,
    "httpRoute.parentRefs": PARENTS,
    "httpRoute.hostnames": {
        "type": "array",
        "items": {"type": "string", "pattern": r"^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"},
    },
    "service.externalTrafficPolicy": {"enum": ["", "Cluster", "Local"]},
    "minReadySeconds": {"type": "integer", "minimum": 0},
    "revisionHistoryLimit": {"type": "integer", "minimum": 0},
    "startupProbe": PROBE,
    "livenessProbe": PROBE,
    "readinessProbe": PROBE,
    "deploymentAnnotations": ANNOTATIONS,
    "monitoring.podMonitor.apiVersion": {"enum": ["monitoring.coreos.com/v1", "azmonitoring.coreos.com/v1"]},
    "monitoring.podMonitor.relabelings": LIST,
    "monitoring.podMonitor.metricRelabelings": LIST,
    "autoscaling.keda.fallback": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"failureThreshold": POSITIVE, "replicas": POSITIVE},
    },
    "replicaCount": POSITIVE,
    "partitions": {"type": "integer", "minimum": 1, "maximum": 2048},
    "image.repository": {"type": "string", "pattern": f"^{REPOSITORY}$"},
    "image.tag": {"type": "string", "pattern": "^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$"},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "secrets.existingSecret": NAME,
    "tls.secretName": NAME,
    "monitoring.podMonitor.tlsConfig": {"type": "object"},
    "caBundle.configMap": NAME,
    "caBundle.key": SECRET_KEY,
    "serviceAccount.name": NAME,
    "serviceAccount.annotations": ANNOTATIONS,
    "service.type": {"enum": ["ClusterIP", "LoadBalancer", "NodePort"]},
    "service.port": PORT,
    "service.annotations": ANNOTATIONS,
    "strategy.type": {"enum": ["RollingUpdate", "Recreate"]},
    "networkPolicy.egress": PORTS,
    "podDisruptionBudget.maxUnavailable": {
        "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": "^[0-9]+%$"}]
    },
    "priorityClassName": NAME,
    "nodeSelector": LABELS,
    "podAnnotations": ANNOTATIONS,
    "podLabels": LABELS,
    "monitoring.podMonitor.interval": DURATION,
    "monitoring.podMonitor.labels": LABELS,
    "monitoring.prometheusRule.labels": LABELS,
    "monitoring.grafanaDashboard.labels": LABELS,
    "preStopSeconds": {"type": "integer", "minimum": 1, "maximum": 60},
    "terminationGracePeriodSeconds": POSITIVE,
    "autoscaling.hpa.minReplicas": POSITIVE,
    "autoscaling.hpa.maxReplicas": POSITIVE,
    "autoscaling.hpa.targetCPUUtilizationPercentage": POSITIVE,
    "autoscaling.keda.minReplicas": POSITIVE,
    "autoscaling.keda.maxReplicas": POSITIVE,
    "autoscaling.keda.pollingInterval": POSITIVE,
    "autoscaling.keda.cooldownPeriod": {"type": "integer", "minimum": 0},
    "autoscaling.keda.unprocessedEventThreshold": POSITIVE,
    "autoscaling.keda.eventHubNamespace": LOWER_CASE,
    "autoscaling.keda.eventHubName": {"type": "string", "pattern": "^[a-z0-9._-]*$"},
    "autoscaling.keda.storageAccountName": LOWER_CASE,
    "autoscaling.keda.blobContainer": LOWER_CASE,
    "autoscaling.keda.existingSecret": NAME,
    "autoscaling.keda.connectionKey": SECRET_KEY,
    "autoscaling.keda.storageConnectionKey": SECRET_KEY,
    "valkey.image": IMAGE,
    "valkey.existingSecret": NAME,
    "valkey.passwordKey": SECRET_KEY,
    "valkey.maxmemory": {"type": "string", "pattern": "^[1-9][0-9]*([kmg]b?)?$"},
}
CORE, NETWORKING = "io.k8s.api.core.v1", "io.k8s.api.networking.v1"
OF_KUBERNETES = {
    "extraEnvFrom": f"[]{CORE}.EnvFromSource",
    "extraVolumes": f"[]{CORE}.Volume",
    "extraVolumeMounts": f"[]{CORE}.VolumeMount",
    "initContainers": f"[]{CORE}.Container",
    "sidecars": f"[]{CORE}.Container",
    "podSecurityContext": f"{CORE}.PodSecurityContext",
    "securityContext": f"{CORE}.SecurityContext",
    "dnsConfig": f"{CORE}.PodDNSConfig",
    "hostAliases": f"[]{CORE}.HostAlias",
    "networkPolicy.dns": f"[]{NETWORKING}.NetworkPolicyPeer",
    "autoscaling.hpa.behavior": "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerBehavior",
    "imagePullSecrets": f"[]{CORE}.LocalObjectReference",
    "extraEnv": f"[]{CORE}.EnvVar",
    "tolerations": f"[]{CORE}.Toleration",
    "topologySpreadConstraints": f"[]{CORE}.TopologySpreadConstraint",
    "affinity": f"{CORE}.Affinity",
    "networkPolicy.from": f"[]{NETWORKING}.NetworkPolicyPeer",
    "resources": f"{CORE}.ResourceRequirements",
    "valkey.resources": f"{CORE}.ResourceRequirements",
    "tests.resources": f"{CORE}.ResourceRequirements",
}
"""What is handed through to Kubernetes as it is; `[]` is a list of that."""
OTHERWISE: dict[str, Schema] = {"http_port": PORT}
"""Constraints on settings that differ in a cluster: a Service needs to know the port."""
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}


def chart_schema(values: Path) -> str:
    described = values_with_comments(values)
    config, of_config = _config()
    special = {
        **SPECIAL,
        **{path: _of_kubernetes(kind) for path, kind in OF_KUBERNETES.items()},
        "settings": _settings(),
        "secrets.keys": _by_setting("Key in the Secret.", SECRET_KEY),
        "secretsStore.objects": _by_setting("Object in the Key Vault.", VAULT_OBJECT),
        "config": config,
    }
    root: Schema = {"$schema": "http://json-schema.org/draft-07/schema#", "$defs": {**of_config, **_kinds()}, **_section()}
    root["properties"]["global"] = ANYTHING
    for value in described:
        _place(root, value, special)
    return json.dumps(root, indent=2) + "\n"


def _kinds() -> dict[str, Schema]:
    return definitions({kind.removeprefix("[]") for kind in OF_KUBERNETES.values()})


def _of_kubernetes(kind: str) -> Schema:
    one = {"$ref": f"#/$defs/{kind.removeprefix('[]')}"}
    return {"type": "array", "items": one} if kind.startswith("[]") else {"allOf": [one]}


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
            properties[name] = _setting(schema) | OTHERWISE.get(name, {})
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _setting(schema: Schema) -> Schema:
    kept = {
        name: part for name, part in schema.items() if name not in ("title", "default", "examples", "writeOnly", "format")
    }
    options = [option for option in kept.pop("anyOf", []) if option != {"type": "null"}]
    for option in options:
        kept |= {name: part for name, part in option.items() if name not in PYDANTICS_OWN}
    return kept


def _by_setting(description: str, value: Schema) -> Schema:
    names = [name for name in Settings.model_fields if name not in SET_BY_THE_CHART]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: {"description": description, **value} for name in names},
    }


def _config() -> tuple[Schema, Schema]:
    schema = ConfigFile.model_json_schema()
    definitions = schema.pop("$defs")
    is_empty = {"maxProperties": 0}
    return {"anyOf": [is_empty, {"$ref": "#/$defs/ConfigFile"}]}, {**definitions, "ConfigFile": schema}
