"""Settings of the way to the hub: what does not fit together is named, and no secret is shown."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from edge_sender.bootstrap import make_iot_uplink
from edge_sender.config.names import replica_name
from edge_sender.config.settings import SettingsError, load
from tests.support.certificates import DeviceFiles

KEY = base64.b64encode(b"hunter2 hunter2 hunter2").decode()
BY_KEY = f"HostName=h;DeviceId=edge-a;SharedAccessKey={KEY}"
BY_CERTIFICATE = "HostName=h;DeviceId=edge-a;x509=true"
PAIR = {"certificate": "/c.pem", "private_key": "/c.key"}
DPS = {"uplink": "iot", "dps_id_scope": "0ne1", "dps_registration_id": "edge-a"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"http_proxy": "http://p:3128"}, "EDGE_HTTP_PROXY: .*edgeHub that needs the proxy"),
        (PAIR, "EDGE_CERTIFICATE: .*the runtime says who this module is"),
        ({"uplink": "iot", "connection_string": BY_CERTIFICATE}, "EDGE_CERTIFICATE: is required for .*x509=true"),
        ({"uplink": "iot", "connection_string": BY_KEY, **PAIR}, "EDGE_CERTIFICATE: is for .*x509=true"),
        ({"uplink": "iot", "connection_string": BY_CERTIFICATE, "certificate": "/c"}, "EDGE_PRIVATE_KEY: is missing"),
        ({"uplink": "iot", "connection_string": BY_KEY, "dps_key": KEY}, "EDGE_DPS_ID_SCOPE: is missing.*EDGE_DPS_KEY"),
        ({**DPS, "dps_registration_id": None, "dps_key": KEY}, "EDGE_DPS_REGISTRATION_ID: is required"),
        (DPS, "EDGE_DPS_KEY: .*one of EDGE_DPS_KEY, EDGE_DPS_GROUP_KEY and EDGE_CERTIFICATE"),
        ({**DPS, "dps_key": KEY, "dps_group_key": KEY}, "EDGE_DPS_KEY: .*one of"),
        ({**DPS, "dps_key": KEY, "connection_string": BY_KEY}, "EDGE_CONNECTION_STRING: is not for"),
        ({**DPS, "dps_key": "hunter2!"}, "EDGE_DPS_KEY: is not base64"),
        ({"ca_file": "/nowhere.pem"}, "EDGE_CA_FILE: /nowhere.pem can't be read as PEM certificates"),
        ({"ca_file": __file__}, "EDGE_CA_FILE: .* can't be read as PEM certificates"),
    ],
)
def test_what_does_not_fit_together_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        load(**given)
    assert "hunter2" not in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["p:3128", "https://p:3128", "http://", "http://p:x", "http://u:hunter2#@p:3128", "http://p/hunter2", "http://u@p"],
)
def test_a_proxy_is_a_url_and_its_password_is_not_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="EDGE_HTTP_PROXY: ") as caught:
        load(uplink="iot", connection_string=BY_KEY, http_proxy=url)
    assert "hunter2" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    settings = load(**DPS, dps_group_key=KEY, http_proxy="http://u:hunter2@p:3128")
    uplink = make_iot_uplink(settings)
    for shown in (repr(settings), repr(vars(uplink)), repr(uplink._login)):
        assert "hunter2" not in shown
        assert KEY not in shown
    assert replica_name(settings) == "edge-a/"


def test_a_certificate_whose_key_is_another_one_or_is_encrypted_stops_the_start(tmp_path: Path) -> None:
    files = DeviceFiles.in_folder(tmp_path).self_signed("edge-a")
    pair = {"certificate": files.certificate, "private_key": files.private_key}
    settings = load(uplink="iot", connection_string=BY_CERTIFICATE, **pair)
    key = serialization.load_pem_private_key(files.private_key.read_bytes(), None)
    files.private_key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"hunter2"),
        )
    )
    with pytest.raises(SettingsError, match="EDGE_CERTIFICATE: .* are no certificate and its key"):
        make_iot_uplink(settings)
    other = DeviceFiles.in_folder(tmp_path, "other").self_signed("edge-a")
    files.private_key.write_bytes(other.private_key.read_bytes())
    with pytest.raises(SettingsError, match="EDGE_CERTIFICATE: .* are no certificate and its key"):
        make_iot_uplink(settings)
