"""tools/azure_types sees in a package of either generation what its resource provider has not published."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from tools.azure_types.__main__ import unpublished
from tools.azure_types.models import Library
from tools.azure_types.published import libraries
from tools.bicep import Deployment, Resource

PATH = "/subscriptions/{subscriptionId}/resourceGroups/{group}/providers/Microsoft.Plant/presses/{pressName}"
OPERATIONS = f'''
def build_get_request(press_name, **kwargs):
    api_version = kwargs.pop("api_version", "2025-01-01")
    _url = "{PATH}"
    return HttpRequest(method="GET", url=_url, **kwargs)

def build_put_request(press_name, **kwargs):
    api_version = kwargs.pop("api_version", "2025-01-01")
    _url = "{PATH}"
    _url = _url.format(pressName=_SERIALIZE.url("press_name", press_name, "str", pattern=r"^[a-z]+$", max_length=5))
    return HttpRequest(method="PUT", url=_url, **kwargs)

class PressesOperations:
    def get(self, press_name: str) -> _models.Press:
        return build_get_request(press_name)

    def _put(self, press_name: str, press: Union[_models.Press, IO[bytes]], **kwargs: Any) -> Iterator[bytes]:
        return build_put_request(press_name)
'''
ENUMERATIONS = '''
class Access(str, Enum, metaclass=CaseInsensitiveEnumMeta):
    """Who may."""

    OPEN = "Open"
    CLOSED = "Closed"
'''
OLDER = r"""
class Resource(_serialization.Model):
    _validation = {"location": {"required": True}}
    _attribute_map = {"location": {"key": "location", "type": "str"}}

class Press(Resource):
    _validation = {"host": {"readonly": True}, "force": {"minimum": 1, "maximum": 9}, "label": {"min_length": 2}}
    _attribute_map = {
        "tags": {"key": "tags", "type": "{str}"},
        "host": {"key": "properties.host", "type": "str"},
        "force": {"key": "properties.force", "type": "int"},
        "label": {"key": "properties.odata\\.label", "type": "str"},
        "access": {"key": "properties.access", "type": "str"},
        "tools": {"key": "properties.tools", "type": "[Tool]"},
        "extra": {"key": "properties.extra", "type": "object"},
    }

    def __init__(self, *, location: str, access: Optional[Union[str, "_models.Access"]] = None, **kwargs: Any) -> None:
        super().__init__(location=location, **kwargs)

class Tool(_serialization.Model):
    _validation = {"steel": {"required": True}}
    _attribute_map = {"steel": {"key": "steel", "type": "bool"}}
"""
NEWER = """
class Resource(_Model):
    location: str = rest_field(visibility=["read", "create"])

class Press(Resource):
    tags: Optional[dict[str, str]] = rest_field(visibility=["read", "create"])
    properties: Optional["_models.Inner"] = rest_field(visibility=["read", "create"])

class Inner(_Model):
    host: Optional[str] = rest_field(visibility=["read"])
    force: Optional[int] = rest_field()
    odata_label: Optional[str] = rest_field(name="odata.label")
    access: Optional[Union[str, "_models.Access"]] = rest_field(visibility=["create"])
    tools: Optional[list["_models.Tool"]] = rest_field(visibility=["create"])
    extra: Optional[Any] = rest_field(visibility=["create"])

class Tool(_Model):
    steel: bool = rest_field(visibility=["create"])
"""
GENERATIONS = {"older": OLDER, "newer": NEWER}


def press(name: str = "north", version: str = "2025-01-01", location: Any = "here", **properties: Any) -> Resource:
    body = {"name": name, "location": location, "tags": {"line": "7"}, "properties": properties}
    body = {key: value for key, value in body.items() if value is not None}
    return Resource("Microsoft.Plant/presses", version, name, body, scope=None, exists=False, group="plant")


def packages(folder: Path, models: str) -> list[Library]:
    with ZipFile(folder / "azure_mgmt_plant-1.0.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("azure/mgmt/plant/models/_enums.py", ENUMERATIONS)
        wheel.writestr("azure/mgmt/plant/models/_models.py", models)
        wheel.writestr("azure/mgmt/plant/operations/_operations.py", OPERATIONS)
    return list(libraries(folder))


def found(folder: Path, models: str, resource: Resource, reads: str = "properties.host") -> list[str]:
    name = f"{resource.type}@{resource.api_version}"
    return [*unpublished([Deployment([resource], reads={(name, reads)})], packages(folder, models))]


@pytest.mark.parametrize("models", GENERATIONS.values(), ids=GENERATIONS)
def test_what_is_published_agrees(models: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "force": 5,
        "odata.label": "big",
        "access": "Open",
        "tools": [{"steel": True}],
        "extra": {"any": [1]},
    }
    assert found(tmp_path, models, press(**given)) == []


@pytest.mark.parametrize("models", GENERATIONS.values(), ids=GENERATIONS)
@pytest.mark.parametrize(
    ("resource", "fault"),
    [
        (press(version="2025-02-01"), "Microsoft.Plant/presses@2025-02-01: no package publishes it"),
        (press(location=None), ".location is missing"),
        (press(location=5), ".location: 5 is no str"),
        (press(colour="red"), ".properties.colour is no property"),
        (press(host="a"), ".properties.host is read only"),
        (press(force="5"), ".properties.force: '5' is no int"),
        (press(force=True), ".properties.force: True is no int"),
        (press(access="Ajar"), ".properties.access: 'Ajar' is none of ['Closed', 'Open']"),
        (press(tools={"steel": True}), ".properties.tools: {'steel': True} is no list"),
        (press(tools=[{}]), ".properties.tools[].steel is missing"),
        (press(tools=[{"steel": 1}]), ".properties.tools[].steel: 1 is no bool"),
        (press(tools=["steel"]), ".properties.tools[]: 'steel' is no object"),
        (press("NORTH"), ": its name: 'NORTH' is not within"),
        (press("northern"), ": its name: 'northern' is not within"),
    ],
)
def test_what_is_not_is_said(models: str, resource: Resource, fault: str, tmp_path: Path) -> None:
    (said,) = found(tmp_path, models, resource)
    assert fault in said


@pytest.mark.parametrize(
    ("given", "fault"), [({"force": 10}, ".force: 10 is"), ({"odata.label": "b"}, ".odata.label: 'b' is")]
)
def test_the_limits_of_the_older_generation_are_seen(given: dict[str, Any], fault: str, tmp_path: Path) -> None:
    (said,) = found(tmp_path, OLDER, press(**given))
    assert fault in said


@pytest.mark.parametrize("models", GENERATIONS.values(), ids=GENERATIONS)
@pytest.mark.parametrize("path", ["properties.port", "host", "properties.host.name"])
def test_what_azure_does_not_answer_is_said(models: str, path: str, tmp_path: Path) -> None:
    assert found(tmp_path, models, press(), path) == [f"Microsoft.Plant/presses@2025-01-01: {path} is no property"]
