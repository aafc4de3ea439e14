"""A pytest plugin that stands in for the conftest.py of the SDK's live tests: it gives them our stand-in instead of Azure.

Only this process is told where the namespace is: its name resolves to the stand-in's ports, any other name does not resolve,
and the list of authorities is the stand-in's own. The SDK and its tests are unchanged.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import certifi
import jwt
import pytest
from azure.core.credentials import AccessToken
from azure.eventhub import EventHubProducerClient, TransportType
from azure.eventhub._pyamqp import ReceiveClient
from azure.eventhub._pyamqp.authentication import SASTokenAuth

from sandbox.hub.namespace import POLICY

HOST = "sandbox.servicebus.windows.net"
PARTITIONS = 2
ENTRA_KEY = "a signing key that is long enough for HMAC"
ACCESS_KEY = "c2FuZGJveCdzIGtleSBmb3IgdGhlIFNESydzIHRlc3Rz"
REPORT = "SDK_TESTS_REPORT"
"""The environment variable that names the file for the results."""

Config = dict[str, str]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--sleep", action="store", default="True")


def pytest_configure(config: pytest.Config) -> None:
    for marker in ("liveTest", "livetest", "no_amqpproxy"):
        config.addinivalue_line("markers", marker)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the names of what passed, and the reasons of what was skipped or failed."""
    reports = terminalreporter.getreports
    problems = [*reports("failed"), *reports("error")]
    results = {
        "passed": [report.nodeid for report in reports("passed")],
        "skipped": {report.nodeid: str(report.longrepr[-1]) for report in reports("skipped")},
        "failed": {report.nodeid: report.longreprtext[-3000:] for report in problems},
    }
    Path(os.environ[REPORT]).write_text(json.dumps(results))


