"""Calls to Redis, one server or a cluster: the Lua scripts, and Redis' errors as this service's own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Coroutine, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast

import hiredis
from azure.core.exceptions import AzureError
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer
from redis.credentials import CredentialProvider
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    MovedError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from dedup_service.adapters.redis.cluster import connect_cluster
from dedup_service.errors import Dependency, DependencyKind, UnavailableError

T = TypeVar("T")
RedisClient = Redis | RedisCluster

DEPENDENCY = Dependency(DependencyKind.REDIS)
CALL_OF_SCRIPT = "EVALSHA"
WRONG_SERVER = (ReadOnlyError, BusyLoadingError)
"""After a fail-over, the connection may lead to a server that is no longer, or not yet, the primary."""
REFUSALS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (AzureError, "Entra ID gave no token for it (DEDUP_REDIS_AUTH=entra): {text}"),
    ((AuthenticationError, AuthorizationError), "it refused the credentials ({name})"),
    (
        ssl.SSLCertVerificationError,
        "its certificate comes from no authority that is trusted here (DEDUP_CA_FILE), or is for another name",
    ),
)
"""Errors that no retry cures, because a setting is wrong."""
CONNECTION_LOST = (RedisConnectionError, RedisTimeoutError, OSError, asyncio.TimeoutError)


def connect(
    url: str,
    timeout_seconds: float,
    *,
    is_cluster: bool = False,
    ca_file: Path | None = None,
    credentials: CredentialProvider | None = None,
) -> RedisClient:
    """Makes a client without retries of its own, which would re-send a whole call after a lost reply, at any later time.

    Raises ValueError, whose message may hold the password.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
    }
    is_tls = url.startswith("rediss://")
    if credentials is not None:
        options["credential_provider"] = credentials
    if is_tls and ca_file is not None:
        options["ssl_ca_certs"] = str(ca_file)
    if not is_cluster:
        return _single(url, options)
    return connect_cluster(url, timeout_seconds, options)


def _single(url: str, options: dict[str, Any]) -> Redis:
    client = _from_url(url, options)
    pool = client.connection_pool
    pool.connection_class = PACKING.get(pool.connection_class, pool.connection_class)
    return client


def _from_url(url: str, options: dict[str, Any]) -> Redis:
    """redis-py's own `from_url` does not pass renewed credentials to live connections."""
    if "credential_provider" not in options:
        return Redis.from_url(url, **options)
    parsed: dict[str, Any] = {**parse_url(url)}
    is_tls = parsed.pop("connection_class", None) is SSLConnection
    return Redis(**parsed, ssl=is_tls, **options)


class _Packing:
    """Packs script calls in C: the asynchronous client packs arguments one by one in Python, and a claim call has a
    thousand."""

    _packer = HiredisRespSerializer()

    def pack_command(self, *args: Any) -> list[bytes]:
        if args[0] == CALL_OF_SCRIPT:
            return [hiredis.pack_command(args)]
        packed: list[bytes] = self._packer.pack(*args)
        return packed


class PackingConnection(_Packing, Connection):
    pass


class PackingSSLConnection(_Packing, SSLConnection):
    pass


PACKING: dict[type[AbstractConnection], type[AbstractConnection]] = {
    Connection: PackingConnection,
    SSLConnection: PackingSSLConnection,
}


class WrongTypeError(UnavailableError):
    """A key of ours holds something of another type."""


def is_of_another_type(answer: object) -> bool:
    return isinstance(answer, ResponseError) and "WRONGTYPE" in str(answer)


async def call(client: RedisClient, answer: Awaitable[T]) -> T:
    """Raises UnavailableError, which is ambiguous when the reply was lost."""
    try:
        return await _answer(client, answer)
    except WRONG_SERVER as error:
        await _reconnect(client)
        raise UnavailableError(DEPENDENCY, str(error)) from error
    except ResponseError as error:
        if is_of_another_type(error):
            raise WrongTypeError(DEPENDENCY, _one_line(error)) from error
        raise _unavailable(error) from error
    except (RedisError, RedisClusterException, AzureError, *CONNECTION_LOST) as error:
        raise _unavailable(error) from error
    except Exception as error:  # also a defect of the client, whose call may have been carried out
        raise UnavailableError(DEPENDENCY, f"{type(error).__name__}: {_one_line(error)}", ambiguous=True) from error


def _unavailable(error: BaseException) -> UnavailableError:
    """The cluster client wraps its nodes' errors, so causes are examined, too."""
    if isinstance(error, MovedError):
        return UnavailableError(DEPENDENCY, "it is clustered: set DEDUP_REDIS_CLUSTER=true", refused=True)
    causes = _causes(error)
    for kinds, problem in REFUSALS:
        if cause := next((item for item in causes if isinstance(item, kinds)), None):
            return UnavailableError(
                DEPENDENCY, problem.format(name=type(cause).__name__, text=_one_line(cause)), refused=True
            )
    if isinstance(error, CONNECTION_LOST):
        return UnavailableError(DEPENDENCY, f"no answer ({type(error).__name__})", ambiguous=True)
    if isinstance(error, RedisClusterException) and "not enabled" in str(error):
        return UnavailableError(DEPENDENCY, "it is not clustered: set DEDUP_REDIS_CLUSTER=false", refused=True)
    return UnavailableError(DEPENDENCY, _one_line(error))


async def _answer(client: RedisClient, answer: Awaitable[T]) -> T:
    """Discovers a cluster first: a call before that would go to any node, and be redirected."""
    try:
        if isinstance(client, RedisCluster):
            await client.initialize()
    except BaseException:
        if asyncio.iscoroutine(answer):
            answer.close()
        raise
    return await answer


async def all_of(calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Runs all calls concurrently. When one fails, the others have ended too, so that a repetition never overlaps with
    them."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for item in results:
        if isinstance(item, BaseException):
            raise item
    return cast("list[T]", results)


def _causes(error: BaseException | None) -> list[BaseException]:
    """The error and the chain of errors that it was raised from."""
    causes: list[BaseException] = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


async def _reconnect(client: RedisClient) -> None:
    if isinstance(client, RedisCluster):
        await client.aclose()  # it reopens by itself
    else:
        await client.connection_pool.disconnect()


async def infos(client: RedisClient, section: str) -> list[dict[str, Any]]:
    """INFO of every server that holds keys, since managed Redis forbids CONFIG. Raises UnavailableError."""
    if not isinstance(client, RedisCluster):
        return [await call(client, client.info(section))]
    await call(client, client.initialize())
    return [await call(client, client.info(section, target_nodes=node)) for node in client.get_primaries()]


async def time_ms(client: RedisClient, key: str) -> int:
    """The time, in ms since the epoch, on the server that holds `key`. Raises UnavailableError."""
    if isinstance(client, RedisCluster):
        await call(client, client.initialize())
        answer = client.time(target_nodes=client.get_node_from_key(key))
    else:
        answer = client.time()
    seconds, microseconds = await call(client, answer)
    return int(seconds) * 1000 + int(microseconds) // 1000


class Script:
    """One Lua script, joined from files behind safe_calls.lua; it registers itself again when Redis has forgotten it."""

    def __init__(self, client: RedisClient, *names: str, head: str = "") -> None:
        """`head`: Lua declarations that the files use."""
        self._client = client
        folder = files(__package__) / "scripts"
        parts = [head, *(folder.joinpath(name).read_text() for name in ("safe_calls.lua", *names))]
        self._script = client.register_script("\n".join(parts))

    async def __call__(self, keys: list[bytes], args: list[Any]) -> Any:
        """Raises UnavailableError."""
        return await call(self._client, self._script(keys=keys, args=args))
