"""Bodies that hold several readings, and can be made again with some of them: what is published when the others are
duplicates, or go to another partition."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dedup_service.core.events import Elements, InputEvent
from wire.cloudevents import BATCH_CONTENT_TYPE
from wire.formats.codings import Codings
from wire.formats.cutting import Layout, MakeLayout
from wire.formats.messages import Found, Refused


class Batch:
    """A CloudEvents batch."""

    content_type: str | None = BATCH_CONTENT_TYPE
    content_encoding: str | None = None

    __slots__ = ("_elements",)

    def __init__(self, elements: Elements) -> None:
        self._elements = elements

    def holding(self, indexes: Collection[int]) -> bytes:
        elements = self._elements
        return b"[" + b",".join([elements[index] for index in indexes]) + b"]"


class SendersBody:
    """A body in its sender's own format, and the readings in it. It is laid out at the first need, because most bodies are
    published whole or not at all."""

    __slots__ = ("_codings", "_fixed", "_layout", "_make_layout", "_places", "_text", "content_encoding", "content_type")

    def __init__(
        self,
        text: bytes,
        codings: Codings,
        parts: Sequence[Found | Refused],
        make_layout: MakeLayout,
        event: InputEvent,
    ) -> None:
        """`text`: the event's body without its codings. `parts`: its readings, also those that are refused, by index. Of
        them only the places are kept: their values take many times as much memory as the text."""
        self.content_type = event.content_type
        self.content_encoding = event.content_encoding
        self._text = text
        self._codings = codings
        self._places = [part.place for part in parts]
        self._fixed = [part.place[: at + 1] for part in parts for at in part.fixed]
        self._make_layout = make_layout
        self._layout: Layout | None = None

    def __getitem__(self, index: int, /) -> bytes:
        """The bytes of a reading."""
        return self._laid_out().part(index) if self._places[index] else self._text

    def holding(self, indexes: Collection[int]) -> bytes:
        return self._codings.applied(self._laid_out().holding(indexes))

    def _laid_out(self) -> Layout:
        if self._layout is None:
            self._layout = self._make_layout(self._text, self._places, self._fixed)
        return self._layout
