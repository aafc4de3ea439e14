"""TLS of the REST API. The certificate may be renewed while the service runs."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from dedup_service.config.settings import PREFIX, example
from dedup_service.errors import ConfigurationError
from dedup_service.telemetry import log

PEM_END = "-----END CERTIFICATE-----"
LOOK_SECONDS = 30.0
"""How often the files are looked at."""


class ServedCertificate:
    """`context` serves the certificate as it is in the files. Raises ConfigurationError when they can't be used."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        self._certificate, self._private_key = certificate, private_key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._content = self._read()
        try:
            self._load(self.context)
        except (OSError, ValueError) as error:
            problem = f"{certificate} and {private_key} can't be used ({_why(error)})"
            raise ConfigurationError(f"{PREFIX}HTTP_CERTIFICATE", problem, example("http_certificate")) from None

    async def watch(self) -> None:
        """Takes a renewed certificate for new connections. Runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.renew()

    def renew(self) -> None:
        """What can't be used, such as a certificate whose key is still on its way, is told once, and the former one
        stays."""
        content = self._read()
        if content == self._content or content is None:
            return
        self._content = content
        try:
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))  # a wrong pair would spoil the context that serves
            self._load(self.context)
        except (OSError, ValueError) as error:
            log.warning(
                "certificate_unusable",
                file=str(self._certificate),
                problem=_why(error),
                effect="the former one stays in use",
            )
        else:
            log.info("certificate_renewed", file=str(self._certificate))

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._certificate, self._private_key, password="")  # or OpenSSL would ask the terminal

    def _read(self) -> tuple[bytes, bytes] | None:
        try:
            return self._certificate.read_bytes(), self._private_key.read_bytes()
        except OSError:
            return None


def trusting(certificate: Path) -> ssl.SSLContext:
    """For a client that knows the server's certificate, whatever name it is reached by. Of a chain this is the first one,
    since whoever issued it has issued others, too. Raises OSError, and ValueError for a file without one."""
    first, end, _ = certificate.read_text(errors="replace").partition(PEM_END)
    if not end:
        raise ValueError("it holds no certificate")
    context = ssl.create_default_context(cadata=first + end)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
