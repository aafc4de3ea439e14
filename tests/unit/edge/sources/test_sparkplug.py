"""Sparkplug B on a broker: which metrics become samples, what is counted, and when an edge node is asked for its births."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_sender.config.sources import check_sources, is_probed
from edge_sender.identity.readings import make_reading
from edge_sender.identity.rules import parse_rules
from edge_sender.ports import SourceConfigError
from edge_sender.sources.misfits import Misfit
from edge_sender.sources.mqtt.sparkplug import MOST_NODES, REBIRTH_SECONDS, SparkplugFormat
from tests.support.sparkplug import AT_MS, metric, payload
from wire.formats.protobuf import fields
from wire.ids import Sample

SOURCE: dict[str, Any] = {
    "name": "m",
    "kind": "mqtt",
    "host": "broker",
    "topics": ["spBv1.0/#"],
    "uri_prefix": "urn:plant:",
    "payload": "sparkplug",
    "identity": "source-time+value",
}


class Broker:
    """Delivers messages to the format, and moves its clock."""

    def __init__(self, *, asks: bool = False) -> None:
        self.now = 0.0
        self.form = SparkplugFormat(("spBv1.0/#",), "urn:plant:", lambda: self.now, asks=asks)

    def deliver(self, kind: str, seq: int, *metrics: bytes, node: str = "press", device: str = "") -> list[Sample | Misfit]:
        topic = f"spBv1.0/line 1/{kind}/{node}" + (f"/{device}" if device else "")
        return list(self.form.samples(topic, payload(seq, *metrics)))


def reasons(found: list[Sample | Misfit]) -> list[str]:
    return [item.reason for item in found if isinstance(item, Misfit)]


def test_metrics_are_named_by_the_birth_and_stamped_by_their_edge_node() -> None:
    broker = Broker()
    assert reasons(broker.deliver("DBIRTH", 1, metric(1.0, name="T °C", alias=7), device="d-1")) == ["no-reading"]
    (sample,) = broker.deliver("DDATA", 2, metric(21.5, alias=7), device="d-1")
    assert isinstance(sample, Sample)
    assert (sample.source, sample.time_ns, sample.value) == ("urn:plant:line%201/press/d-1/T%20%C2%B0C", AT_MS * 10**6, 21.5)
    reading = make_reading(sample, parse_rules("source-time+value"), "reading")
    assert reading.data == b'{"value":21.5}'
    again = Broker()
    again.deliver("DBIRTH", 9, metric(1.0, name="T °C", alias=3), device="d-1")
    (copy,) = again.deliver("DDATA", 10, metric(21.5, alias=3), device="d-1")
    assert isinstance(copy, Sample)
    assert make_reading(copy, parse_rules("source-time+value"), "reading") == reading  # aliases and seq are a session's


def test_an_alias_before_its_birth_is_counted_and_a_metric_with_a_name_is_not() -> None:
    found = Broker().deliver("NDATA", 5, metric(1.0, alias=7), metric(2.0, name="P"))
    assert reasons(found) == ["unknown-alias"]
    assert [item.value for item in found if isinstance(item, Sample)] == [2.0]


def test_messages_that_are_missing_are_counted_for_each_edge_node() -> None:
    broker = Broker()
    for seq in (254, 255, 0, 0, 1):  # it starts over, and a broker repeats
        assert reasons(broker.deliver("NDATA", seq, metric(seq, name="T"))) == []
    assert reasons(broker.deliver("DDATA", 4, metric(1.0, name="T"), device="d")) == ["gap", "gap"]
    assert reasons(broker.deliver("NDATA", 77, metric(1.0, name="T"), node="other")) == []
    assert reasons(broker.deliver("NBIRTH", 0)) == ["no-reading"]
    assert reasons(broker.deliver("NDATA", 1, metric(1.0, name="T"))) == []


def test_an_edge_node_is_asked_only_by_a_setting_and_once_a_minute() -> None:
    silent, asking = Broker(), Broker(asks=True)
    for broker in (silent, asking):
        broker.deliver("NDATA", 5, metric(1.0, alias=7), metric(1.0, alias=8))
    assert silent.form.commands() == []
    ((topic, command),) = asking.form.commands()
    assert topic == "spBv1.0/line 1/NCMD/press"
    (asked,) = [part.value for part in fields(command) if part.number == 2]
    assert isinstance(asked, bytes)
    assert {part.number: part.value for part in fields(asked)} == {1: b"Node Control/Rebirth", 4: 11, 14: 1}
    asking.deliver("NDATA", 9, metric(1.0, name="T"))  # a gap
    assert asking.form.commands() == []
    asking.now = REBIRTH_SECONDS
    asking.deliver("NDATA", 12, metric(1.0, name="T"))
    assert len(asking.form.commands()) == 1


@given(st.text(), st.binary())
def test_whatever_a_broker_delivers_is_a_sample_or_counted(topic: str, body: bytes) -> None:
    for form in (Broker(asks=True).form,):
        found = [*form.samples(topic, body), *form.samples(f"spBv1.0/g/NDATA/{topic}", body)]
        assert found
        assert set(reasons(found)) <= {"unusable", *form.reasons}


def test_edge_nodes_that_nobody_knows_do_not_fill_the_memory() -> None:
    broker = Broker(asks=True)
    for number in range(MOST_NODES + 10):
        broker.deliver("NDATA", 1, metric(1.0, alias=1), node=f"n{number}")
    assert max(len(broker.form._last_seq), len(broker.form._asked)) == MOST_NODES


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"payload": "json", "rebirth": True}, "rebirth needs payload: sparkplug"),
        ({"time": "at"}, "time is for payload: json"),
        ({"payload": "avro"}, "payload"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(SourceConfigError, match=expected):
        check_sources({"sources": [{**SOURCE, **changed}]})


def test_it_needs_no_second_subscription_to_check_its_ids() -> None:
    (source,) = check_sources({"sources": [SOURCE]}).sources
    assert not is_probed(source)
