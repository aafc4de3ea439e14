"""The uplink as plants have it: only through a proxy and on port 443, with certificates, and on a slow line."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from edge_sender.bootstrap import make_uplink
from edge_sender.config.settings import load
from edge_sender.ports import Message, Uplink, UplinkError
from sandbox.hub.enrollments import Enrollment
from sandbox.hub.stand_in import HubOptions, StandIn
from sandbox.peers.processes import free_port
from tests.support.certificates import DeviceFiles
from tests.support.gateways import ConnectProxy, connect_proxy, slow_relay
from tests.support.senders import until

HOST = f"127.0.4.{os.getpid() % 250 + 1}"
"""The device SDK dials one port only, and other tests run at the same time."""
EVENT_HUBS = "plant.servicebus.windows.net"
IOT_HUB = "sandbox.azure-devices.net"
DPS, NEW_HUB = "dps.plant.test", "new.azure-devices.net"
PASSWORD = "p@ss/word"


@pytest.fixture
async def azure() -> AsyncIterator[StandIn]:
    """Under its names in Azure, which only the proxy knows."""
    options = HubOptions(
        amqp_port=0,
        mqtt_port=0,
        websocket_port=0,
        devices=("edge-1", "edge-1/sender"),
        also_at=(EVENT_HUBS, IOT_HUB, DPS, NEW_HUB),
        enrollment_groups=(("line-1", None),),
    )
    running = StandIn(options)
    await running.start()
    yield running
    await running.stop()


def uplink_of(azure: StandIn, proxy: ConnectProxy, **given: Any) -> Uplink:
    usual = {"ca_file": azure.ca_file, "http_proxy": proxy.url, "send_timeout_seconds": 20, "replica": "edge-1"}
    return make_uplink(load(**{**usual, **given}))


def event_hubs(azure: StandIn) -> dict[str, Any]:
    key = azure.namespace.key
    return {
        "uplink": "event-hubs",
        "connection_string": f"Endpoint=sb://{EVENT_HUBS}/;SharedAccessKeyName=SendOnly;SharedAccessKey={key};EntityPath=telemetry",
    }


def iot(azure: StandIn, path: str) -> dict[str, Any]:
    text = azure.device_connection_string(path).partition(";GatewayHostName")[0]
    return {"uplink": "iot", "connection_string": text}


def routes(azure: StandIn) -> dict[str, int]:
    assert azure.websocket_port is not None
    return dict.fromkeys((EVENT_HUBS, IOT_HUB, DPS, "localhost"), azure.websocket_port)


def message(body: bytes = b"{}") -> Message:
    return Message(body, "application/json", {}, 1)


async def send(uplink: Uplink, *messages: Message) -> None:
    await uplink.connect()
    await asyncio.gather(*map(uplink.send, messages or [message()]))


def arrived(azure: StandIn) -> int:
    return sum(len(partition.entries) for partition in azure.namespace.hubs["telemetry"].partitions)


@pytest.mark.parametrize("user", ["edge", None])
async def test_everything_passes_a_proxy_on_port_443(
    azure: StandIn, user: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with connect_proxy(routes(azure), user) as proxy:
        settings = (event_hubs(azure), iot(azure, "edge-1"), iot(azure, "edge-1/sender"))
        uplinks = [uplink_of(azure, proxy, **given) for given in settings]
        await asyncio.gather(*map(send, uplinks))
        await asyncio.gather(*(uplink.close() for uplink in uplinks))
    assert arrived(azure) == len(uplinks)
    assert (set(proxy.targets), proxy.refused) == ({f"{EVENT_HUBS}:443", f"{IOT_HUB}:443"}, [])
    assert PASSWORD not in caplog.text
    assert PASSWORD not in repr([vars(uplink) for uplink in uplinks])


def may_listen(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not may_listen(443), reason="this user may not listen on port 443")
async def test_a_module_and_an_event_hub_are_reached_on_port_443_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    azure = StandIn(HubOptions(host=HOST, amqp_port=0, mqtt_port=None, websocket_port=443, devices=("edge-1/sender",)))
    await azure.start()
    monkeypatch.setenv("EdgeHubConnectionString", azure.device_connection_string("edge-1/sender"))
    monkeypatch.setenv("EdgeModuleCACertificateFile", str(azure.ca_file))
    given = {"ca_file": azure.ca_file, "transport": "websocket", "replica": "edge-1", "send_timeout_seconds": 20}
    direct = {**event_hubs(azure), "connection_string": event_hubs(azure)["connection_string"].replace(EVENT_HUBS, HOST)}
    uplinks = [make_uplink(load(**given, uplink="iot-edge")), make_uplink(load(**{**given, **direct}))]
    await asyncio.gather(*map(send, uplinks))
    await asyncio.gather(*(uplink.close() for uplink in uplinks))
    await azure.stop()
    assert arrived(azure) == len(uplinks)


@pytest.mark.parametrize("kind", [event_hubs, lambda azure: iot(azure, "edge-1")])
async def test_a_proxy_that_refuses_and_an_unknown_authority_are_named_by_their_settings(
    azure: StandIn, kind: Any, tmp_path: Path
) -> None:
    other = DeviceFiles.in_folder(tmp_path).self_signed("nobody")
    async with connect_proxy(routes(azure)) as proxy:
        for wrong, setting in (
            ({"http_proxy": f"http://edge:wrong@127.0.0.1:{proxy.port}"}, "EDGE_HTTP_PROXY"),
            ({"ca_file": other.certificate}, "EDGE_CA_FILE"),
        ):
            uplink = uplink_of(azure, proxy, **kind(azure), **wrong)
            with pytest.raises(UplinkError, match=setting) as raised:
                await uplink.connect()
            assert "wrong" not in str(raised.value)
            await uplink.close()


def self_signed(azure: StandIn, files: DeviceFiles, device: str) -> None:
    azure.create_x509_device(device, files.self_signed(device).pem)


def of_an_authority(azure: StandIn, files: DeviceFiles, device: str) -> None:
    authority = trustme.CA()
    azure.trust(authority.cert_pem.bytes())
    azure.create_x509_device(device, None)
    files.signed(authority, device)


@pytest.mark.parametrize("issue", [self_signed, of_an_authority])
async def test_a_renewed_certificate_is_taken_without_a_restart(
    azure: StandIn, tmp_path: Path, issue: Callable[[StandIn, DeviceFiles, str], None]
) -> None:
    files = DeviceFiles.in_folder(tmp_path)
    issue(azure, files, "edge-9")
    pair = {"certificate": files.certificate, "private_key": files.private_key}
    async with connect_proxy(routes(azure)) as proxy:
        uplink: Any = uplink_of(azure, proxy, **iot(azure, "edge-9"), **pair)
        changed = asyncio.Event()
        await send(uplink)
        await uplink.twin.on_change(changed.set)
        issue(azure, files, "edge-9")
        await uplink.send(message())
        assert changed.is_set()
        changed.clear()
        azure.desire("edge-9", {"max_in_flight": 3})
        await asyncio.wait_for(changed.wait(), 20)
        files.private_key.write_text("half of a key")
        await uplink.send(message())
        await uplink.close()
    assert arrived(azure) == 3
    assert len(proxy.tunnels) == 2


def provisioned(azure: StandIn, registration: str, **proof: Any) -> dict[str, Any]:
    scope = azure.enrollments.id_scope
    return {"uplink": "iot", "dps_host": DPS, "dps_id_scope": scope, "dps_registration_id": registration, **proof}


async def test_a_device_gets_its_hub_from_the_provisioning_service(azure: StandIn, tmp_path: Path) -> None:
    files = DeviceFiles.in_folder(tmp_path).self_signed("edge-own")
    azure.enroll("edge-own", files.pem)
    group_key, own_key = azure.enrollments.groups["line-1"].key, azure.enroll("edge-key", None)
    async with connect_proxy(routes(azure)) as proxy:
        uplinks: list[Any] = [
            uplink_of(azure, proxy, **provisioned(azure, "edge-group", dps_group_key=group_key)),
            uplink_of(azure, proxy, **provisioned(azure, "edge-key", dps_key=own_key)),
            uplink_of(
                azure,
                proxy,
                **provisioned(azure, "edge-own", certificate=files.certificate, private_key=files.private_key),
            ),
        ]
        await asyncio.gather(*map(send, uplinks))
        assert set(azure.namespace.devices) >= {"edge-group", "edge-key", "edge-own"}
        azure.remove_device("edge-group")
        uplinks[0].timeout_seconds = 2.0  # the SDK waits for ever for a send that was on its way
        files.self_signed("edge-own")
        azure.enroll("edge-own", files.pem)
        await asyncio.gather(until_sent(uplinks[0]), uplinks[2].send(message()))
        await asyncio.gather(*(uplink.close() for uplink in uplinks))
    assert arrived(azure) == 5
    assert "edge-group" in azure.namespace.devices


async def test_a_device_whose_hub_stays_away_asks_whether_it_has_another_one(
    azure: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_sender.uplinks.iot.ASK_AGAIN_SECONDS", 0.0)
    key = azure.enroll("edge-moved", None)
    async with connect_proxy(routes(azure)) as proxy:
        uplink: Any = uplink_of(azure, proxy, **provisioned(azure, "edge-moved", dps_key=key))
        await send(uplink)
        proxy.routes[NEW_HUB] = proxy.routes.pop("localhost")
        azure.enrollments.hub = lambda: NEW_HUB
        uplink.timeout_seconds = 2.0
        azure.remove_device("edge-moved")
        await until_sent(uplink)
        await uplink.close()
    assert proxy.targets[-1] == f"{NEW_HUB}:443"
    assert arrived(azure) == 2


def alarms() -> int:
    """The SDK's threads that renew tokens."""
    return sum(type(thread).__name__ == "Alarm" for thread in threading.enumerate())


