"""Numbers that Python and the Lua scripts share. They are written once, in Python, and become the first lines of the
scripts."""

from __future__ import annotations

from collections.abc import Mapping

from dedup_service.adapters.redis.claim_records import (
    ACCOUNTED_HEAD_BYTES,
    COUNTED,
    HEAD_BYTES,
    LATE,
    RECORD_BYTES,
    TIMED,
)
from dedup_service.core.accounting import BUCKET_RATIO, HOUR_MS, KEEP_HOURS, KEEP_MINUTES, MINUTE_MS, SOURCE_SECONDS
from dedup_service.core.claims import (
    CLAIM_BYTES,
    CONFIRMED,
    CONTENT_AT,
    ENQUEUED_AT,
    INDEX_AT,
    MAX_REPLICAS,
    ORIGIN_AT,
    REPLICAS_AT,
    RESTORED,
    TERM_UNIT,
    TERMS,
    UNCONFIRMED,
)

CLAIM_CONSTANTS = {
    "CLAIM_BYTES": CLAIM_BYTES,
    "UNCONFIRMED": UNCONFIRMED,
    "CONFIRMED": CONFIRMED,
    "RESTORED": RESTORED,
    "TERM_UNIT": TERM_UNIT,
    "TERMS": TERMS,
    "REPLICAS_FIRST": REPLICAS_AT.start + 1,  # Lua counts bytes from 1, and includes the last one
    "ORIGIN_FIRST": ORIGIN_AT.start + 1,
    "ORIGIN_LAST": ORIGIN_AT.stop,
    "INDEX_FIRST": INDEX_AT.start + 1,
    "ENQUEUED_FIRST": ENQUEUED_AT.start + 1,
    "CONTENT_FIRST": CONTENT_AT.start + 1,
}
ACCOUNTING_CONSTANTS = {
    "HEAD_BYTES": HEAD_BYTES,
    "ACCOUNTED_HEAD_BYTES": ACCOUNTED_HEAD_BYTES,
    "RECORD_BYTES": RECORD_BYTES,
    "LATE": LATE,
    "COUNTED": COUNTED,
    "TIMED": TIMED,
    "MAX_REPLICAS": MAX_REPLICAS,
    "BUCKET_RATIO": BUCKET_RATIO,
    "MINUTE_MS": MINUTE_MS,
    "HOUR_MS": HOUR_MS,
    "KEEP_MINUTES": KEEP_MINUTES,
    "KEEP_HOURS": KEEP_HOURS,
    "SOURCE_SECONDS": SOURCE_SECONDS,
}


def lua(constants: Mapping[str, float]) -> str:
    """Declarations for the head of a script."""
    return "\n".join(f"local {name} = {value}" for name, value in constants.items())
