"""Environment variables that begin like settings and are none: nearly always a slip of the pen."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from dedup_service.config.settings import PREFIX, Settings

SIMILAR = 0.8
_OF_A_SERVICE = re.compile(r".*(_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT(_\d+_[A-Z]+(_\w+)?)?)")
"""How the variables end that Kubernetes gives every pod, named after each service of the namespace
(https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables)."""


def unknown_variables(environment: Iterable[str]) -> dict[str, str | None]:
    """By variable, the setting that may be meant; None if none is similar. Case does not matter."""
    settings, unknown = [PREFIX + name.upper() for name in Settings.model_fields], {}
    for variable in environment:
        name = variable.upper()
        if name.startswith(PREFIX) and name not in settings and not _OF_A_SERVICE.fullmatch(name):
            near = get_close_matches(name, settings, 1, cutoff=SIMILAR)
            unknown[variable] = near[0] if near else None
    return unknown