async def test_a_device_that_is_not_enrolled_yet_tries_again_without_leaving_threads(azure: StandIn) -> None:
    key = base64.b64encode(b"k" * 32).decode()
    async with connect_proxy(routes(azure)) as proxy:
        uplink = uplink_of(azure, proxy, **provisioned(azure, "edge-late", dps_key=key))
        before = alarms()
        for _ in range(3):
            with pytest.raises(UplinkError, match="the provisioning service dps.plant.test: ") as raised:
                await uplink.connect()
            assert key not in str(raised.value)
        azure.enrollments.individual["edge-late"] = Enrollment(key)
        await send(uplink)
        await uplink.close()
    assert arrived(azure) == 1
    await until(lambda: alarms() <= before, "registrations that failed have left threads behind")


async def until_sent(uplink: Uplink, *messages: Message) -> int:
    """Sends all at once, each until it is acknowledged; returns the number of attempts."""

    async def one(item: Message) -> int:
        for attempt in range(1, 50):
            try:
                await uplink.send(item)
            except UplinkError:
                continue
            return attempt
        raise AssertionError("never acknowledged")

    return sum(await asyncio.gather(*map(one, messages or [message()])))


async def test_what_moves_on_a_slow_line_is_not_sent_twice() -> None:
    """A time-out of a second, and three seconds of messages."""
    options = HubOptions(host=HOST, amqp_port=0, mqtt_port=0, devices=("edge-1",))
    azure, messages = StandIn(options), [message(b"x" * 4_000)] * 24
    await azure.start()
    assert azure.mqtt_port is not None
    port = free_port()
    async with (
        slow_relay(HOST, 8883, azure.mqtt_port, 32_000) as mqtt,
        slow_relay(HOST, port, azure.amqp_port, 32_000) as amqp,
    ):
        text = azure.connection_string("telemetry").replace(f":{azure.amqp_port}/", f":{port}/")
        usual = {"ca_file": azure.ca_file, "replica": "edge-1"}
        device = {"uplink": "iot", "connection_string": azure.device_connection_string("edge-1")}
        uplinks: list[Any] = [
            make_uplink(load(**usual, **device)),
            make_uplink(load(**usual, uplink="event-hubs", connection_string=text)),
        ]
        for uplink in uplinks:
            await uplink.connect()
            uplink.timeout_seconds = 1.0
        await asyncio.gather(*(until_sent(uplink, *messages) for uplink in uplinks))
        carried = mqtt.carried, amqp.carried
        await asyncio.gather(*(uplink.close() for uplink in uplinks))
    await azure.stop()
    assert max(carried) < 1.2 * sum(len(item.body) for item in messages)
