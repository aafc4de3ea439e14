"""Which variables of an OPC UA server are read, and how each is subscribed to: the settings, and the parsing of patterns."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

UINT32_MAX = 2**32 - 1
LONGEST_SECONDS = 366 * 86_400.0
Payload = Literal["value", "json"]
TimeChoice = Literal["source", "server", "source-or-server"]
Trigger = Literal["status", "status-value", "status-value-timestamp"]
NODE_ID = re.compile(r"nsu=[^;]+;[isgb]=.+", re.DOTALL)
DEADBAND = re.compile(r"(\d+(?:\.\d+)?)(%?)")
DEEP = None
"""Stands for `**` among the levels of a path: any number of levels, also none."""
Level = re.Pattern[str] | None

NODE_TEXT = "as `nsu=URI;s=identifier` (or `i=`, `g=`, `b=`); `*` is any text"


@cache
def wildcard(pattern: str) -> re.Pattern[str]:
    """`*` stands for any text."""
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


@cache
def path_levels(path: str) -> tuple[Level, ...]:
    """The levels of a browse path: `*` is any text of a level, a level `**` any number of levels. `&` in front of `/`, `*`
    or `&` takes away its meaning (as in OPC 10000-4, A.2). Raises ValueError."""
    if not path.startswith("/") or len(path) == 1:
        raise ValueError("a path begins with / and names at least one level, for example /Line 1/*/Temperature")
    levels: list[Level] = []
    text, expression = "", ""
    for part in [*re.findall(r"&.|[^&]|&$", path[1:], re.DOTALL), "/"]:
        if part != "/":
            text += part
            expression += ".*" if part == "*" else re.escape(part[-1])
            continue
        if not text:
            raise ValueError("a path has no empty levels; write &/ for a / within a name")
        levels.append(DEEP if text == "**" else re.compile(expression, re.DOTALL))
        text, expression = "", ""
    return tuple(levels)


def deadband(value: float | str) -> tuple[float, bool]:
    """(amount, whether it is in percent of the range). Raises ValueError."""
    match = DEADBAND.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(
            "a deadband is an amount in the variable's own unit such as 0.5, or a share of its range such as 2%"
        )
    amount, is_percent = float(match[1]), bool(match[2])
    if is_percent and amount > 100:
        raise ValueError("a deadband is at most 100%")
    return amount, is_percent


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True, allow_inf_nan=False)


class NodeRule(_Strict):
    """Matches the variables for which all that is given is true."""

    node: str | None = Field(None, description=f"The variable's node id, {NODE_TEXT}.")
    path: str | None = Field(
        None,
        description="Its browse path below Objects, such as `/Line 1/*/Temperature`: `*` is any text of a level, `**` any "
        "number of levels. `&/`, `&*` and `&&` are these characters themselves.",
    )
    folder: str | None = Field(None, description=f"Node id of something that it is below, {NODE_TEXT}.")
    type: str | None = Field(
        None, description=f"Node id of its type definition, or of that of something that it is below, {NODE_TEXT}."
    )
    namespace: str | None = Field(None, description="URI of its namespace; `*` is any text.")

    @field_validator("node", "folder", "type")
    @classmethod
    def _node_id(cls, value: str | None) -> str | None:
        if value is not None and NODE_ID.fullmatch(value) is None:
            raise ValueError("write the namespace's URI, whose index may change: for example nsu=urn:factory;s=press-*")
        return value

    @field_validator("path")
    @classmethod
    def _path(cls, value: str | None) -> str | None:
        if value is not None:
            path_levels(value)
        return value

    @model_validator(mode="after")
    def _says_something(self) -> NodeRule:
        if all(value is None for value in (self.node, self.path, self.folder, self.type, self.namespace)):
            raise ValueError("a rule has at least one of node, path, folder, type and namespace")
        return self


class NodeOverride(NodeRule):
    """A rule, and what is different for its variables."""

    sampling_ms: float | None = Field(None, ge=0, le=LONGEST_SECONDS * 1000, description="See `sampling_ms`.")
    publishing_ms: float | None = Field(None, ge=1, le=LONGEST_SECONDS * 1000, description="See `publishing_ms`.")
    queue_size: int | None = Field(None, ge=1, le=UINT32_MAX, description="See `queue_size`.")
    trigger: Trigger | None = Field(None, description="See `trigger`.")
    deadband: float | str | None = Field(None, description="See `deadband`; 0 is none.")
    heartbeat_seconds: float | None = Field(None, ge=0, le=LONGEST_SECONDS, description="See `heartbeat_seconds`.")

    @field_validator("deadband")
    @classmethod
    def _deadband(cls, value: float | str | None) -> float | str | None:
        if value is not None:
            deadband(value)
        return value


class Nodes(_Strict):
    include: tuple[NodeRule, ...] = Field((), description="Rules; without any, all variables are included.")
    exclude: tuple[NodeRule, ...] = Field((), description="Rules of variables that are left out nevertheless.")
    overrides: tuple[NodeOverride, ...] = Field(
        (), description="Rules with other settings for their variables; the first that matches decides."
    )