@pytest.fixture(scope="session")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The stand-in's own description of itself."""
    key = tmp_path_factory.mktemp("entra") / "key"
    key.write_text(ENTRA_KEY)
    ports = ("--amqp-port", "--amqps-port", "--websocket-port", "--control-port")
    command = [sys.executable, "-m", "sandbox", "hub", *(word for port in ports for word in (port, "0"))]
    command += ["--mqtt-port", "-1", "--advertise", HOST, "--entra-key", str(key)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "SANDBOX_KEY": ACCESS_KEY})
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session", autouse=True)
def _reached_by_its_name(described: dict[str, Any]) -> Iterator[None]:
    resolve, ports = socket.getaddrinfo, {5671: described["amqps_port"], 443: described["websocket_port"]}

    def resolved(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name == HOST:
            return resolve("127.0.0.1", ports[int(port)], *arguments, **options)
        if name in (None, "", "localhost", "127.0.0.1"):
            return resolve(host, port, *arguments, **options)
        raise socket.gaierror(socket.EAI_NONAME, f"{name!r} does not resolve here")

    patch = pytest.MonkeyPatch()
    patch.setattr(socket, "getaddrinfo", resolved)
    patch.setattr(certifi, "where", lambda: described["ca_file"])
    yield
    patch.undo()


def _control(described: dict[str, Any], method: str, path: str, body: Any = None) -> Any:
    url = described["control"].replace(HOST, "127.0.0.1") + path
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


class Credential:
    """Tokens as Entra ID signs them."""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        expiry = int(time.time()) + 3600
        claims = {"aud": scopes[0].removesuffix("/.default"), "exp": expiry}
        return AccessToken(jwt.encode(claims, ENTRA_KEY, algorithm="HS256"), expiry)


class AsyncCredential:
    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        return Credential().get_token(*scopes, **options)

    async def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> AsyncCredential:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def credential(is_async: bool = False) -> Credential | AsyncCredential:
    return AsyncCredential() if is_async else Credential()


# --- the fixtures of the SDK's conftest.py, under their names


@pytest.fixture
def sleep(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--sleep").lower() == "true")


@pytest.fixture(scope="session", params=[False], ids=["pyamqp"])
def uamqp_transport(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="session", params=[TransportType.Amqp, TransportType.AmqpOverWebsocket], ids=["amqp", "ws"])
def socket_transport(request: pytest.FixtureRequest) -> TransportType:
    return TransportType(request.param)


@pytest.fixture(scope="session")
def timeout_factor() -> int:
    return 1


@pytest.fixture
def client_args() -> dict[str, Any]:
    return {}


@pytest.fixture
def live_eventhub(described: dict[str, Any]) -> Iterator[Config]:
    name = f"eh{uuid.uuid4()}"
    made = _control(described, "PUT", f"/hubs/{name}", {"partitions": PARTITIONS})
    assert name in made["connection_string"]
    yield {
        "hostname": HOST,
        "key_name": POLICY,
        "access_key": ACCESS_KEY,
        "namespace": HOST.partition(".")[0],
        "event_hub": name,
        "consumer_group": "$Default",
        "partition": "0",
        "connection_str": _connection_string(HOST, POLICY, ACCESS_KEY, name),
    }
    _control(described, "DELETE", f"/hubs/{name}")


def _connection_string(host: str, policy: str, key: str, hub: str) -> str:
    return f"Endpoint=sb://{host}/;SharedAccessKeyName={policy};SharedAccessKey={key};EntityPath={hub}"


@pytest.fixture
def connection_str(live_eventhub: Config) -> str:
    return live_eventhub["connection_str"]


@pytest.fixture
def invalid_hostname(live_eventhub: Config) -> str:
    return _connection_string("invalid123.servicebus.windows.net", POLICY, ACCESS_KEY, live_eventhub["event_hub"])


@pytest.fixture
def invalid_key(live_eventhub: Config) -> str:
    return _connection_string(HOST, POLICY, "invalid", live_eventhub["event_hub"])


@pytest.fixture
def invalid_policy(live_eventhub: Config) -> str:
    return _connection_string(HOST, "invalid", ACCESS_KEY, live_eventhub["event_hub"])


@pytest.fixture(scope="session")
def get_credential() -> Callable[..., Any]:
    return credential


@pytest.fixture(scope="session")
def get_credential_async() -> Callable[..., Any]:
    return partial(credential, is_async=True)


@pytest.fixture
def auth_credentials(live_eventhub: Config) -> tuple[Any, ...]:
    return HOST, live_eventhub["event_hub"], credential


@pytest.fixture
def auth_credentials_async(live_eventhub: Config) -> tuple[Any, ...]:
    return HOST, live_eventhub["event_hub"], partial(credential, is_async=True)


@pytest.fixture
def receivers(live_eventhub: Config) -> Iterator[list[Any]]:
    """A receiver without a filter for each partition."""
    receive_client: Any = ReceiveClient
    hub = live_eventhub["event_hub"]
    uri = f"sb://{HOST}/{hub}"
    with contextlib.ExitStack() as stack:
        made = []
        for partition in range(PARTITIONS):
            source = f"amqps://{HOST}/{hub}/ConsumerGroups/$Default/Partitions/{partition}"
            auth = SASTokenAuth(uri, uri, POLICY, ACCESS_KEY)
            receiver: Any = receive_client(HOST, source, auth=auth, network_trace=False, timeout=30, link_credit=500)
            receiver.open()
            stack.callback(receiver.close)
            made.append(receiver)
        yield made


@pytest.fixture
def connstr_receivers(connection_str: str, receivers: list[Any]) -> tuple[Any, ...]:
    return connection_str, receivers


@pytest.fixture
def auth_credential_receivers(auth_credentials: tuple[Any, ...], receivers: list[Any]) -> tuple[Any, ...]:
    return *auth_credentials, receivers


@pytest.fixture
def auth_credential_receivers_async(auth_credentials_async: tuple[Any, ...], receivers: list[Any]) -> tuple[Any, ...]:
    return *auth_credentials_async, receivers


@pytest.fixture
def senders(live_eventhub: Config) -> Iterator[list[Any]]:
    """A producer for each partition."""
    client = EventHubProducerClient(HOST, live_eventhub["event_hub"], Credential())
    with client, contextlib.ExitStack() as stack:
        made = [client._create_producer(partition_id=partition) for partition in client.get_partition_ids()]
        for sender in made:
            stack.callback(sender.close)
        yield made


@pytest.fixture
def auth_credential_senders(auth_credentials: tuple[Any, ...], senders: list[Any]) -> tuple[Any, ...]:
    return *auth_credentials, senders


@pytest.fixture
def auth_credential_senders_async(auth_credentials_async: tuple[Any, ...], senders: list[Any]) -> tuple[Any, ...]:
    return *auth_credentials_async, senders


@pytest.fixture
def resource_mgmt_client() -> None:
    pytest.skip("needs Azure Resource Manager, which changes the hub's retention")


@pytest.fixture
def faultinjector() -> None:
    pytest.skip("needs Microsoft's fault injector")


@pytest.fixture
def checkpoint_store() -> None:
    """Only tests that need Azure Resource Manager use it."""


@pytest.fixture
def checkpoint_store_aio() -> None:
    """Only tests that need Azure Resource Manager use it."""


@pytest.fixture
def enable_tracing() -> Iterator[Any]:
    from azure.core.settings import settings

    fake_span = importlib.import_module("tracing_common").FakeSpan  # it lies beside the tests

    settings.tracing_implementation.set_value(fake_span)
    yield fake_span
    settings.tracing_implementation.set_value(None)
