"""Opens the socket of the REST API."""

from __future__ import annotations

import asyncio
import errno
import socket

from dedup_service.config.settings import PREFIX, example
from dedup_service.errors import ConfigurationError

NOT_OF_THIS_MACHINE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


async def listen(host: str, port: int) -> socket.socket:
    """`host`: a name, or an IPv4 or IPv6 address; `::` stands for all addresses of both kinds, an empty one for all.

    Raises ConfigurationError.
    """
    setting = "http_host"
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        setting = "http_port"
        is_ipv6 = family == socket.AF_INET6
        return socket.create_server(address, family=family, dualstack_ipv6=is_ipv6 and socket.has_dualstack_ipv6())
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that can't be a host's
        if isinstance(error, OSError) and error.errno in NOT_OF_THIS_MACHINE:
            setting = "http_host"
        raise ConfigurationError(PREFIX + setting.upper(), f"can't listen there ({error})", example(setting)) from None
