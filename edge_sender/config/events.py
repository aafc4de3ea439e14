"""Which events of an OPC UA server are read, and what of each: the settings, and the parsing of fields."""

from __future__ import annotations

import re
from functools import cache

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edge_sender.config.nodes import NODE_ID, NodeRule

SUFFIX = ";events"
"""Ends the source URIs of events. Those of variables never end so: identifiers are percent-encoded."""
IDENTITY = "source-time+value"
USUAL_FIELDS = ("SourceNode", "SourceName", "EventType", "Time", "Severity", "Message")
CONDITION_ID = "ConditionId"
"""No field of the type, but the condition's own node id. (OPC 10000-9, 5.5.2.13)"""
MOST_SEVERE = 1000
NAME = re.compile(r"(?:nsu=(?P<uri>[^;]+);)?(?P<name>(?!nsu=)(?:&.|[^/&])+)(?P<end>/|$)", re.DOTALL)
Step = tuple[str | None, str]
"""URI of the namespace of a browse name, None for the standard's own, and the name."""


@cache
def field_path(text: str) -> tuple[Step, ...]:
    """The browse path of a field, such as `ActiveState/Id` or `nsu=urn:factory;Force`. Raises ValueError."""
    steps: list[Step] = []
    at, end = 0, "/"
    while end:
        match = NAME.match(text, at)
        if match is None:
            raise ValueError(
                f"{text!r} is no field: write names with / between them, such as ActiveState/Id, and nsu=URI;Name for those "
                "of other namespaces than the standard's; &/ and && are these characters themselves"
            )
        steps.append((match["uri"], re.sub(r"&(.)", r"\1", match["name"], flags=re.DOTALL)))
        at, end = match.end(), match["end"]
    return tuple(steps)


class Events(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)

    notifiers: tuple[NodeRule, ...] = Field(
        (),
        description="Rules, as those of `nodes`, of objects whose events are read; without any, the Server object, which "
        "has all events of the server.",
    )
    types: tuple[str, ...] = Field(
        (),
        description="Only events of these types and their subtypes: node ids, as `nsu=URI;i=identifier` (or `s=`, `g=`, "
        "`b=`).",
    )
    min_severity: int | None = Field(None, ge=1, le=MOST_SEVERE, description="Only events that are at least so severe.")
    fields: tuple[str, ...] = Field(
        USUAL_FIELDS,
        min_length=1,
        description="What is sent of an event, and with its Time identifies it: browse paths such as `ActiveState/Id`, "
        "names of other namespaces than the standard's as `nsu=URI;Name`, and `ConditionId`. What an event lacks is null.",
    )

    @field_validator("types")
    @classmethod
    def _types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if NODE_ID.fullmatch(text) is None or "*" in text:
                raise ValueError("name each type, for example nsu=http://opcfoundation.org/UA/;i=2915 (AlarmConditionType)")
        return value

    @field_validator("fields")
    @classmethod
    def _fields(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        paths = [field_path(text) for text in value]
        if len(set(paths)) < len(paths):
            raise ValueError("names the same field twice")
        if ((None, "EventId"),) in paths:
            raise ValueError(
                "EventId can't be sent: every server makes its own, so that copies of one event would have different ids"
            )
        return value
