"""The OPC UA source against a server that requires certificates and a user."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua
from asyncua.crypto.cert_gen import dump_private_key_as_pem, generate_private_key, generate_self_signed_app_certificate
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_private_key_of_curve
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import CertificateBuilder, DNSName, Name, NameAttribute, UniformResourceIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge_sender.config.sources import SourceConfig, check_sources
from edge_sender.counters import SourceTally
from edge_sender.ports import SourceConfigError
from edge_sender.sources.make import make_source
from edge_sender.sources.opcua.security import Channel
from edge_sender.sources.opcua.source import OpcUaSource
from sandbox.peers.processes import free_port
from sandbox.plant.machine_server import NAMESPACE_URI
from sandbox.plant.quick_server import quick_server
from tests.doubles.intake import ListIntake
from tests.support.senders import until

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
    """The server's certificate is in DER, the client's in PEM, since plants have both."""
    key = generate_private_key()
    usage = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    names = [UniformResourceIdentifier(uri), DNSName("localhost")]
    certificate = generate_self_signed_app_certificate(key, name, {}, names, extended=usage)
    is_server = uri == SERVER_URI
    files = folder / f"{name}.{'der' if is_server else 'pem'}", folder / f"{name}-key.pem"
    text = b"" if is_server else b"Certificate: as openssl says it before\n"
    files[0].write_bytes(text + certificate.public_bytes(Encoding.DER if is_server else Encoding.PEM))
    files[1].write_bytes(dump_private_key_as_pem(key))
    return files


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    server, server_key = make_certificate(folder, "server", SERVER_URI)
    client, client_key = make_certificate(folder, "client", CLIENT_URI)
    other, other_key = make_certificate(folder, "other", SERVER_URI)
    return {
        "server": server,
        "server_key": server_key,
        "client": client,
        "client_key": client_key,
        "other": other,
        "other_key": other_key,
    }


@asynccontextmanager
async def plc(files: dict[str, Path], *, for_users: bool = True, port: int | None = None) -> AsyncIterator[str]:
    """A server with one variable, for secure channels only, one user or any, and clients that match their certificate."""
    server = quick_server(Users() if for_users else None)
    await server.init()
    endpoint = f"opc.tcp://127.0.0.1:{port or free_port()}"
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
        "password_env": "EDGE_SECRET_PLC",
    }
    if "endpoints" in given:
        del source["endpoint"]
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
    source = make_source(given, "client-1", SourceTally())
    assert isinstance(source, OpcUaSource)
    return source


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("given", [{}, {"security_mode": "Sign", **WITHOUT_USER}], ids=["user, encrypted", "signed"])
async def test_readings_come_through_a_secure_channel(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, policy: str, given: dict[str, Any]
) -> None:
    monkeypatch.setenv("EDGE_SECRET_PLC", PASSWORD)
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
async def test_a_connection_that_is_refused_is_retried_and_logged(
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    given: dict[str, Any],
    password: str,
) -> None:
    monkeypatch.setenv("EDGE_SECRET_PLC", password)
    given = {name: str(files[value]) if value in files else value for name, value in given.items()}
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "asyncua")  # as the sender sets it (edge_sender/__main__.py)
    async with plc(files) as endpoint:
        source = made(config(endpoint, files, **given))
        async with reading(source) as intake:
            await until(lambda: "can't be read" in caplog.text, "nothing is logged")
            assert not source.is_up
            assert not intake.samples
    assert password not in caplog.text
    assert password not in repr(source._redundancy._user)


async def test_each_of_several_servers_is_trusted_by_its_own_certificate(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_SECRET_PLC", PASSWORD)
    first, second = (f"opc.tcp://127.0.0.1:{free_port()}" for _ in range(2))
    trusted = {"endpoints": [first, second], "server_certificate": [str(files["server"]), str(files["other"])]}
    source = made(config(first, files, **trusted))
    others = {**files, "server": files["other"], "server_key": files["other_key"]}
    async with plc(others, port=int(second.rpartition(":")[2])), reading(source) as intake:
        await until(lambda: bool(intake.samples), "the second server is not read")
        assert source.place == second


async def test_a_renewed_server_certificate_is_trusted_once_it_is_in_the_file(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGE_SECRET_PLC", PASSWORD)
    trusted, port = tmp_path / "server.der", free_port()
    trusted.write_bytes(files["server"].read_bytes())
    source = made(config(f"opc.tcp://127.0.0.1:{port}", files, server_certificate=str(trusted)))
    async with reading(source) as intake:
        async with plc(files, port=port):
            await until(lambda: source.is_up, "the first server is not read")
        renewed = {**files, "server": files["other"], "server_key": files["other_key"]}
        async with plc(renewed, port=port):
            await until(lambda: not source.is_up, "the source seems to be up")
            before = len(intake.samples)
            trusted.write_bytes(files["other"].read_bytes())
            await until(lambda: source.is_up and len(intake.samples) > before, "the renewed server is not read")


async def test_an_unexpected_answer_does_not_end_the_source(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would end the sender with all its other sources."""
    monkeypatch.setenv("EDGE_SECRET_PLC", PASSWORD)
    secure, attempts = Channel.secure, []

    async def odd(channel: Channel, client: Client) -> None:
        attempts.append(client)
        if len(attempts) == 1:
            raise InvalidSignature  # as cryptography raises it
        await secure(channel, client)

    monkeypatch.setattr(Channel, "secure", odd)
    async with plc(files) as endpoint, reading(made(config(endpoint, files))) as intake:
        await until(lambda: bool(intake.samples), "nothing is read")
    assert len(attempts) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"private_key": None, "server_certificate": None}, "also needs private_key and server_certificate"),
        ({"security_policy": "None"}, "set it, or leave them out"),
        ({"password_env": None}, "username and password_env go together"),
        (WITHOUT_FILES, "a username needs a security_policy with SignAndEncrypt"),
        ({"security_mode": "Sign"}, "a username needs a security_policy with SignAndEncrypt"),
        ({"security_policy": "Basic128"}, "security_policy"),
        ({"username": ""}, "username: String should have at least 1"),
    ],
)
def test_what_is_missing_or_wrong_is_named(files: dict[str, Path], given: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceConfigError, match=message):
        config("opc.tcp://127.0.0.1", files, **given)


