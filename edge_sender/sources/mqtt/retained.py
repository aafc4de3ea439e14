"""Which retained messages are readings. A broker delivers them again with every subscription."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Literal

Retained = Literal["skip", "once", "take"]
MOST_TOPICS = 100_000
"""Above it the topics that were quiet longest are forgotten, and their retained message is taken again."""


class RetainedFilter:
    """Remembers the last message of each topic since the start of this process."""

    def __init__(self, mode: Retained) -> None:
        self._mode = mode
        self._last: OrderedDict[str, bytes] = OrderedDict()

    def is_new(self, topic: str, payload: bytes, *, is_retained: bool) -> bool:
        """Whether it is a reading; asked once for each message, in the order in which they arrive."""
        if is_retained and self._mode == "skip":
            return False
        if self._mode != "once":
            return True
        digest = hashlib.blake2b(payload, digest_size=16).digest()
        is_known = is_retained and self._last.get(topic) == digest
        self._last[topic] = digest
        self._last.move_to_end(topic)
        if len(self._last) > MOST_TOPICS:
            self._last.popitem(last=False)
        return not is_known
