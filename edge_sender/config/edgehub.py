"""A source of kind `edgehub` in the sources' document: what other modules of the same gateway send."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from edge_sender.config.common import CommonConfig
from wire.uris import as_uri, is_uri_reference

ANY_SOURCE = "a"


class EdgeHubConfig(CommonConfig):
    kind: Literal["edgehub"]
    identity: str = ""
    input: str = Field(
        pattern=r"^[A-Za-z0-9._\-]{1,64}$",
        description="The input of this module into which a route of edgeHub leads the messages; for one source only.",
    )
    format: str = Field(
        description="How the modules write readings: a format of [formats.md](formats.md), such as `opc-publisher`."
    )
    format_options: dict[str, Any] = Field({}, description="Options of the format, as in the service's groups.")
    uri_prefix: str = Field(
        "", description="The source's URI is this prefix followed by the source that the format names, percent-encoded."
    )
    data: Literal["as-sent", "value"] = Field(
        "as-sent",
        description="A reading's data: its part of the message as the module sent it, or only what copies must agree on, "
        "the value and its status. Formats that are not JSON have the latter always.",
    )

    @model_validator(mode="before")
    @classmethod
    def _usual_identity(cls, given: Any) -> Any:
        """Without an identity it is the one that the service's groups of this format have."""
        from wire.formats.registry import DEFAULT_STRATEGIES

        if isinstance(given, dict) and "identity" not in given and isinstance(given.get("format"), str):
            return {**given, "identity": DEFAULT_STRATEGIES.get(given["format"], "content")}
        return given

    @field_validator("format")
    @classmethod
    def _is_known(cls, value: str) -> str:
        from wire.formats.registry import NAMES

        if value not in NAMES:
            raise ValueError(f"{value!r} is not one of {', '.join(NAMES)}")
        return value

    @field_validator("uri_prefix")
    @classmethod
    def _uri_prefix(cls, value: str) -> str:
        if "#" in value or not is_uri_reference(value + ANY_SOURCE):
            raise ValueError(f"{value!r} is not the beginning of a URI; perhaps {as_uri(value)!r}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> EdgeHubConfig:
        from wire.formats.registry import make_format

        try:
            make_format(self.format, self.options)
        except ValueError as error:
            raise ValueError(f"format_options: {error}") from None
        return self

    @property
    def options(self) -> bytes:
        return json.dumps(self.format_options).encode()
