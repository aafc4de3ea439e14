"""The stand-in's devices with certificates, and its provisioning service, used by the unmodified device SDK."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from azure.iot.device import X509
from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient, ProvisioningDeviceClient
from azure.iot.device.exceptions import ClientError, CredentialError

from sandbox.hub.stand_in import HubOptions, StandIn
from tests.support.certificates import DeviceFiles


@pytest.fixture
async def iot_hub() -> AsyncIterator[StandIn]:
    host = f"127.0.3.{os.getpid() % 250 + 1}"  # the SDK dials one port only, and other tests run at the same time
    running = StandIn(HubOptions(host=host, amqp_port=0, control_port=0, enrollment_groups=(("line-1", None),)))
    await running.start()
    yield running
    await running.stop()


def options_of(iot_hub: StandIn) -> dict[str, Any]:
    assert iot_hub.ca_file is not None
    return {"server_verification_cert": iot_hub.ca_file.read_text(), "connection_retry": False}


def control(iot_hub: StandIn, method: str, path: str, body: Any = None) -> Any:
    url = f"http://{iot_hub.options.host}:{iot_hub.control_port}{path}"
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=30) as answer:
        return json.load(answer)


def x509_of(files: DeviceFiles) -> X509:
    return X509(str(files.certificate), str(files.private_key))


async def connect(iot_hub: StandIn, files: DeviceFiles, device: str, module: str | None = None) -> Any:
    given = {"hostname": iot_hub.options.host, "device_id": device, "x509": x509_of(files), **options_of(iot_hub)}
    client: Any = (
        IoTHubModuleClient.create_from_x509_certificate(module_id=module, **given)
        if module
        else IoTHubDeviceClient.create_from_x509_certificate(**given)
    )
    try:
        await client.connect()
    except ClientError:
        await client.shutdown()
        raise
    return client


def provisioning(iot_hub: StandIn) -> dict[str, Any]:
    described = iot_hub.describe()["provisioning"]
    assert iot_hub.ca_file is not None
    return {
        "provisioning_host": described["host"],
        "id_scope": described["id_scope"],
        "server_verification_cert": iot_hub.ca_file.read_text(),
    }


async def test_a_device_with_a_certificate_of_its_own_is_known_by_its_thumbprint(iot_hub: StandIn, tmp_path: Path) -> None:
    own = DeviceFiles.in_folder(tmp_path).self_signed("edge-1")
    neighbour = DeviceFiles.in_folder(tmp_path, "neighbour").self_signed("edge-1")
    for device, files in (("edge-1", own), ("edge-2", neighbour)):
        body = {"certificate": files.pem.decode()}
        made = await asyncio.to_thread(control, iot_hub, "PUT", f"/devices/{device}", body)
        assert "x509=true" in made["connection_string"]
    with pytest.raises(urllib.error.HTTPError, match="400"):
        await asyncio.to_thread(control, iot_hub, "PUT", "/devices/edge-1", {"certificate": "none"})
    iot_hub.create_device("edge-3")
    client = await connect(iot_hub, own, "edge-1")
    await client.send_message("x")
    await client.shutdown()
    for device in ("edge-1", "edge-3"):
        with pytest.raises(CredentialError):
            await connect(iot_hub, neighbour, device)
    [stored] = [entry.message for partition in iot_hub.namespace.hubs["telemetry"].partitions for entry in partition.entries]
    assert b'{"scope":"device","type":"x509"' in stored


async def test_a_certificate_of_an_authority_must_have_the_identitys_name(iot_hub: StandIn, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    iot_hub.trust(authority.cert_pem.bytes())
    for path in ("edge-1", "edge-1/sender", "edge-2"):
        iot_hub.create_x509_device(path, None)
    device = DeviceFiles.in_folder(tmp_path, "device").signed(authority, "edge-1")
    module = DeviceFiles.in_folder(tmp_path, "module").signed(authority, "edge-1/sender")
    clients = [await connect(iot_hub, device, "edge-1"), await connect(iot_hub, module, "edge-1", "sender")]
    await asyncio.gather(*(client.shutdown() for client in clients))
    with pytest.raises(CredentialError):
        await connect(iot_hub, device, "edge-2")
    with pytest.raises(ClientError):
        await connect(iot_hub, DeviceFiles.in_folder(tmp_path, "foreign").signed(stranger, "edge-2"), "edge-2")


async def register(make: Callable[..., Any], iot_hub: StandIn, **given: Any) -> Any:
    """The SDK's only pipeline thread blocks whoever makes a client while it connects another one: here, this loop."""
    client = await asyncio.to_thread(make, **given, **provisioning(iot_hub))
    return await client.register()


