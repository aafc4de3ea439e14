"""Which settings of an MQTT source are refused, and client ids that no two sources share."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sender.config.names import client_id_of, replica_name
from edge_sender.config.settings import load
from edge_sender.config.sources import check_sources
from edge_sender.ports import SourceConfigError
from edge_sender.sources.mqtt.format import MqttFormat
from edge_sender.sources.mqtt.retained import RetainedFilter

SOURCE = {"name": "m", "kind": "mqtt", "host": "broker", "topics": ["a"], "uri_prefix": "mqtt://x/", "identity": "content"}
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"topics": ["$share/edges/#"]}, "shared subscription: the broker would give each message to one replica only"),
        ({"uri_prefix": "mqtt://größe/"}, "perhaps 'mqtt://gr%C3%B6%C3%9Fe/'"),
        ({"uri_prefix": "a b"}, "not the beginning of a URI"),
        ({"session_expiry_seconds": 60}, 'needs version: "5"'),
        ({"certificate": "a.pem"}, "go together"),
        ({"ca_file": "a.pem"}, "ca_file needs tls: true"),
        ({"certificate": "a.pem", "private_key": "a.key"}, "certificate needs tls: true"),
        ({"websocket_path": "mqtt"}, "pattern"),
        ({"retained": "never"}, "retained"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceConfigError, match=message):
        check_sources({"sources": [{**SOURCE, **changed}]})


@given(NAMES, NAMES, NAMES, NAMES)
def test_no_two_sources_of_any_replicas_share_a_client_id(one: str, two: str, three: str, four: str) -> None:
    ids = {client_id_of(*names) for names in {(one, two), (three, four), (one + two, ""), ("", one + two)}}
    assert len(ids) == len({(one, two), (three, four), (one + two, ""), ("", one + two)})
    assert all(name.isascii() and name.replace("-", "").isalnum() and len(name) < 80 for name in ids)


def test_the_name_of_a_replica_is_that_of_its_device_and_module(monkeypatch: pytest.MonkeyPatch) -> None:
    assert replica_name(load(replica="edge-a")) == "edge-a"
    with_device = load(uplink="iot", connection_string="HostName=h;DeviceId=d1;ModuleId=m1;SharedAccessKey=a=b=")
    assert replica_name(with_device) == "d1/m1"
    monkeypatch.setenv("IOTEDGE_DEVICEID", "d2")
    monkeypatch.setenv("IOTEDGE_MODULEID", "m2")
    assert replica_name(load()) == "d2/m2"


def test_times_come_from_the_number_as_it_stands() -> None:
    form = MqttFormat(("#",), "urn:x:", "at", "s")
    assert form.sample("t", b'{"at": 1700000000.123456789}').time_ns == 1_700_000_000_123_456_789
    assert form.sample("t", b'{"at": null}').time_ns is None
    with pytest.raises(ValueError, match="not a URI reference"):
        MqttFormat(("#",), "x:", None, "s").sample("//a:b/c", b"1")


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans())))
def test_a_retained_message_is_new_unless_it_is_its_topics_last(messages: list[tuple[int, int, bool]]) -> None:
    once, skip, take = RetainedFilter("once"), RetainedFilter("skip"), RetainedFilter("take")
    last: dict[int, int] = {}
    for topic, payload, is_retained in messages:
        found = [kept.is_new(str(topic), bytes([payload]), is_retained=is_retained) for kept in (once, skip, take)]
        assert found == [not (is_retained and last.get(topic) == payload), not is_retained, True]
        last[topic] = payload
