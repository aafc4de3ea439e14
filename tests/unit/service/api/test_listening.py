"""Where the REST API listens: on any kind of address, and what is wrong with it is named."""

from __future__ import annotations

import socket

import pytest

from dedup_service.api.listening import listen
from dedup_service.errors import ConfigurationError


def reaches(server: socket.socket, host: str) -> bool:
    try:
        socket.create_connection((host, server.getsockname()[1]), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [
        ("127.0.0.1", {"127.0.0.1"}),
        ("0.0.0.0", {"127.0.0.1"}),
        ("", {"127.0.0.1"}),
        ("::1", {"::1"}),
        ("::", {"127.0.0.1", "::1"}),
    ],
)
async def test_it_listens_there(host: str, reached_at: set[str]) -> None:
    with await listen(host, 0) as server:
        assert {at for at in ("127.0.0.1", "::1") if reaches(server, at)} >= reached_at


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no-such-host.invalid", "bad..name", "::1:8000"])
async def test_an_address_that_is_not_this_machines_is_named(host: str) -> None:
    with pytest.raises(ConfigurationError, match="^DEDUP_HTTP_HOST: can't listen there"):
        await listen(host, 0)


async def test_a_port_that_is_taken_is_named() -> None:
    server = await listen("127.0.0.1", 0)
    with server, pytest.raises(ConfigurationError, match="^DEDUP_HTTP_PORT: can't listen there"):
        await listen("127.0.0.1", server.getsockname()[1])
