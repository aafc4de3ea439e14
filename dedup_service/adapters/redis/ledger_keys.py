"""Names of the ledger's keys in Redis; the accounting scripts build the same ones.

All of them carry the shard of the claims that they account for, since a script's keys must share a slot.
"""

from __future__ import annotations

import hashlib

from dedup_service.core.memo import SOURCES, memoized


def source_digest(group: str, source: str) -> str:
    """32 hex characters in place of a source, which may be long and hostile."""
    return _digest(source, group)


@memoized(SOURCES)
def _digest(source: str, group: str) -> str:
    prefixed = f"{len(group)}:{group}{source}"
    return hashlib.blake2b(prefixed.encode(), digest_size=16).hexdigest()
