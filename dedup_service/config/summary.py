"""With what a pod has started, for its log. Nothing secret is in it."""

from __future__ import annotations

from typing import Any

from dedup_service.config.config import Config
from dedup_service.config.groups import mode_of
from dedup_service.config.hubs import InputConfig, OutputConfig
from dedup_service.config.urls import SQLITE_SCHEME, split_url

MAX_GROUPS = 20
STORAGE_NAMES = ("AccountName", "ContainerName")


def summary(config: Config) -> dict[str, Any]:
    settings = config.settings
    groups = [f"{group.name} ({mode_of(group, settings)})" for group in config.group_settings]
    told = [*groups[:MAX_GROUPS], *([f"and {len(groups) - MAX_GROUPS} more"] if len(groups) > MAX_GROUPS else [])]
    return {
        "mode": "/".join(sorted({mode_of(group, settings) for group in config.group_settings})),
        "namespace": config.namespace,
        "inputs": [_hub(item) for item in config.inputs],
        "outputs": [] if config.only_observes else [_hub(item) for item in config.outputs],
        "dead_letters": "/".join(config.dead_letters.name) if config.dead_letters is not None else "discarded",
        "redis": _redis(settings.redis_url.get_secret_value()),
        "checkpoints": _checkpoints(settings.checkpoint_url.get_secret_value()),
        "groups": told,
        "groups_file": str(settings.config_file) if settings.config_file is not None else "none",
    }


def _hub(item: InputConfig | OutputConfig) -> str:
    return f"{'/'.join(item.address.name)} (consumer group {item.consumer_group})"


def _redis(url: str) -> str:
    """Host and port. The URL may hold a password, also as a parameter."""
    parts = split_url(url)
    return parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]


def _checkpoints(url: str) -> str:
    """Without the signature or the key."""
    if url.startswith((SQLITE_SCHEME, "https://", "http://")):
        return url.partition("?")[0]
    members = (part.partition("=") for part in url.split(";"))
    return ", ".join(value for name, _, value in members if name in STORAGE_NAMES)
