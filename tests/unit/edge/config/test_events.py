"""Which events an OPC UA source may name, and which entries would read the same ones."""

from __future__ import annotations

from typing import Any

import pytest

from edge_sender.config.events import field_path
from edge_sender.config.sources import check_sources
from edge_sender.ports import SourceConfigError
from tests.unit.edge.config.test_opcua import A, entry, one

ALARMS = "nsu=http://opcfoundation.org/UA/;i=2915"


def events_only(name: str, **given: Any) -> dict[str, Any]:
    document = entry(name, events={}, **given)
    return {field: value for field, value in document.items() if field != "namespace_uri"}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("Severity", ((None, "Severity"),)),
        ("ActiveState/Id", ((None, "ActiveState"), (None, "Id"))),
        ("nsu=http://plant/a;Force/nsu=urn:b;N&/m", (("http://plant/a", "Force"), ("urn:b", "N/m"))),
        ("&nsu=urn:b;x", ((None, "nsu=urn:b;x"),)),
        ("a&&b", ((None, "a&b"),)),
    ],
)
def test_the_browse_path_of_a_field(text: str, path: Any) -> None:
    assert field_path(text) == path


@pytest.mark.parametrize("text", ["", "/", "a/", "/a", "a//b", "nsu=urn:b;", "a&"])
def test_what_is_no_field_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no field"):
        field_path(text)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ({"types": ["AlarmConditionType"]}, "name each type"),
        ({"types": ["nsu=urn:factory;s=*"]}, "name each type"),
        ({"fields": ["Message", "Message"]}, "same field twice"),
        ({"fields": ["Message", "EventId"]}, "EventId can't be sent"),
        ({"fields": []}, "at least 1"),
        ({"min_severity": 0}, "greater than or equal to 1"),
        ({"min_severity": 1001}, "less than or equal to 1000"),
        ({"notifiers": [{}]}, "at least one of"),
    ],
)
def test_wrong_events_are_refused(events: Any, message: str) -> None:
    with pytest.raises(SourceConfigError, match=message):
        one(events=events)


def test_a_source_reads_variables_or_events_or_both() -> None:
    assert check_sources({"sources": [events_only("plc")]})
    assert one(events={"types": [ALARMS]}).has_variables
    with pytest.raises(SourceConfigError, match="or events, by events"):
        check_sources({"sources": [{"name": "plc", "kind": "opcua", "endpoint": A}]})
    with pytest.raises(SourceConfigError, match="events need a subscription"):
        one(events={}, sampling="aligned", interval_seconds=1)


def test_the_identity_of_variables_is_not_that_of_events() -> None:
    rules = one(identity="*=source-time", events={}).rules
    assert rules.of("urn:plc#nsu=urn:m;s=press;events").name == "source-time+value"
    assert rules.of("urn:plc#nsu=urn:m;s=press").name == "source-time"


def test_entries_that_would_read_the_same_events_are_refused() -> None:
    check_sources({"sources": [entry("variables"), events_only("events")]})
    with pytest.raises(SourceConfigError, match="one and two have the endpoint .* and the same events"):
        check_sources({"sources": [events_only("one"), events_only("two")]})
    with pytest.raises(SourceConfigError, match="variables in common"):
        check_sources({"sources": [entry("one", events={}), entry("two")]})
