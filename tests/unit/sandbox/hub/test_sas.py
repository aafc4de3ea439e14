"""Shared access signatures are checked as Event Hubs and IoT Hub check them."""

from __future__ import annotations

import base64

import pytest

from sandbox.hub import sas
from sandbox.hub.log import Hub
from sandbox.hub.namespace import POLICY, Device, Namespace, new_key

FUTURE, PAST = 4_000_000_000, 1_000_000_000


@pytest.fixture
def namespace() -> Namespace:
    made = Namespace({"h": Hub.create("h", 1, set())})
    for path in ("edge-1", "edge-1/sender", "edge-2"):
        device, _, module = path.partition("/")
        made.devices[path] = Device(device, module or None, new_key())
    return made


def test_a_valid_token_gives_access_to_its_hub(namespace: Namespace) -> None:
    token = sas.generate("sb://localhost/h", namespace.key.encode(), FUTURE, POLICY)
    assert namespace.authorize(token, "sb://localhost:5672/h").expiry == FUTURE


@pytest.mark.parametrize(
    ("resource", "key", "expiry", "policy", "why"),
    [
        ("sb://x/h", b"other", FUTURE, POLICY, "another key"),
        ("sb://x/h", None, PAST, POLICY, "expired"),
        ("sb://x/other", None, FUTURE, POLICY, "resource other than"),
        ("sb://x/h", None, FUTURE, "nobody", "no access policy"),
    ],
)
def test_an_invalid_token_is_refused(
    namespace: Namespace, resource: str, key: bytes | None, expiry: int, policy: str, why: str
) -> None:
    token = sas.generate(resource, key or namespace.key.encode(), expiry, policy)
    with pytest.raises(sas.SasError, match=why):
        namespace.authorize(token, "sb://x/h")


@pytest.mark.parametrize("token", ["", "Bearer x", "SharedAccessSignature sr=a", "SharedAccessSignature sr=a&sig=b&se=x"])
def test_a_malformed_token_is_refused(token: str) -> None:
    with pytest.raises(sas.SasError):
        sas.parse(token)


def test_a_token_is_for_one_device_and_not_for_its_module(namespace: Namespace) -> None:
    def token(path: str, key_of: str, expiry: int = FUTURE) -> str:
        device = namespace.devices[path]
        return sas.generate(f"hub.net/{device.resource}", base64.b64decode(namespace.devices[key_of].key), expiry)

    assert namespace.authorize_device(token("edge-1/sender", "edge-1/sender"), "edge-1/sender")[0].module_id == "sender"
    for bad, path in (
        (token("edge-2", "edge-2"), "edge-1"),
        (token("edge-1", "edge-2"), "edge-1"),
        (token("edge-1", "edge-1/sender"), "edge-1/sender"),
        (token("edge-1", "edge-1", PAST), "edge-1"),
        (token("edge-1", "edge-1"), "stranger"),
    ):
        with pytest.raises(sas.SasError):
            namespace.authorize_device(bad, path)


def test_a_token_covers_what_is_below_its_resource() -> None:
    assert sas.covers("sb://x/hub", "Hub/ConsumerGroups/a/Partitions/0")
    assert sas.covers("sb://x/", "hub")
    assert not sas.covers("sb://x/hub", "hub2")
