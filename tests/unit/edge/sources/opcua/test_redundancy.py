"""Which of several servers is preferred, and what their names tell."""

from __future__ import annotations

import pytest
from asyncua import ua

from edge_sender.namesakes import Names, Namesakes
from edge_sender.sources.opcua.addresses import addresses_of
from edge_sender.sources.opcua.capabilities import Health
from edge_sender.sources.opcua.redundancy import Redundancy
from edge_sender.sources.opcua.servers import Server, healthier, preferred, unlike


def found(*levels: int | None) -> dict[Server, Health]:
    return {Server(str(number)): Health(level, False, "urn:s") for number, level in enumerate(levels)}


@pytest.mark.parametrize(
    ("levels", "best"),
    [
        ((), None),
        ((0,), "0"),
        ((200, 255), "0"),
        ((199, 200), "1"),
        ((None, 255), "0"),
        ((1, 150, 100), "1"),
        ((100, None), "1"),
    ],
)
def test_the_first_healthy_server_is_preferred(levels: tuple[int | None, ...], best: str | None) -> None:
    server = preferred(found(*levels))
    assert (None if server is None else server.url) == best


@pytest.mark.parametrize(
    ("level", "others", "better"),
    [
        (255, (255,), None),
        (200, (255,), None),
        (199, (255,), "0"),
        (199, (199,), None),
        (100, (50, 150), "1"),
        (1, (0,), None),
        (0, (1, 2), "1"),
        (100, (None,), None),  # it does not say that it has a higher one
        (None, (255,), None),
    ],
)
def test_only_a_low_level_is_left_and_only_for_a_higher_one(
    level: int | None, others: tuple[int | None, ...], better: str | None
) -> None:
    server = healthier(found(*others), level)
    assert (None if server is None else server.url) == better


def test_servers_are_tried_in_their_order_and_one_that_serves_begins_a_new_round() -> None:
    servers = [Server(url) for url in "abc"]
    redundancy = Redundancy(servers, is_named=True)
    tried = [(redundancy.current.url, redundancy.next()) for _ in range(4)]
    assert tried == [("a", False), ("b", False), ("c", True), ("a", False)]
    assert not redundancy.serves(servers[0])
    assert [redundancy.next() for _ in range(3)] == [False, False, True]


def test_another_server_than_the_last_that_was_read_is_a_fail_over() -> None:
    a, b = (Server(url) for url in "ab")
    redundancy = Redundancy([a, b], is_named=True)
    assert [redundancy.serves(server) for server in (b, b, a, a, b)] == [False, False, True, False, True]


def test_application_uris_that_differ_are_told_with_what_to_set() -> None:
    a, b, unknown = (
        Server("opc.tcp://a", stated_uri="urn:a"),
        Server("opc.tcp://b", stated_uri="urn:b"),
        Server("opc.tcp://c"),
    )
    assert unlike([a, unknown]) is None
    assert unlike([a, Server("opc.tcp://d", stated_uri="urn:a")]) is None
    text = unlike([a, b, unknown])
    assert text is not None
    assert "opc.tcp://a (urn:a) and opc.tcp://b (urn:b)" in text
    assert "set server_uri" in text


def test_the_given_name_takes_the_place_of_the_server_s_own_in_its_namespace_too() -> None:
    uris = []
    for stated in ("urn:left", "urn:right"):
        addresses = addresses_of([stated], ["http://opcfoundation.org/UA/", stated, "urn:plant"], "urn:pair")
        own = ua.ExpandedNodeId("x", NamespaceIndex=0, NamespaceUri=stated)
        assert addresses.local(own) == ua.NodeId("x", 1)
        uris.append([addresses.source_uri(ua.NodeId("x", index)) for index in (1, 2)])
    assert uris[0] == uris[1] == ["urn:pair#nsu=urn:pair;s=x", "urn:pair#nsu=urn:plant;s=x"]


@pytest.mark.parametrize("servers", [None, [], [None], [""], "urn:text"])
def test_a_server_without_a_name_needs_a_given_one(servers: object) -> None:
    with pytest.raises(ua.UaError, match="set server_uri"):
        addresses_of(servers, ["", "urn:plant"])
    assert addresses_of(servers, ["", "urn:plant"], "urn:s").source_uri(ua.NodeId(1, 1)) == "urn:s#nsu=urn:plant;i=1"


def names(endpoint: str, *variables: str, uri: str = "urn:s", is_given: bool = False) -> Names:
    return Names((endpoint,), uri, is_given, lambda: {f"{uri}#{variable}" for variable in variables})


@pytest.mark.parametrize(
    ("one", "two", "text"),
    [
        (
            names("opc.tcp://a", "x", "y"),
            names("opc.tcp://b", "y", "z"),
            "1 variables of the same source URI, for example urn:s#y",
        ),
        (names("opc.tcp://a", "x"), names("opc.tcp://a", "x"), "1 variables of the same source URI"),
        (names("opc.tcp://a", "x", is_given=True), names("opc.tcp://b", "x", is_given=True), "1 variables of the same"),
        (names("opc.tcp://a", "x"), names("opc.tcp://b", "z"), "have one application URI"),
        (names("opc.tcp://a", "x"), names("opc.tcp://A:4840/", "z"), None),
        (names("opc.tcp://a", "x", is_given=True), names("opc.tcp://b", "z", is_given=True), None),
        (names("opc.tcp://a", "x"), names("opc.tcp://b", "x", uri="urn:t"), None),
    ],
)
def test_sources_with_one_name_are_told(one: Names, two: Names, text: str | None) -> None:
    namesakes = Namesakes()
    namesakes.tell("left", one)
    assert namesakes.notices("left") == []
    namesakes.tell("right", two)
    for source in ("left", "right"):
        told = namesakes.notices(source)
        assert len(told) == (0 if text is None else 1)
        assert text is None or text in told[0]
    namesakes.tell("right", names("opc.tcp://c", uri="urn:other"))
    assert namesakes.notices("left") == namesakes.notices("right") == []
