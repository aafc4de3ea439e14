"""URLs and hosts, checked without ever showing a password: urllib's own messages may quote it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

PERCENT_ENCODE = "characters of the password such as # / ? @ must be percent-encoded"


def split_url(text: str) -> SplitResult:
    """Raises ValueError with a message that holds nothing of the URL."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # which is parsed, and refused, only when it is asked for
    except ValueError:
        raise ValueError(f"is not a URL; {PERCENT_ENCODE}") from None
    return parts


def check_redis_url(text: str) -> None:
    """Refuses a URL in which a character of the password ended the host, or the whole address: the client would silently
    connect to this machine, or to another one. Raises ValueError, without the password."""
    parts = split_url(text)
    if parts.scheme == "unix":
        return
    if parts.scheme not in ("redis", "rediss"):
        raise ValueError("is not redis://HOST:PORT/0 or rediss://HOST:PORT/0")
    if not parts.hostname:
        raise ValueError(f"names no host; {PERCENT_ENCODE}")
    if parts.fragment or "@" in parts.query or not re.fullmatch(r"/?\d*", parts.path):
        raise ValueError(f"has something else than a database's number behind the host; {PERCENT_ENCODE}")


SQLITE_SCHEME = "sqlite:///"
SLASHES = "an absolute path has four slashes (sqlite:////var/lib/dedup/x.db), a relative one three (sqlite:///x.db)"


def check_sqlite_url(text: str) -> None:
    """Refuses what is no path, or begins a relative one where an absolute one was probably meant: then its folder does not
    exist below the working directory. Raises ValueError."""
    path = text.removeprefix(SQLITE_SCHEME)
    if path == text or not path or path.endswith("/"):
        raise ValueError(f"names no file: {SLASHES}")
    folder = Path(path).parent
    if not folder.is_dir():
        where = "" if path.startswith("/") else f" below {Path.cwd()}, to which this path is relative"
        raise ValueError(f"its folder {folder} does not exist{where}: {SLASHES}")


def check_host_and_port(text: str) -> str:
    """Raises ValueError unless it is HOST or HOST:PORT, which may follow a scheme."""
    host = text.rpartition("//")[2]
    try:
        if split_url(f"//{host}").netloc == host and split_url(f"//{host}").hostname:
            return text
    except ValueError:
        pass
    raise ValueError("is not HOST or HOST:PORT (an IPv6 address stands in brackets)")


HostAndPort = Annotated[str, AfterValidator(check_host_and_port)]


def url_host(host: str) -> str:
    """The host as it stands in a URL: an IPv6 address needs brackets, or its last part would be the port."""
    return f"[{host}]" if ":" in host else host
