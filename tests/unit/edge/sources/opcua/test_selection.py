"""Which variables are chosen by which rules, and with which settings."""

from __future__ import annotations

from typing import Any

import pytest
from asyncua import ua

from edge_sender.config.nodes import NodeRule
from edge_sender.config.opcua import OpcUaConfig
from edge_sender.config.sources import check_sources
from edge_sender.ports import SourceConfigError
from edge_sender.sources.opcua.addresses import Addresses, key
from edge_sender.sources.opcua.browsing import OBJECTS, AddressSpace, Node
from edge_sender.sources.opcua.items import Deadband, ItemSettings
from edge_sender.sources.opcua.selection import matching, select

PLANT = "urn:plant"
PRESS, OVEN = "nsu=urn:plant;s=PressType", "nsu=urn:plant;s=OvenType"
ANALOG = "nsu=http://opcfoundation.org/UA/;i=2368"
TREE: dict[str, list[tuple[str, str]]] = {
    "Objects": [("Line 1", "L1"), ("Line 2", "L2"), ("a/b*&", "odd")],
    "L1": [("Press", "P1"), ("Oven", "O1")],
    "L2": [("Press", "P2"), ("Again", "L1")],
    "P1": [("Speed", "P1.speed"), ("State", "P1.state")],
    "P2": [("Speed", "P2.speed"), ("Line", "L2")],
    "P1.speed": [("Limit", "P1.speed.limit")],
    "O1": [("Speed", "O1.speed")],
}
"""With a node that has two paths, and a circle."""
VARIABLES = {"odd", "P1.speed", "P1.state", "P1.speed.limit", "P2.speed", "O1.speed"}
TYPES = {"P1": PRESS, "P2": PRESS, "O1": OVEN, "P1.speed": ANALOG}


def where(name: str) -> tuple[int, Any]:
    return OBJECTS if name == "Objects" else key(ua.NodeId(name, 1))


def space() -> AddressSpace:
    one = AddressSpace(Addresses("urn:server", ("http://opcfoundation.org/UA/", PLANT, "urn:other")))
    names = {child for children in TREE.values() for _, child in children}
    for name in sorted(names):
        one.nodes[where(name)] = Node(ua.NodeId(name, 1), name in VARIABLES, TYPES.get(name, ""))
    one.nodes[2, "P1.speed"] = Node(ua.NodeId("P1.speed", 2), True, "")
    for parent, children in TREE.items():
        one.children[where(parent)] = [(name, where(child)) for name, child in children]
    return one


def found(rule: dict[str, str]) -> set[str]:
    return {name for index, name in matching(NodeRule.model_validate({"namespace": PLANT, **rule}), space()) if index == 1}


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ({"node": "nsu=urn:plant;s=P1.speed"}, {"P1.speed"}),
        ({"node": "nsu=urn:plant;s=P1.*"}, {"P1.speed", "P1.state", "P1.speed.limit"}),
        ({"node": "nsu=urn:*;s=*.speed"}, {"P1.speed", "P2.speed", "O1.speed"}),
        ({"node": "nsu=urn:plant;s=P1"}, set()),
        ({"path": "/Line 1/Press/Speed"}, {"P1.speed"}),
        ({"path": "/*/*/Speed"}, {"P1.speed", "P2.speed"} | {"O1.speed"}),
        ({"path": "/Line 2/**/Speed"}, {"P1.speed", "P2.speed", "O1.speed"}),
        ({"path": "/Line 2/Again/Press/S*"}, {"P1.speed", "P1.state"}),
        ({"path": "/Line 2/Press/Line/Press/Line/Press/Speed"}, {"P2.speed"}),
        ({"path": "/**/Speed/**"}, {"P1.speed", "P1.speed.limit", "P2.speed", "O1.speed"}),
        ({"path": "/**"}, VARIABLES),
        ({"path": "/a&/b&*&&"}, {"odd"}),
        ({"path": "/a&/*"}, {"odd"}),
        ({"folder": "nsu=urn:plant;s=L1"}, VARIABLES - {"odd", "P2.speed"}),
        ({"folder": "nsu=urn:plant;s=P2"}, VARIABLES - {"odd"}),
        ({"type": OVEN}, {"O1.speed"}),
        ({"type": ANALOG}, {"P1.speed", "P1.speed.limit"}),
        ({"type": PRESS, "path": "/Line 1/**/Speed"}, {"P1.speed", "O1.speed"}),
        ({"namespace": "urn:*"}, VARIABLES),
        ({"namespace": "urn:other"}, set()),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_a_rule_matches(rule: dict[str, str], names: set[str]) -> None:
    """In this tree everything of line 1 is also below the press of line 2, by way of the circle."""
    assert found(rule) == names


