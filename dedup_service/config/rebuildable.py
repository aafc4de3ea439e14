"""What of the groups can't be read back from the clean stream after Redis forgot (R12)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from dedup_service.config.file import SETTING, ConfigFile, GroupSettings
from dedup_service.config.groups import mode_of
from dedup_service.config.settings import Settings
from dedup_service.config.warnings import ConfigWarning
from dedup_service.core.clean_events import STRUCTURED
from dedup_service.core.groups import OBSERVE
from dedup_service.core.outgoing import is_in_clean_events
from wire.formats.beside_body import read_beside_the_body


def not_rebuildable(file: ConfigFile, settings: Settings) -> Iterator[ConfigWarning]:
    """Structured events hold the keys themselves."""
    if settings.on_redis_loss != "rebuild":
        return
    for group in file.groups:
        if mode_of(group, settings) != OBSERVE and group.content_mode != STRUCTURED:
            for sender, read in _read_as(group, file):
                for member, kind, name in read_beside_the_body(read.format, json.dumps(read.format_options)):
                    if not is_in_clean_events(kind, name, settings.kept_property_names):
                        place = f"{sender}, format_options{member}"
                        yield ConfigWarning("not_rebuildable", SETTING, _effect(group.name, f"{kind}:{name}"), place)


def _read_as(group: GroupSettings, file: ConfigFile) -> list[tuple[str, GroupSettings]]:
    """Who says how the group's events are read, and how."""
    if "format" in group.inherited and file.inputs:
        return [(f"input {name}", read) for name, read in file.by_input(group).items()]
    return [(f"group {group.name}", group)]


def _effect(group: str, reference: str) -> str:
    return (
        f"claims of group {group} can't be rebuilt after Redis forgot, because its clean events lack {reference}: copies "
        "that come again are published again. Refer to something else, publish the group with content_mode: structured, or "
        "accept it with DEDUP_ON_REDIS_LOSS=continue"
    )
