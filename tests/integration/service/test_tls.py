"""The REST API over TLS, with a certificate that is renewed while the service runs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from structlog.testing import capture_logs

from dedup_service.api import tls
from dedup_service.commands.check import CheckFailedError, checker
from dedup_service.errors import ConfigurationError
from sandbox.hub.stand_in import StandIn
from tests.support.service import DEADLINE_SECONDS, running_service


class Issued:
    """Certificates of one authority, as a Secret has them."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.intermediate = authority.create_child_ca()
        self.certificate, self.private_key, self.ca = (folder / name for name in ("tls.crt", "tls.key", "ca.crt"))
        authority.cert_pem.write_to_path(str(self.ca))
        certificate, private_key = self.issue()
        self.certificate.write_bytes(certificate)
        self.private_key.write_bytes(private_key)

    def issue(self) -> tuple[bytes, bytes]:
        """With its chain, in which there is an intermediate authority."""
        issued = self.intermediate.issue_cert("localhost")
        return b"".join(pem.bytes() for pem in issued.cert_chain_pems), issued.private_key_pem.bytes()


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    return Issued(tmp_path)


@pytest.fixture
async def url(
    issued: Issued, stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.1)
    files = {"http_certificate": issued.certificate, "http_private_key": issued.private_key}
    async with running_service(stand_in, redis_url, tmp_path, namespace, **files) as service:
        await service.until(lambda: service.http_port != 0)
        yield f"https://localhost:{service.http_port}"


async def served(url: str, ca: Path) -> bytes:
    """The certificate that a client is shown which trusts the authority and the name."""
    context = ssl.create_default_context(cafile=ca)
    _, writer = await asyncio.open_connection("localhost", int(url.rpartition(":")[2]), ssl=context)
    shown: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return shown


async def test_a_renewed_certificate_is_served_once_its_key_is_there(url: str, issued: Issued) -> None:
    first = await served(url, issued.ca)
    certificate, private_key = issued.issue()
    with capture_logs() as logs:
        issued.certificate.write_bytes(certificate)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not any(line["event"] == "certificate_unusable" for line in logs):
                await asyncio.sleep(0.02)
    assert await served(url, issued.ca) == first
    issued.private_key.write_bytes(private_key)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await served(url, issued.ca) == first:
            await asyncio.sleep(0.05)


async def test_check_trusts_the_services_own_certificate_by_whatever_name(url: str, issued: Issued) -> None:
    async with checker(url.replace("localhost", "127.0.0.1"), None, issued.certificate, None) as looking:
        assert await looking.health() == "healthy"


async def test_check_does_not_trust_what_else_was_issued_by_the_same_authority(
    url: str, issued: Issued, tmp_path: Path
) -> None:
    (other := tmp_path / "other.crt").write_bytes(issued.issue()[0])
    async with checker(url, None, other, None) as looking:
        with pytest.raises(CheckFailedError, match="no answer"):
            await looking.health()


@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----", b"\0\xff" * 100])
async def test_check_names_a_file_that_holds_no_certificate(tmp_path: Path, content: bytes) -> None:
    (file := tmp_path / "tls.crt").write_bytes(content)
    with pytest.raises(CheckFailedError, match="tls.crt can't be read as PEM certificates"):
        async with checker("https://localhost", None, file, None):
            pass


async def test_check_trusts_what_the_authority_vouches_for_and_nothing_else(url: str, issued: Issued) -> None:
    async with checker(url, None, None, issued.ca) as looking:
        assert await looking.health() == "healthy"
    async with checker(url, None, None, None) as looking:
        with pytest.raises(CheckFailedError, match="no answer"):
            await looking.health()


def test_files_that_are_no_pair_are_refused_by_name_without_their_content(issued: Issued, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    key = Issued(other).private_key
    for private_key in (key, tmp_path / "none"):
        with pytest.raises(ConfigurationError, match="DEDUP_HTTP_CERTIFICATE: .*can't be used") as told:
            tls.ServedCertificate(issued.certificate, private_key)
        assert "PRIVATE KEY" not in str(told.value)
