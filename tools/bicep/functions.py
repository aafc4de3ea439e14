"""The functions of the language that deploy/azure uses, for an Azure that is not there."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.bicep.model import SUBSCRIPTION

TENANT = "00000000-0000-0000-0000-000000000002"


def functions(folder: Path, group: str | None) -> dict[str, Callable[..., Any]]:
    """By name, as they answer in a file of this folder, in this resource group."""
    return {
        "deployment": lambda: {"location": "westeurope"},
        "empty": lambda value: not value,
        "environment": lambda: {"suffixes": {"storage": "core.windows.net"}},
        "guid": lambda *parts: str(uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(parts))),
        "loadJsonContent": lambda path: json.loads((folder / path).read_text()),
        "resourceGroup": lambda: {"name": group},
        "subscription": lambda: {"id": f"/subscriptions/{SUBSCRIPTION}", "subscriptionId": SUBSCRIPTION},
        "subscriptionResourceId": lambda type_, name: f"/subscriptions/{SUBSCRIPTION}/providers/{type_}/{name}",
        "tenant": lambda: {"tenantId": TENANT},
        "union": lambda one, other: {**one, **other},
        "uniqueString": lambda *parts: hashlib.sha256("\n".join(parts).encode()).hexdigest()[:13],
    }
