"""What of the groups can't be read back from the clean stream after Redis forgot (R12)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dedup_service.config.file import GroupSettings
from dedup_service.config.groups import mode_of
from dedup_service.config.settings import Settings
from dedup_service.core.clean_events import STRUCTURED
from dedup_service.core.groups import OBSERVE
from dedup_service.core.outgoing import is_in_clean_events
from wire.formats.beside_body import read_beside_the_body


@dataclass(frozen=True, slots=True)
class NotRebuildable:
    group: str
    place: str
    """In the group's settings, such as `format_options.source`."""
    reference: str

    @property
    def effect(self) -> str:
        return (
            f"claims of group {self.group} can't be rebuilt after Redis forgot, because its clean events lack "
            f"{self.reference}: copies that come again are published again. Refer to something else, publish the group with "
            "content_mode: structured, or accept it with DEDUP_ON_REDIS_LOSS=continue"
        )

    def __str__(self) -> str:
        return f"group {self.group}, {self.place}: {self.effect}"


def not_rebuildable(groups: Sequence[GroupSettings], settings: Settings) -> Iterator[NotRebuildable]:
    """Structured events hold the keys themselves."""
    if settings.on_redis_loss != "rebuild":
        return
    for group in groups:
        if mode_of(group, settings) == OBSERVE or group.content_mode == STRUCTURED:
            continue
        for member, kind, name in read_beside_the_body(group.format, json.dumps(group.format_options)):
            if not is_in_clean_events(kind, name, settings.kept_property_names):
                yield NotRebuildable(group.name, f"format_options{member}", f"{kind}:{name}")
