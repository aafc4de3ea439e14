"""Why a hub could not be reached, in words that name the setting. SDKs hide the cause in what their errors came from."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import socks  # PySocks, by which the device SDK reaches proxies


def reason(error: BaseException, otherwise: str | None = None) -> str:
    """What is shown of a proxy is its answer, never the address with the password. `otherwise`: where nothing is known of
    the cause (default: the error itself)."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError) and hasattr(cause, "verify_message"):
            return f"a certificate is not trusted ({cause.verify_message}); EDGE_CA_FILE names the authorities to trust"
        if isinstance(cause, socks.ProxyError):
            return _of_the_proxy(str(cause.msg).splitlines()[0])
        if type(cause).__module__.startswith("aiohttp.") and "Proxy" in type(cause).__name__:
            return _of_the_proxy(getattr(cause, "message", "") or "it can't be reached")
    return otherwise or repr(error)


def _of_the_proxy(answer: str) -> str:
    return f"the proxy of EDGE_HTTP_PROXY did not open the way: {answer}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        seen.append(cause)
        yield cause
        cause = cause.__cause__ or cause.__context__
