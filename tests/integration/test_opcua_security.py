"""The OPC UA source behind a server that wants certificates and a user."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asyncua import Server, ua
from asyncua.crypto.cert_gen import dump_private_key_as_pem, generate_private_key, generate_self_signed_app_certificate
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import DNSName, UniformResourceIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID

from edge_sender.source_config import SourceConfig, SourceConfigError, check_sources
from edge_sender.sources.make import make_source
from edge_sender.sources.opcua import OpcUaSource
from sandbox.plant.server import NAMESPACE_URI
from sandbox.processes import free_port
from tests.support.senders import until
from tests.unit.test_sources import ListIntake

POLICIES = ("Basic256Sha256", "Aes128Sha256RsaOaep", "Aes256Sha256RsaPss")
SERVER_URI, CLIENT_URI = "urn:test:plc", "urn:test:edge-a"
PASSWORD = "a-password-of-the-plc"
WITHOUT_FILES = {"security_policy": "None", "certificate": None, "private_key": None, "server_certificate": None}
WITHOUT_USER = {"username": None, "password_env": None}


class Users:
    def get_user(
        self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        return User(role=UserRole.User, name=username) if (username, password) == ("edge", PASSWORD) else None


def make_certificate(folder: Path, name: str, uri: str) -> tuple[Path, Path]:
    """The server's is in DER, the client's in PEM: both are met in plants."""
    key = generate_private_key()
    usage = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    names = [UniformResourceIdentifier(uri), DNSName("localhost")]
    certificate = generate_self_signed_app_certificate(key, name, {}, names, extended=usage)
    is_server = uri == SERVER_URI
    files = folder / f"{name}.{'der' if is_server else 'pem'}", folder / f"{name}-key.pem"
    files[0].write_bytes(certificate.public_bytes(Encoding.DER if is_server else Encoding.PEM))
    files[1].write_bytes(dump_private_key_as_pem(key))
    return files


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    server, server_key = make_certificate(folder, "server", SERVER_URI)
    client, client_key = make_certificate(folder, "client", CLIENT_URI)
    other, _ = make_certificate(folder, "other", SERVER_URI)
    return {"server": server, "server_key": server_key, "client": client, "client_key": client_key, "other": other}


@asynccontextmanager
async def plc(files: dict[str, Path], *, for_users: bool = True) -> AsyncIterator[str]:
    """One variable; only by secure channels, for one user or any, and for clients that are who their certificate says."""
    server = Server(user_manager=Users() if for_users else None)
    await server.init()
    endpoint = f"opc.tcp://127.0.0.1:{free_port()}"
    server.set_endpoint(endpoint)
    await server.set_application_uri(SERVER_URI)
    server.set_security_policy(
        [getattr(ua.SecurityPolicyType, f"{policy}_{mode}") for policy in POLICIES for mode in ("Sign", "SignAndEncrypt")]
    )
    server.set_identity_tokens([ua.UserNameIdentityToken if for_users else ua.AnonymousIdentityToken])
    await server.load_certificate(str(files["server"]))
    await server.load_private_key(str(files["server_key"]))
    options = CertificateValidatorOptions.EXT_VALIDATION | CertificateValidatorOptions.PEER_CLIENT
    server.set_certificate_validator(CertificateValidator(options))
    namespace = await server.register_namespace(NAMESPACE_URI)
    await server.nodes.objects.add_variable(ua.NodeId("a", namespace), ua.QualifiedName("a", namespace), 1.0)
    await server.start()
    try:
        yield endpoint
    finally:
        await server.stop()


def config(endpoint: str, files: dict[str, Path], **given: Any) -> SourceConfig:
    source = {
        "name": "plc",
        "kind": "opcua",
        "endpoint": endpoint,
        "namespace_uri": NAMESPACE_URI,
        "identity": "content",
        "security_policy": "Basic256Sha256",
        "certificate": str(files["client"]),
        "private_key": str(files["client_key"]),
        "server_certificate": str(files["server"]),
        "username": "edge",
        "password_env": "PLC_PASSWORD",
    }
    return check_sources({"sources": [{**source, **given}]}).sources[0]


@asynccontextmanager
async def reading(source: OpcUaSource) -> AsyncIterator[ListIntake]:
    intake = ListIntake()
    running = asyncio.create_task(source.run(intake))
    try:
        yield intake
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def made(given: SourceConfig) -> OpcUaSource:
    source = make_source(given, "client-1")
    assert isinstance(source, OpcUaSource)
    return source


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("given", [{}, {"security_mode": "Sign", **WITHOUT_USER}], ids=["user, encrypted", "signed"])
async def test_readings_come_through_a_secure_channel(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, policy: str, given: dict[str, Any]
) -> None:
    monkeypatch.setenv("PLC_PASSWORD", PASSWORD)
    async with plc(files, for_users="username" not in given) as endpoint:
        async with reading(made(config(endpoint, files, security_policy=policy, **given))) as intake:
            await until(lambda: bool(intake.samples), "nothing is read")
        assert intake.samples[0].source == f"{SERVER_URI}#nsu={NAMESPACE_URI};s=a"


@pytest.mark.parametrize(
    ("given", "password"),
    [
        ({"server_certificate": "other"}, PASSWORD),
        ({}, "another-password"),
        ({**WITHOUT_FILES, **WITHOUT_USER}, PASSWORD),
        (WITHOUT_USER, PASSWORD),
    ],
    ids=["another server", "wrong password", "no security", "no user"],
)
async def test_a_connection_that_is_not_as_it_should_be_is_tried_on_and_said(
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    given: dict[str, Any],
    password: str,
) -> None:
    monkeypatch.setenv("PLC_PASSWORD", password)
    given = {name: str(files[value]) if value in files else value for name, value in given.items()}
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "asyncua")  # as the sender sets it (edge_sender/__main__.py)
    async with plc(files) as endpoint:
        source = made(config(endpoint, files, **given))
        async with reading(source) as intake:
            await until(lambda: "can't be subscribed to" in caplog.text, "nothing is said")
            assert not source.is_up
            assert not intake.samples
    assert password not in caplog.text
    assert password not in repr(source._user)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"private_key": None, "server_certificate": None}, "needs private_key and server_certificate, too"),
        ({"security_policy": "None"}, "set it, or leave them out"),
        ({"password_env": None}, "username and password_env go together"),
        (WITHOUT_FILES, "a username needs a security_policy with SignAndEncrypt"),
        ({"security_mode": "Sign"}, "a username needs a security_policy with SignAndEncrypt"),
        ({"security_policy": "Basic128"}, "security_policy"),
    ],
)
def test_what_is_missing_is_named(files: dict[str, Path], given: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceConfigError, match=message):
        config("opc.tcp://127.0.0.1", files, **given)


@pytest.mark.parametrize("field", ["certificate", "private_key", "server_certificate"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN nothing"])
def test_a_file_that_cannot_be_used_is_named(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, field: str, content: bytes | None
) -> None:
    monkeypatch.setenv("PLC_PASSWORD", PASSWORD)
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceConfigError, match=f"source plc: .*file can't be used as {field}: "):
        made(config("opc.tcp://127.0.0.1", files, **{field: str(path)}))


def test_a_password_that_is_not_set_is_named(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLC_PASSWORD", raising=False)
    with pytest.raises(SourceConfigError, match="source plc: .* PLC_PASSWORD is not set"):
        made(config("opc.tcp://127.0.0.1", files))
