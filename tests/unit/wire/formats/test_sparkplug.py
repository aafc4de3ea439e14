"""What an alias stands for says the last birth of its session, and nothing else."""

from __future__ import annotations

from wire.formats.messages import Found, Message, NotReading, Part, Refused
from wire.formats.sparkplug import Sparkplug, SparkplugOptions

TEMPERATURE, PRESSURE = b"\x0a\x01T\x10\x01", b"\x0a\x01P\x10\x01"
"""Metrics with a name and the alias 1."""
DATA = b"\x10\x01\x18\x05\x50\x07"
"""The alias 1, a time, and the value 7."""


def read(form: Sparkplug, topic: str, metric: bytes = b"", device: str = "gw-a") -> Part:
    body = b"\x12" + bytes([len(metric)]) + metric if metric else b""
    annotations = {"iothub-connection-device-id": device}
    (part,) = form.read(Message(body, properties={"topic": f"spBv1.0/G/{topic}"}, annotations=annotations))
    return part


def source(part: Part) -> str | None:
    return part.source if isinstance(part, Found) else None


def test_data_before_a_birth_cannot_be_named() -> None:
    part = read(Sparkplug(SparkplugOptions()), "NDATA/E", DATA)
    assert isinstance(part, Refused)
    assert part.reason == "no-source"


def test_the_last_birth_of_the_session_counts() -> None:
    form = Sparkplug(SparkplugOptions())
    assert read(form, "NBIRTH/E", TEMPERATURE) == NotReading((), "birth")
    assert source(read(form, "NDATA/E", DATA)) == "G/E//T"
    read(form, "NBIRTH/E", PRESSURE)
    assert source(read(form, "NDATA/E", DATA)) == "G/E//P"


def test_sessions_of_other_nodes_devices_and_gateways_are_others() -> None:
    form = Sparkplug(SparkplugOptions())
    read(form, "NBIRTH/E", TEMPERATURE)
    read(form, "DBIRTH/E/D", PRESSURE)
    assert source(read(form, "DDATA/E/D", DATA)) == "G/E/D/P"
    assert source(read(form, "NDATA/E", DATA)) == "G/E//T"
    assert source(read(form, "NDATA/F", DATA)) is None
    assert source(read(form, "NDATA/E", DATA, device="gw-b")) is None


def test_a_node_that_begins_or_ends_a_session_ends_those_of_its_devices() -> None:
    for topic in ("NBIRTH/E", "NDEATH/E", "DDEATH/E/D"):
        form = Sparkplug(SparkplugOptions())
        read(form, "DBIRTH/E/D", PRESSURE)
        read(form, topic, TEMPERATURE)
        assert source(read(form, "DDATA/E/D", DATA)) is None


def test_a_compressed_payload_passes_whole_also_with_the_metric_that_names_its_algorithm() -> None:
    """That metric has a time of its own in some versions, and would be taken for a reading."""
    algorithm = b"\x0a\x09algorithm\x18\x05\x20\x0c\x7a\x07DEFLATE"
    uuid = b"\x22\x12SPBV1.0_COMPRESSED"
    for metrics in (b"", b"\x12" + bytes([len(algorithm)]) + algorithm):
        message = Message(metrics + uuid + b"\x2a\x01x", properties={"topic": "spBv1.0/G/NDATA/E"})
        assert list(Sparkplug(SparkplugOptions()).read(message)) == [NotReading((), "compressed")]


def test_a_uuid_of_another_kind_does_not_hide_the_readings() -> None:
    metric = b"\x0a\x01T\x18\x05\x50\x07"
    message = Message(b"\x12\x07" + metric + b"\x22\x01x", properties={"topic": "spBv1.0/G/NDATA/E"})
    assert [source(part) for part in Sparkplug(SparkplugOptions()).read(message)] == ["G/E//T"]
