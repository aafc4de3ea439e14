"""What can be said of an event that gives no key: which format it seems to have, and how many such events there were.

They are counted by `SHAPE|GROUP`: a fixed set of names and the configured groups, so that no device can make up more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from dedup_service.core.accounting import Counts
from dedup_service.core.events import InputEvent
from dedup_service.errors import UndeliverableError
from wire.formats.messages import Message
from wire.formats.recognise import SHAPES, recognised

NO_KEY = "no-key"


def without_key(event: InputEvent) -> UndeliverableError:
    """The error of an event that is no CloudEvents, with a guess what it is."""
    message = Message(event.body, event.content_type, event.application_properties, annotations=event.annotations)
    shape = recognised(message)
    if shape is None:
        return UndeliverableError(NO_KEY, "no cloudEvents_id, and the content type is not a CloudEvents format")
    return UndeliverableError(NO_KEY, f"looks like {SHAPES[shape].title}: {SHAPES[shape].remedy}", shape)


def counter_of(shape: str, group: str) -> str:
    return f"{shape}|{group}"


def by_group(counts: Counts, groups: Iterable[str]) -> dict[str, Counter[str]]:
    """For each of these groups, events by the shape that they seem to have. Other counters are left out."""
    found: dict[str, Counter[str]] = {group: Counter() for group in groups}
    for name, number in counts.items():
        shape, _, group = name.partition("|")
        if shape in SHAPES and group in found and number > 0:
            found[group][shape] += number
    return found
