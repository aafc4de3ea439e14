"""The part of a server that `edge-sender browse` shows: in order, what is below a node only once, and never too much."""

from __future__ import annotations

import pytest
from asyncua import ua

from edge_sender.sources.opcua.addresses import Addresses, key
from edge_sender.sources.opcua.browsing import OBJECTS, AddressSpace, Node
from edge_sender.sources.opcua.outline import outline
from edge_sender.survey import Asked, SurveyError
from tests.unit.edge.sources.opcua.test_selection import space

WHOLE = """Objects
 Line 1
  Press
   Speed
    Limit
   State
  Oven
   Speed
 Line 2
  Press
   Speed
   Line (+2)
  Again (+2)
 a/b*&"""


def drawn(asked: Asked) -> str:
    rows = outline(space(), asked).rows
    return "\n".join(f"{' ' * row.level}{row.name}{f' (+{row.hidden})' if row.hidden else ''}" for row in rows)


def test_a_node_of_several_parents_or_in_a_circle_is_unfolded_once() -> None:
    assert drawn(Asked()) == WHOLE


def test_a_depth_hides_what_is_below_and_says_how_much() -> None:
    assert drawn(Asked(depth=1)) == "Objects\n Line 1 (+2)\n Line 2 (+2)\n a/b*&"
    assert drawn(Asked(depth=0)) == "Objects (+3)"


@pytest.mark.parametrize("under", ["/Line 1/Press", "nsu=urn:plant;s=P1"])
def test_a_path_or_a_node_id_chooses_where_to_begin(under: str) -> None:
    assert drawn(Asked(under)) == "Press\n Speed\n  Limit\n State"


def test_a_pattern_may_choose_several() -> None:
    assert drawn(Asked("/*/Press", depth=0)) == "Press (+2)\nPress (+2)"


@pytest.mark.parametrize("under", ["/nowhere", "nsu=urn:plant;s=nothing", "Line 1", "/", "ns=1;s=P1"])
def test_what_is_not_there_or_can_not_be_read_is_named(under: str) -> None:
    with pytest.raises(SurveyError, match=f"^{under}: "):
        outline(space(), Asked(under))


def test_fifty_thousand_variables_are_counted_and_not_shown() -> None:
    one = AddressSpace(Addresses("urn:server", ("http://opcfoundation.org/UA/", "urn:plant")))
    ids = [ua.NodeId(number, 1) for number in range(50_000)]
    one.nodes = {key(node_id): Node(node_id, True, "") for node_id in ids}
    one.children[OBJECTS] = [(str(node_id.Identifier), key(node_id)) for node_id in ids]
    found = outline(one, Asked(most=200))
    assert (len(found.rows), found.more) == (200, 49_801)


def test_a_chain_of_any_length_is_shown() -> None:
    one = AddressSpace(Addresses("urn:server", ("http://opcfoundation.org/UA/", "urn:plant")))
    ids = [ua.NodeId(number, 1) for number in range(5000)]
    one.nodes = {key(node_id): Node(node_id, False, "") for node_id in ids}
    for parent, node_id in zip([OBJECTS, *map(key, ids)], ids, strict=False):
        one.children[parent] = [("below", key(node_id))]
    assert len(outline(one, Asked()).rows) == 5001
