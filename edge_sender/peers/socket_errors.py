"""Which datagrams did not arrive: what other machines say of it, as Linux passes it on.

A process that was killed is noticed by this before its heartbeats are missed, if its machine lives. Elsewhere, and where a
firewall swallows these answers, nothing is told.

Source: ip(7), IP_RECVERR; recvmsg(2), MSG_ERRQUEUE
"""

from __future__ import annotations

import contextlib
import socket
import sys

LEVELS = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
"""IP_RECVERR and IPV6_RECVERR, which Python does not name."""
MOST = 100
NOTE_BYTES = 512


def tell_errors(of: socket.socket) -> None:
    """Make the socket's reads fail with what was said of its datagrams."""
    if sys.platform == "linux" and of.family in LEVELS:
        with contextlib.suppress(OSError):
            of.setsockopt(*LEVELS[of.family], 1)


def refused(descriptor: int) -> list[tuple[str, int]]:
    """The addresses of datagrams that did not arrive. Takes them from the socket."""
    found: list[tuple[str, int]] = []
    if sys.platform != "linux":
        return found
    with socket.socket(fileno=descriptor) as borrowed:
        try:
            for _ in range(MOST):
                address = borrowed.recvmsg(0, NOTE_BYTES, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)[3]
                found.append(address[:2])
        except OSError:  # no more of them
            pass
        finally:
            borrowed.detach()
    return found
