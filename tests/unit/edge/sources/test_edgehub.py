"""Messages of other modules become readings with the ids that any replica gives them, and go on with their properties."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_sender.buffering.batcher import Batcher, BatchLimits
from edge_sender.config.edgehub import EdgeHubConfig
from edge_sender.config.settings import SettingsError
from edge_sender.config.sources import check_sources
from edge_sender.counters import SourceTally
from edge_sender.identity.readings import Reading, batch, make_reading, single
from edge_sender.namesakes import Namesakes
from edge_sender.ports import ModuleMessage, SourceConfigError, UplinkError
from edge_sender.sources.edgehub.format import ModuleFormat
from edge_sender.sources.edgehub.source import REASONS, EdgeHubSource
from edge_sender.sources.make import make_trial
from edge_sender.sources.misfits import Misfit
from tests.doubles.intake import ListIntake
from tests.support.senders import until, until_running
from wire.formats.messages import Found, Message
from wire.formats.minting import Minted, mint
from wire.formats.opc_publisher import OpcPublisher
from wire.ids import Sample, SourceTimeValue

SOURCE: dict[str, Any] = {"name": "plant", "kind": "edgehub", "input": "plant", "format": "opc-publisher"}
PUBLISHED = {"$$ContentType": "application/x-network-message-json-v1", "$$ContentEncoding": "utf-8", "line": "3"}


def network_message(*values: float, name: str = "T", server: str = "gw-1") -> bytes:
    sets = [
        {
            "DataSetWriterName": "w",
            "MessageType": "ua-deltaframe",
            "SequenceNumber": number,
            "Payload": {name: {"Value": value, "SourceTimestamp": f"2026-03-02T08:15:{number:02}.1Z"}},
        }
        for number, value in enumerate(values)
    ]
    return json.dumps({"MessageType": "ua-data", "PublisherId": server, "Messages": sets}).encode()


def message(body: bytes, properties: dict[str, str] | None = None, **given: Any) -> ModuleMessage:
    values = {"input": "plant", "content_type": None, "content_encoding": None, "system": {}, **given}
    return ModuleMessage(body=body, properties=PUBLISHED if properties is None else properties, **values)


def config(**changed: Any) -> EdgeHubConfig:
    (source,) = check_sources({"sources": [{**SOURCE, **changed}]}).sources
    assert isinstance(source, EdgeHubConfig)
    return source


def form_of(**changed: Any) -> ModuleFormat:
    made = config(**changed)
    return ModuleFormat(made.format, made.options, made.uri_prefix, made.data)


def samples(one: ModuleMessage, **changed: Any) -> list[Sample]:
    found = list(form_of(**changed).samples(one))
    assert not [item for item in found if isinstance(item, Misfit)]
    return [item for item in found if isinstance(item, Sample)]


def readings(one: ModuleMessage, **changed: Any) -> list[Reading]:
    return [make_reading(sample, config(**changed).rules, "reading") for sample in samples(one, **changed)]


# --- what a reading is


def test_a_reading_has_the_id_that_the_service_would_mint_and_its_part_of_the_message() -> None:
    body = network_message(21.5, 22.0)
    found = [part for part in OpcPublisher().read(Message(body)) if isinstance(part, Found)]
    made = readings(message(body))
    minted = [mint(part, SourceTimeValue()) for part in found]
    assert [reading.attributes["id"] for reading in made] == [key.id for key in minted if isinstance(key, Minted)]
    assert [reading.attributes["source"] for reading in made] == ["server#/w/T", "server#/w/T"]
    assert made[0].attributes["time"] == "2026-03-02T08:15:00.100000Z"
    assert [json.loads(reading.data) for reading in made] == [
        {"Value": value, "SourceTimestamp": f"2026-03-02T08:15:{number:02}.1Z"} for number, value in enumerate((21.5, 22.0))
    ]


def test_two_gateways_that_batch_and_compress_differently_give_the_same_readings() -> None:
    together = readings(message(gzip.compress(network_message(1.0, 2.0, server="gw-1"))))
    apart = readings(message(network_message(1.0, 2.0, server="gw-2").decode().encode("utf-16-le")))
    assert [(one.attributes, one.data) for one in together] == [(one.attributes, one.data) for one in apart]


def test_of_the_data_only_what_copies_agree_on_may_be_sent() -> None:
    (reading,) = readings(message(network_message(21.5)), data="value")
    assert reading.data == b'{"value":21.5,"status":0}'


def test_an_event_goes_by_what_it_says_whatever_the_strategy_of_values_is() -> None:
    payload = {"EventId": {"Value": "q83vAQ=="}, "Time": {"Value": "2026-03-02T08:15:00Z"}, "Severity": {"Value": 5}}
    body = json.dumps({"MessageType": "ua-data", "Messages": [{"MessageType": "ua-event", "Payload": payload}]}).encode()
    (reading,) = readings(message(body))
    (part,) = OpcPublisher().read(Message(body))
    assert isinstance(part, Found)
    assert part.is_event
    key = mint(part, SourceTimeValue())
    assert isinstance(key, Minted)
    assert reading.attributes["id"] == key.id


def test_names_become_uris_such_that_no_two_become_one() -> None:
    options = {"source": ["/tag"], "time": "/t", "value": ["/v"]}
    names = ["Ofen 3", "Ofen%203", "a/b"]
    bodies = [json.dumps({"tag": name, "v": 1, "t": "2026-03-02T08:15:00Z"}).encode() for name in names]
    changed = {"format": "json", "format_options": options, "uri_prefix": "urn:x:"}
    found = [samples(message(body), **changed)[0] for body in bodies]
    assert len({sample.source for sample in found}) == 3
    assert found[0].source == "urn:x:Ofen%203"
    assert found[1].source == "urn:x:Ofen%25203"


# --- its properties


def test_the_properties_stay_except_those_that_describe_the_body() -> None:
    (reading,) = readings(message(network_message(1.0)))
    kept = {"$$ContentEncoding": "utf-8", "line": "3"}
    assert batch([reading]).properties == kept
    properties = single(reading).properties
    assert {name: value for name, value in properties.items() if not name.startswith("cloudEvents_")} == kept
    assert properties["cloudEvents_id"] == reading.attributes["id"]


def test_attributes_of_a_message_that_is_a_cloud_event_are_not_those_of_its_readings() -> None:
    event = {"specversion": "1.0", "id": "guid", "source": "urn:plc", "type": "t", "line": "3", "cloudEvents_id": "forged"}
    (reading,) = readings(message(network_message(1.0), event))
    assert batch([reading]).properties == {"line": "3"}
    assert reading.attributes["source"].startswith("urn:plc#")


def test_readings_with_other_properties_go_in_another_message() -> None:
    one, other = (readings(message(network_message(1.0), {"line": line}))[0] for line in ("1", "2"))
    batcher = Batcher(BatchLimits(10, 4096, 1.0))
    parcels = [parcel for reading in (one, one, other) for parcel in batcher.add(reading, None, 0.0)] + batcher.flush()
    assert [(parcel.message.properties, parcel.message.readings) for parcel in parcels] == [
        ({"line": "1"}, 2),
        ({"line": "2"}, 1),
    ]


@settings(deadline=None)  # the first example loads a library
@given(st.dictionaries(st.text(st.characters(), min_size=1), st.text(st.characters())))
def test_whatever_properties_hold_the_reading_stays_whole(properties: dict[str, str]) -> None:
    (reading,) = readings(message(network_message(1.0), properties))
    (event,) = json.loads(batch([reading]).body)
    assert event["id"] == reading.attributes["id"]
    assert batch([reading]).properties.items() <= properties.items()


# --- what is no reading


class OneInput:
    """The inputs port; `send` delivers."""

    def __init__(self) -> None:
        self.take: Callable[[ModuleMessage], None] | None = None
        self.failure: str | None = None

    @contextmanager
    def listening(self, name: str, take: Callable[[ModuleMessage], None]) -> Iterator[None]:
        self.take = take
        yield

    async def subscribe(self) -> None:
        if self.failure is not None:
            raise UplinkError(self.failure)


async def test_what_becomes_no_reading_is_counted_by_reason_and_the_rest_arrives() -> None:
    inputs, intake = OneInput(), ListIntake()
    source = EdgeHubSource("plant", "plant", form_of(), inputs)
    bodies = [
        network_message(1.0),
        b"{",
        gzip.compress(b"x" * 20)[:-9],
        b'{"MessageType":"ua-metadata"}',
        b'{"MessageType":"ua-data","Messages":[{"MessageType":"ua-deltaframe","Payload":{"T":{"Value":1}}}]}',
        network_message(2.0, name="ö/ß"),
    ]
    async with until_running(source.run(intake)):
        await until(lambda: source.is_up, "it is not up")
        assert inputs.take is not None
        for body in bodies:
            inputs.take(message(body))
        inputs.take(message(network_message(3.0), input="elsewhere"))
    assert [sample.source for sample in intake.samples] == ["server#/w/T", "server#/w/%C3%B6%2F%C3%9F"]
    assert source.skipped == {"no-reading": 1, "refused": 2, "unreadable": 1, "other-input": 1}
    assert set(source.skipped) == set(REASONS)
    assert source.notice is not None
    assert "elsewhere" in source.notice


async def test_it_is_up_while_its_input_is_heard_and_says_why_not() -> None:
    inputs = OneInput()
    inputs.failure = "not connected yet"
    source = EdgeHubSource("plant", "plant", form_of(), inputs)
    async with until_running(source.run(ListIntake())):
        assert not source.is_up
        inputs.failure = None
        await until(lambda: source.is_up, "it is not up")
        inputs.failure = "gone"
        await until(lambda: not source.is_up, "it is still up")
    assert source.problem == "gone"


async def test_beside_a_running_sender_it_takes_nothing_and_says_so() -> None:
    source = make_trial(config(), "c", SourceTally(), Namesakes())
    async with until_running(source.run(ListIntake())):
        await until(lambda: "beside it" in str(getattr(source, "problem", "")), "it does not say why")
    assert not source.is_up


# --- settings


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"format": "nonsense"}, "'nonsense' is not one of azure-iot-operations"),
        ({"format_options": {"constants": "x"}}, "format_options: .*constants"),
        ({"uri_prefix": "a b"}, "not the beginning of a URI; perhaps 'a%20b'"),
        ({"uri_prefix": "urn:x#"}, "not the beginning of a URI"),
        ({"input": "a/b"}, "pattern"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changed: dict[str, Any], expected: str) -> None:
    with pytest.raises(SourceConfigError, match=expected):
        config(**changed)


def test_an_input_has_one_source_and_the_identity_is_that_of_the_format() -> None:
    with pytest.raises(SourceConfigError, match="the input plant is given to two sources"):
        check_sources({"sources": [SOURCE, {**SOURCE, "name": "other"}]})
    assert [config(format=name).identity for name in ("opc-publisher", "kepware")] == ["source-time+value", "time-bucket:1"]
    assert config(identity="content").identity == "content"


@pytest.mark.parametrize("connection_string", ["HostName=h;DeviceId=d;SharedAccessKey=a", None])
def test_only_a_module_has_inputs(connection_string: str | None) -> None:
    from edge_sender.bootstrap import configured_sources
    from edge_sender.config.settings import load

    document = check_sources({"sources": [SOURCE]})
    if connection_string is None:
        assert configured_sources(load(), document, Namesakes())
        return
    with pytest.raises(SettingsError, match="EDGE_UPLINK: source plant is of kind edgehub"):
        configured_sources(load(uplink="iot", connection_string=connection_string), document, Namesakes())
