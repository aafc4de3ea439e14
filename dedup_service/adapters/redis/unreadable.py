"""What stands in Redis under keys of ours may have been written by anybody. What can't be read counts as forgotten, and is
reported by its key."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import msgspec

from dedup_service.adapters.redis.calls import RedisClient, WrongTypeError, call, is_of_another_type

T = TypeVar("T")
Report = Callable[[str], None]
"""Takes the key, as text."""

logger = logging.getLogger(__name__)


def log_unreadable(key: str) -> None:
    logger.warning("%s in Redis is unreadable, and counts as forgotten", key)


def report_all(report: Report, keys: Iterable[bytes]) -> None:
    """Keys that a script found unreadable."""
    for key in keys:
        report(text(key))


def text(key: bytes | str) -> str:
    return key.decode(errors="backslashreplace") if isinstance(key, bytes) else key


def number_of(report: Report, key: bytes | str, value: bytes | None) -> int:
    """A counter; 0 when there is none."""
    return readable(int, report, key, value, 0)


def readable(decode: Callable[[bytes], T], report: Report, key: bytes | str, data: bytes | None, default: T) -> T:
    """What `decode` makes of the data; the default when there is none, or when it can't be read (ValueError)."""
    if data is None:
        return default
    try:
        return decode(data)
    except (ValueError, TypeError, msgspec.MsgspecError):
        report(text(key))
        return default


async def read(client: RedisClient, report: Report, key: bytes | str, answer: Awaitable[Any], default: T) -> T | Any:
    """The answer of a command on `key`; the default when the key is of another type. Raises UnavailableError."""
    try:
        return await call(client, answer)
    except WrongTypeError:
        report(text(key))
        return default


async def read_each(client: RedisClient, report: Report, keys: Iterable[str], pipeline: Any, default: T) -> list[T | Any]:
    """The same for a pipeline of one command for each key."""
    answers = await call(client, pipeline.execute(raise_on_error=False))
    found = []
    for key, answer in zip(keys, answers, strict=True):
        if is_of_another_type(answer):
            report(key)
        elif isinstance(answer, Exception):
            await call(client, _failing(answer))
        found.append(default if isinstance(answer, Exception) else answer)
    return found


async def _failing(error: Exception) -> None:
    """Raises an error of a pipeline's single command where `call` classes it like one of the whole."""
    raise error