def config(**given: Any) -> OpcUaConfig:
    document = {"name": "plc", "kind": "opcua", "endpoint": "opc.tcp://plc", "identity": "source-time", **given}
    one = check_sources({"sources": [document]}).sources[0]
    assert isinstance(one, OpcUaConfig)
    return one


def chosen(**given: Any) -> set[str]:
    return {item.uri.rpartition("#nsu=")[2] for item in select(space(), config(**given))}


def test_includes_are_added_and_excludes_taken_away() -> None:
    rules = {
        "include": [{"path": "/Line 1/Press/**"}, {"type": OVEN}],
        "exclude": [{"node": "nsu=urn:plant;s=*limit"}],
    }
    assert chosen(nodes=rules) == {"urn:plant;s=P1.speed", "urn:plant;s=P1.state", "urn:plant;s=O1.speed"}
    assert chosen(nodes=rules, namespace_uri="urn:other") == set()
    assert chosen(namespace_uri="urn:other") == {"urn:other;s=P1.speed"}
    assert len(chosen(nodes={})) == len(VARIABLES) + 1


def test_the_first_override_that_matches_decides_and_the_rest_is_as_for_all() -> None:
    overrides = [
        {"node": "nsu=urn:plant;s=P1.speed", "sampling_ms": 10, "deadband": "2%", "heartbeat_seconds": 60},
        {"path": "/**/Speed", "publishing_ms": 1000, "trigger": "status", "queue_size": 1, "deadband": 0},
    ]
    one = config(namespace_uri=PLANT, sampling_ms=500, deadband=0.5, nodes={"overrides": overrides})
    settings = {item.where[1]: item.asked for item in select(space(), one)}
    common = ItemSettings(sampling_ms=500, deadband=Deadband(0.5, False))
    assert settings["P1.state"] == common
    assert settings["P1.speed"] == ItemSettings(10, deadband=Deadband(2, True), heartbeat_seconds=60)
    assert settings["P2.speed"] == ItemSettings(500, 1000, 1, "status")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "choose variables by namespace_uri, by nodes, or by both"),
        ({"nodes": {"includes": []}}, r"nodes.includes: Extra inputs are not permitted"),
        ({"nodes": {"include": [{}]}}, r"nodes.include\[0\]: a rule has at least one of"),
        ({"nodes": {"include": [{"node": "ns=2;s=a"}]}}, r"nodes.include\[0\].node: write the namespace's URI"),
        ({"nodes": {"exclude": [{"path": "Line 1"}]}}, r"nodes.exclude\[0\].path: a path begins with /"),
        ({"nodes": {"exclude": [{"path": "/a//b"}]}}, r"a path has no empty levels"),
        ({"nodes": {"overrides": [{"namespace": "urn:a", "sampling": 5}]}}, r"overrides\[0\].sampling: Extra inputs"),
        ({"nodes": {}, "deadband": "5 %%"}, "deadband: a deadband is an amount"),
        ({"nodes": {"overrides": [{"namespace": "a", "deadband": "101%"}]}}, r"deadband: a deadband is at most 100%"),
        ({"nodes": {}, "trigger": "always"}, "trigger: "),
        ({"nodes": {}, "sampling_ms": -1}, "sampling_ms: "),
    ],
    ids=str,
)
def test_a_choice_that_makes_no_sense_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceConfigError, match=message):
        config(**given)
