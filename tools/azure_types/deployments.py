"""What deploy/azure makes with every size and switch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from tools.bicep import Deployment, evaluate

MAIN = Path(__file__).parents[2] / "deploy" / "azure" / "main.bicep"
RUNTIME = {
    "properties.clientId": "00000000-0000-0000-0000-000000000003",
    "properties.hostName": "dedup.westeurope.redis.azure.net",
    "properties.oidcIssuerProfile.issuerURL": "https://westeurope.oic.prod-aks.azure.com/tenant/cluster/",
    "properties.port": 10000,
    "properties.primaryEndpoints.blob": "https://dedup.blob.core.windows.net/",
    "properties.principalId": "00000000-0000-0000-0000-000000000004",
}
"""What running resources say."""


def deployment(**parameters: Any) -> Deployment:
    given = {"name": "plant", "apiToken": "0123456789abcdef", **parameters}
    return evaluate(MAIN, given, lambda _, path: RUNTIME[path])


def deployments() -> Iterator[Deployment]:
    """Every size, with and without private endpoints, with and without a reader."""
    for size, closed, reader in product(("trial", "small", "production"), (False, True), ("", "a-person")):
        yield deployment(size=size, privateEndpoints=closed, readerId=reader)