async def register_by_key(iot_hub: StandIn, registration: str, key: str) -> Any:
    make = ProvisioningDeviceClient.create_from_symmetric_key
    return await register(make, iot_hub, registration_id=registration, symmetric_key=key)


async def register_by_certificate(iot_hub: StandIn, registration: str, files: DeviceFiles) -> Any:
    make = ProvisioningDeviceClient.create_from_x509_certificate
    return await register(make, iot_hub, registration_id=registration, x509=x509_of(files))


async def test_devices_register_by_key_and_by_certificate_and_then_have_an_identity(
    iot_hub: StandIn, tmp_path: Path
) -> None:
    authority = trustme.CA()
    own = DeviceFiles.in_folder(tmp_path, "own").self_signed("edge-own")
    signed = DeviceFiles.in_folder(tmp_path, "signed").signed(authority, "edge-signed")
    key = (await asyncio.to_thread(control, iot_hub, "PUT", "/enrollments/edge-key"))["key"]
    iot_hub.enroll("edge-own", own.pem)
    iot_hub.enroll_group("authority", authority.cert_pem.bytes())
    described = iot_hub.describe()["provisioning"]
    group_key = base64.b64decode(described["enrollment_groups"]["line-1"])
    in_group = base64.b64encode(hmac.digest(group_key, b"edge-group", "sha256")).decode()
    results = await asyncio.gather(
        register_by_key(iot_hub, "edge-key", key),
        register_by_key(iot_hub, "edge-group", in_group),
        register_by_certificate(iot_hub, "edge-own", own),
        register_by_certificate(iot_hub, "edge-signed", signed),
    )
    states = [result.registration_state for result in results]
    assert [state.device_id for state in states] == ["edge-key", "edge-group", "edge-own", "edge-signed"]
    assert {state.assigned_hub for state in states} == {iot_hub.options.host}
    by_key = IoTHubDeviceClient.create_from_symmetric_key(
        in_group, states[1].assigned_hub, states[1].device_id, **options_of(iot_hub)
    )
    await by_key.connect()
    by_certificate = await connect(iot_hub, signed, "edge-signed")
    await asyncio.gather(by_key.shutdown(), by_certificate.shutdown())


async def test_who_is_not_enrolled_is_refused(iot_hub: StandIn, tmp_path: Path) -> None:
    key = base64.b64encode(b"k" * 32).decode()
    iot_hub.enroll("edge-key", None)
    own = DeviceFiles.in_folder(tmp_path, "own").self_signed("edge-own")
    iot_hub.enroll("edge-own", own.pem)
    for refused in (
        register_by_key(iot_hub, "edge-unknown", key),
        register_by_key(iot_hub, "edge-key", key),
        register_by_certificate(iot_hub, "edge-key", own),
    ):
        with pytest.raises(CredentialError):
            await refused
    assert not iot_hub.namespace.devices


async def test_the_command_takes_certificates_and_enrollments_and_prints_what_devices_need(tmp_path: Path) -> None:
    own = DeviceFiles.in_folder(tmp_path).self_signed("edge-4")
    given = ("--x509-device", f"edge-4={own.certificate}", "--x509-device", "edge-5", "--device-authority", own.certificate)
    enrolled = ("--enrollment", "edge-6", "--enrollment-group", f"plant={own.certificate}")
    ports = ("--amqp-port", "0", "--mqtt-port", "0")
    command = [sys.executable, "-m", "sandbox", "hub", *ports, *map(str, given), *enrolled]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        printed = json.loads(await process.stdout.readline())
    finally:
        process.terminate()
        await process.wait()
    assert all("x509=true" in printed["devices"][device] for device in ("edge-4", "edge-5"))
    service = printed["provisioning"]
    assert service["enrollments"]["edge-6"]
    assert service["enrollment_groups"] == {"plant": None}
    assert (service["host"], bool(service["id_scope"])) == ("localhost", True)