def test_a_user_in_the_endpoint_is_refused_and_not_repeated(files: dict[str, Path]) -> None:
    """It would appear in logs and be sent unprotected."""
    with pytest.raises(SourceConfigError, match="endpoint") as caught:
        config("opc.tcp://edge:secret@plc:4840", files)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("field", ["certificate", "private_key", "server_certificate"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file"),
        (b"", "it is not a (certificate|private key) in PEM or DER"),
        (b"-----BEGIN nothing", "it is not a (certificate|private key) in PEM or DER"),
        ("elliptic", "not RSA"),
        ("encrypted", "it is encrypted|it is not a certificate"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    field: str,
    content: bytes | str | None,
    problem: str,
) -> None:
    monkeypatch.setenv("EDGE_SECRET_PLC", PASSWORD)
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else unfit(content, field))
    with pytest.raises(SourceConfigError, match=f"source plc: .*file can't be used as {field}: .*({problem})"):
        made(config("opc.tcp://127.0.0.1", files, **{field: str(path)}))


def unfit(kind: str, field: str) -> bytes:
    key = generate_private_key_of_curve(SECP256R1())
    if field == "private_key" or kind == "encrypted":
        protection = BestAvailableEncryption(b"x") if kind == "encrypted" else NoEncryption()
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
    return signed(key, datetime.now(UTC))


def signed(key: Any, since: datetime) -> bytes:
    """A self-issued certificate that is valid for a day."""
    name = Name([NameAttribute(NameOID.COMMON_NAME, "x")])
    unsigned = CertificateBuilder(name, name, key.public_key(), 1, since, since + timedelta(days=1))
    return unsigned.sign(key, SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize("days", [-2, 1])
def test_a_certificate_of_this_client_that_is_not_valid_now_is_named(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, days: int
) -> None:
    monkeypatch.setenv("EDGE_SECRET_PLC", PASSWORD)
    path = tmp_path / "file"
    path.write_bytes(signed(generate_private_key(), datetime.now(UTC) + timedelta(days=days)))
    with pytest.raises(SourceConfigError, match="file can't be used as certificate: it is valid only from .* until .*"):
        made(config("opc.tcp://127.0.0.1", files, certificate=str(path)))


@pytest.mark.parametrize("value", [None, ""])
def test_a_password_that_is_not_set_is_named(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("EDGE_SECRET_PLC", raising=False)
    if value is not None:
        monkeypatch.setenv("EDGE_SECRET_PLC", value)
    with pytest.raises(SourceConfigError, match="source plc: .* EDGE_SECRET_PLC is not set, or empty"):
        made(config("opc.tcp://127.0.0.1", files))
