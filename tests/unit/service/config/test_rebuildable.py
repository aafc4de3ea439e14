"""A group is warned of exactly when its claims can't be rebuilt from what it publishes (R12)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dedup_service.config.config import Config
from dedup_service.config.file import ConfigFile, GroupSettings, InputSettings
from dedup_service.config.groups import make_group
from dedup_service.config.loading import load_offline
from dedup_service.config.rebuildable import not_rebuildable
from dedup_service.config.settings import Settings
from dedup_service.config.warnings import ConfigWarning
from dedup_service.core.clean_events import clean_events
from dedup_service.core.events import InputEvent
from dedup_service.core.input_log import InputLog
from dedup_service.core.property_types import Timestamp
from dedup_service.rebuild.published import UnknownReadingsError
from tests.doubles.memory import MemoryPublisher
from tests.support.rebuilds import reader_of

CLEAN = "Endpoint=sb://plant.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey=s;EntityPath=clean"
BODY = b'{"at": "2027-01-01T00:00:00Z", "value": 1, "tag": "press-1"}'
ANNOTATIONS = {
    "iothub-connection-device-id": "edge-1",
    "iothub-message-schema": "schema-1",
    "x-opt-partition-key": "key-1",
    "iothub-enqueuedtime": Timestamp(1_800_000_000_000),
}
PROPERTIES = {"plant": "north", "Topic": "line/press-1", "Iothub-x": "x", "dedup_x": "x", "Tags": "hot", "table": "t"}
REFERENCES = {
    "/tag": True,
    "text:press": True,
    "property:plant": True,
    "property:PLANT": True,
    "property:iothub-x": False,
    "property:DEDUP_x": False,
    "property:Tags": True,  # kept by the settings of this test
    "property:Table": False,
    "topic:-1": True,
    "system:user-id": False,
    "system:content-type": True,
    "system:Content-Encoding": True,
    "system:iothub-message-schema": False,
    "annotation:iothub-message-schema": False,
    "annotation:x-opt-partition-key": False,
}
"""Whether the clean event holds what it means."""


def settings_of(**more: Any) -> Settings:
    hubs = {"output_connection_string": CLEAN, "dead_letter_connection_string": "discard"}
    return load_offline(**{"mode": "drop", "kept_properties": "Tags", **hubs, **more})


def group_settings(reference: str, **more: Any) -> GroupSettings:
    options = {"source": ["/tag", reference], "time": "/at", "value": ["/value"]}
    return GroupSettings(name="presses", format="json", format_options=options, **more)


def warned(groups: list[GroupSettings], settings: Settings | None = None, **file: Any) -> list[ConfigWarning]:
    return list(not_rebuildable(ConfigFile(groups=groups, **file), settings or settings_of()))


def is_rebuilt(group: GroupSettings, settings: Settings) -> bool:
    """Whether a reader of what the group publishes finds the same keys."""
    made = make_group(group, settings, ["0"])
    assert made.extractor is not None
    event = InputEvent(
        "0",
        7,
        "7",
        1_800_000_000_000,
        BODY,
        content_type="application/json",
        content_encoding="identity",
        application_properties=PROPERTIES,
        annotations=ANNOTATIONS,
        user_id="operator",
    )
    extraction = made.extractor.extract(event)
    (published,) = clean_events(event, extraction, extraction.readings, made.output, InputLog(1, 0).event_text(7))
    hub = MemoryPublisher({"0": []})
    hub.store("0", [published.event])
    (clean,) = hub.stored("0")
    try:
        found = reader_of(made).read(clean)
    except UnknownReadingsError:
        return False
    assert found is not None
    return [(r.source, r.id) for r in found.readings] == [(r.source, r.id) for r in extraction.readings]


@pytest.mark.parametrize("reference", REFERENCES)
def test_what_the_clean_event_lacks_is_warned_of_and_nothing_else(reference: str) -> None:
    settings, group = settings_of(), group_settings(reference)
    found = warned([group], settings)
    assert (found == [], is_rebuilt(group, settings)) == (REFERENCES[reference], REFERENCES[reference])
    if found:
        (lacking,) = found
        assert lacking.place == "group presses, format_options.source"
        assert (
            f"claims of group presses can't be rebuilt after Redis forgot, because its clean events lack {reference}: "
            in str(lacking)
        )


def test_each_shape_and_member_is_looked_at() -> None:
    good = {"source": ["/tag"], "has": ["/value"]}
    bad = {"source": ["/tag"], "sequence": "system:user-id", "epoch": "annotation:x", "time": "property:dedup_t"}
    group = GroupSettings(name="presses", format="json", format_options=[good, bad])
    assert [item.place for item in warned([group])] == [
        "group presses, format_options[1].time",
        "group presses, format_options[1].sequence",
        "group presses, format_options[1].epoch",
    ]


def test_the_property_that_has_sparkplugs_topic_is_looked_at() -> None:
    for name, count in (("topic", 0), ("iothub-topic", 1)):
        group = GroupSettings(name="presses", format="sparkplug", format_options={"topic_property": name})
        assert len(warned([group])) == count


@pytest.mark.parametrize(
    ("group", "settings"),
    [
        ({"mode": "observe"}, {}),
        ({"content_mode": "structured"}, {}),
        ({}, {"on_redis_loss": "continue"}),
        ({}, {"mode": "observe"}),
    ],
)
def test_a_group_whose_keys_need_no_such_thing_is_not_warned_of(group: dict[str, Any], settings: dict[str, Any]) -> None:
    assert warned([group_settings("system:user-id", **group)], settings_of(**settings)) == []
    assert warned([GroupSettings(name="g")]) == []


def test_a_format_that_an_input_names_is_looked_at_for_groups_that_name_none() -> None:
    options = {"source": ["/tag", "system:user-id"]}
    north = InputSettings(
        name="north", connection_string_env="N", consumer_group="dedup", format="json", format_options=options
    )
    south = InputSettings(name="south", connection_string_env="S", consumer_group="dedup")
    own = GroupSettings(name="ovens", format="cloudevents")
    found = warned([GroupSettings(name="presses"), own], inputs=[north, south])
    assert [(item.place, "claims of group presses" in item.effect) for item in found] == [
        ("input north, format_options.source", True)
    ]


def test_it_is_among_the_warnings_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "groups.yaml"
    file.write_text(
        "groups:\n- {name: presses, format: json, format_options: {source: ['/tag', 'system:user-id'], time: /at}}\n"
    )
    settings = settings_of(config_file=file, input_connection_string=CLEAN, input_consumer_group="dedup")
    settings = settings.model_copy(update={"output_consumer_group": "dedup"})
    assert [warning.name for warning in Config(settings).warnings] == ["not_rebuildable"]
