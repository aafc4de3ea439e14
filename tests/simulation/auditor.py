"""The auditor compares what the plant emitted with what the clean stream holds. It shares no code with the service."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Verdict:
    lost: list[str]
    doubled: list[str]


def audit(emitted: Iterable[str], clean: Iterable[Any]) -> Verdict:
    """The readings that the clean stream lacks or holds more than once. `clean`: objects with `body` and `properties`.

    Readings are recognised by what the plant wrote into the payload. Marked duplicates do not count.
    """
    seen: Counter[str] = Counter()
    for event in clean:
        if event.properties.get("dedup_duplicate"):
            continue
        content = json.loads(event.body)
        for item in content if isinstance(content, list) else [content]:
            data = item.get("data", item)
            seen[data["reading"]] += 1
    return Verdict(
        lost=sorted(reading for reading in emitted if not seen[reading]),
        doubled=sorted(reading for reading, count in seen.items() if count > 1),
    )
