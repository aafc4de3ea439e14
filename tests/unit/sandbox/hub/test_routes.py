"""Routes as edgeHub has them: which messages they take, and where these go."""

from __future__ import annotations

import pytest

from sandbox.hub.mqtt_face.routes import parse_route, targets
from sandbox.hub.namespace import Device

INTO_PLANT = 'INTO BrokeredEndpoint("/modules/edge-sender/inputs/plant")'
PLANT = ("edge-sender", "plant")
PUBLISHER, SENDER = Device("gw-1", "opcpublisher", ""), Device("gw-1", "edge-sender", "")
FROM_PUBLISHER = f"FROM /messages/modules/opcpublisher/* {INTO_PLANT}"


@pytest.mark.parametrize(
    ("start", "module", "output", "expected"),
    [
        ("/*", PUBLISHER, None, True),
        ("/messages/*", PUBLISHER, "o", True),
        ("/messages/modules/*", SENDER, "o", True),
        ("/messages/modules/opcpublisher/*", PUBLISHER, "o", True),
        ("/messages/modules/opcpublisher/*", SENDER, "o", False),
        ("/messages/modules/opcpublisher/outputs/*", PUBLISHER, "o", True),
        ("/messages/modules/opcpublisher/outputs/o", PUBLISHER, "o", True),
        ("/messages/modules/opcpublisher/outputs/o", PUBLISHER, "other", False),
        ("/messages/modules/opcpublisher/outputs/o", PUBLISHER, None, False),
    ],
)
def test_a_route_takes_what_its_source_says(start: str, module: Device, output: str | None, expected: bool) -> None:
    route = parse_route(f"FROM {start} {INTO_PLANT}")
    assert list(targets([route], module, output)) == ([PLANT] if expected else [])


def test_a_message_goes_to_each_place_once_and_to_the_hub_only_by_a_route() -> None:
    routes = [parse_route(text) for text in (FROM_PUBLISHER, FROM_PUBLISHER, "FROM /messages/* INTO $upstream")]
    assert list(targets(routes, PUBLISHER, None)) == [PLANT, None]
    assert list(targets(routes[:1], PUBLISHER, None)) == [PLANT]
    assert list(targets(routes[:1], SENDER, None)) == []


def test_without_routes_and_from_devices_all_goes_to_the_hub() -> None:
    assert list(targets([], PUBLISHER, None)) == [None]
    assert list(targets([parse_route(FROM_PUBLISHER)], Device("gw-1", None, ""), None)) == [None]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "FROM /twinChangeNotifications INTO $upstream",
        "FROM /messages/* WHERE a = 'b' INTO $upstream",
        'FROM /messages/* INTO BrokeredEndpoint("/modules/a")',
        "FROM /messages/modules/a INTO $upstream",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a route"):
        parse_route(text)
