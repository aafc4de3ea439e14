"""Names that no level of the groups' file has, with the nearest right one: nearly always a slip of the pen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel

from dedup_service.config.senders import SenderSettings
from wire.formats.registry import NAMES, option_names

Location = tuple[int | str, ...]


def unknown_fields(content: Any, model: type[BaseModel], at: Location = ()) -> Iterator[tuple[Location, str]]:
    """(where, what is said) for a part of the file that should be this model, and for what is in it."""
    if not isinstance(content, Mapping):
        return
    yield from _unknown(content, model.model_fields, at)
    if issubclass(model, SenderSettings):
        yield from unknown_options(content.get("format"), content.get("format_options"), (*at, "format_options"))
    for name, field in model.model_fields.items():
        for inner in get_args(field.annotation):
            items = content.get(name)
            if isinstance(inner, type) and issubclass(inner, BaseModel) and isinstance(items, list):
                for index, item in enumerate(items):
                    yield from unknown_fields(item, inner, (*at, name, index))


def unknown_options(format_name: Any, options: Any, at: Location = ()) -> Iterator[tuple[Location, str]]:
    if format_name not in NAMES:
        return
    shapes = [((*at, index), shape) for index, shape in enumerate(options)] if isinstance(options, list) else [(at, options)]
    for place, shape in shapes:
        if isinstance(shape, Mapping):
            yield from _unknown(shape, option_names(format_name), place)


def field_name(at: Location) -> str:
    """As people find it, such as `groups[0].mode`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in at).lstrip(".")


def _unknown(names: Mapping[Any, Any], known: Collection[str], at: Location) -> Iterator[tuple[Location, str]]:
    for name in names:
        if name not in known:
            near = get_close_matches(str(name).lower(), known, 1)
            help_text = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known) or 'none'}"
            yield (*at, str(name)), f"is unknown here; {help_text}"
