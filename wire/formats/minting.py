"""The key of a copy under a strategy, or why it has none."""

from __future__ import annotations

import msgspec

from wire.formats.messages import Found
from wire.formats.never import why_never
from wire.ids import Content, Identity, NoIdentityError, parse_strategy, reading_id

WITHOUT_TIME, NO_IDENTITY = "without-time", "no-identity"
_CONTENT = Content()


class Minted(msgspec.Struct, frozen=True, gc=False):
    id: str
    strategy: str


class Unminted(msgspec.Struct, frozen=True, gc=False):
    reason: str
    """`without-time` or `no-identity`."""
    detail: str


def mint(found: Found, strategy: Identity) -> Minted | Unminted:
    """The reading's id. An event has the strategy `content`, because it carries its own identity."""
    chosen = _CONTENT if found.is_event else strategy
    name = chosen.name
    if found.data is None and chosen.name == _CONTENT.name:
        return Unminted(NO_IDENTITY, f"{found.source}: nothing of its content is there")
    try:
        return Minted(reading_id(found.source, name, chosen.fields(found)), name)
    except NoIdentityError as error:
        needs_time = name.startswith(("source-time", "time-bucket"))
        reason = WITHOUT_TIME if needs_time and found.time_ns is None else NO_IDENTITY
        return Unminted(reason, str(error))
    except UnicodeEncodeError as error:
        return Unminted(NO_IDENTITY, f"the source is not text: {error}")


def chosen_strategy(text: str) -> Identity:
    """Raises ValueError, which names what can't be an identity and why."""
    try:
        return parse_strategy(text)
    except ValueError:
        if reason := why_never(text, is_property=True):
            raise ValueError(f"{reason}, so the copies of a reading would never match") from None
        raise
