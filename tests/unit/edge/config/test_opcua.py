"""Which servers an OPC UA source may name, and entries of a document that would mint ids under one name."""

from __future__ import annotations

from typing import Any

import pytest

from edge_sender.config.opcua import OpcUaConfig, normal
from edge_sender.config.sources import check_sources
from edge_sender.ports import SourceConfigError

A, B = "opc.tcp://plc-a:4840", "opc.tcp://plc-b:4840"
PLANT, OTHER = "urn:plant", "urn:other"
LINE_1, LINE_2 = {"path": "/Line 1/**"}, {"path": "/Line 2/**"}
SECURE = {"security_policy": "Basic256Sha256", "certificate": "c.pem", "private_key": "k.pem"}


def entry(name: str, **given: Any) -> dict[str, Any]:
    where = {} if "endpoints" in given else {"endpoint": A}
    chosen = {} if "nodes" in given else {"namespace_uri": PLANT}
    return {"name": name, "kind": "opcua", "identity": "source-time", **where, **chosen, **given}


def one(**given: Any) -> OpcUaConfig:
    source = check_sources({"sources": [entry("plc", **given)]}).sources[0]
    assert isinstance(source, OpcUaConfig)
    return source


def test_the_servers_of_a_source() -> None:
    assert one().servers == (A,)
    assert one(endpoints=[A, B]).servers == (A, B)
    one_for_all = one(endpoints=[A, B], server_certificate="s.pem", **SECURE)
    one_each = one(endpoints=[A, B], server_certificate=["a.pem", "b.pem"], **SECURE)
    assert [str(path) for path in one_for_all.server_certificates] == ["s.pem", "s.pem"]
    assert [str(path) for path in one_each.server_certificates] == ["a.pem", "b.pem"]
    second = one_each.only(1)
    assert (second.servers, [str(path) for path in second.server_certificates]) == ((B,), ["b.pem"])


def test_two_values_at_one_time_are_two_readings_unless_the_document_says_otherwise() -> None:
    aligned = {"sampling": "aligned", "interval_seconds": 1}

    def identity(**given: Any) -> str:
        document = {"name": "plc", "kind": "opcua", "endpoint": A, "namespace_uri": PLANT, **given}
        source = check_sources({"sources": [document]}).sources[0]
        return source.identity

    assert identity() == "source-time+value"
    assert identity(**aligned) == "source-time"
    assert identity(identity="source-time") == "source-time"
    assert identity(identity="*/n=sequence,*=time-bucket:1", **aligned) == "*/n=sequence,*=time-bucket:1"
    with pytest.raises(SourceConfigError, match="names no strategy"):
        identity(identity="")


@pytest.mark.parametrize("kind", ["synthetic", "mqtt", "file"])
def test_other_kinds_have_no_identity_that_would_suit_most_of_them(kind: str) -> None:
    with pytest.raises(SourceConfigError, match=rf"{kind}.identity: Field required"):
        check_sources({"sources": [{"name": "a", "kind": kind}]})


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"endpoint": None}, "either endpoint"),
        ({"endpoint": A, "endpoints": [B]}, "either endpoint"),
        ({"endpoints": []}, "either endpoint"),
        ({"endpoints": [A, "opc.tcp://PLC-A/"]}, "same server twice"),
        ({"endpoints": [A, "http://plc-b"]}, "pattern"),
        ({"endpoints": [A, "opc.tcp://user:word@plc-b"]}, "pattern"),
        ({"endpoints": [A, B], "server_certificate": ["a.pem"], **SECURE}, "one for each"),
        ({"server_uri": ""}, "URI without a fragment"),
        ({"server_uri": "plc-1"}, "URI without a fragment"),
        ({"server_uri": "urn:a#b"}, "URI without a fragment"),
        ({"server_uri": "urn:a b"}, "URI without a fragment"),
    ],
)
def test_what_does_not_say_which_servers_is_refused(given: dict[str, Any], why: str) -> None:
    with pytest.raises(SourceConfigError, match=why):
        one(**given)


@pytest.mark.parametrize(
    ("url", "same"),
    [("opc.tcp://PLC-a", True), ("opc.tcp://plc-a:4840/", True), ("opc.tcp://plc-a:4841", False), (f"{A}/x", False)],
)
def test_urls_of_one_endpoint(url: str, same: bool) -> None:
    assert (normal(url) == normal(A)) is same


def test_addresses_of_ipv6_are_told_apart() -> None:
    assert normal("opc.tcp://[fe80::1]") == normal("opc.tcp://[FE80::1]:4840") != normal("opc.tcp://[fe80::2]:4840")


SAME: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, {"endpoint": "opc.tcp://PLC-A"}),
    ({}, {"endpoints": [B, A]}),
    ({"server_uri": "urn:s"}, {"server_uri": "urn:s", "endpoint": B}),
    ({}, {"namespace_uri": PLANT, "nodes": {"include": [LINE_1]}}),
    ({"nodes": {}}, {}),
    ({"nodes": {}}, {"nodes": {"include": [LINE_1], "exclude": [LINE_2]}}),
    ({"nodes": {"include": [LINE_1]}}, {"nodes": {"include": [LINE_1]}}),
    ({"nodes": {"include": [LINE_1, LINE_2]}}, {"nodes": {"include": [LINE_1]}}),
    ({"nodes": {"include": [LINE_1], "exclude": [LINE_2]}}, {"nodes": {"include": [LINE_1], "exclude": [LINE_2]}}),
    ({"payload": "json"}, {"sampling_ms": 500}),
]
DIFFERENT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"endpoint": B}),
    ({}, {"endpoint": "opc.tcp://plc-a:4841"}),
    ({}, {"namespace_uri": OTHER}),
    ({}, {"identity": "content"}),
    ({"server_uri": "urn:s"}, {"server_uri": "urn:t"}),
    ({"server_uri": "urn:s"}, {}),
    ({"namespace_uri": PLANT, "nodes": {"exclude": [LINE_1]}}, {"namespace_uri": PLANT, "nodes": {"include": [LINE_1]}}),
    ({"nodes": {"include": [LINE_1]}}, {"nodes": {"include": [LINE_2]}}),
    ({}, {"nodes": {"include": [LINE_1]}}),
]


@pytest.mark.parametrize("entries", SAME)
@pytest.mark.parametrize("first", [0, 1])
def test_entries_that_would_mint_ids_under_one_name_are_refused(
    entries: tuple[dict[str, Any], dict[str, Any]], first: int
) -> None:
    document = {"sources": [entry("x", **entries[first]), entry("y", **entries[1 - first])]}
    with pytest.raises(SourceConfigError, match="x and y have the .*server_uri of their own"):
        check_sources(document)


@pytest.mark.parametrize("entries", DIFFERENT)
@pytest.mark.parametrize("first", [0, 1])
def test_entries_that_need_not_do_so_are_accepted(entries: tuple[dict[str, Any], dict[str, Any]], first: int) -> None:
    document = {"sources": [entry("x", **entries[first]), entry("y", **entries[1 - first])]}
    assert len(check_sources(document).sources) == 2
