"""tools/bicep refuses what a compiler or a deployment would refuse, and names file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools.bicep import BicepError, Deployment, evaluate

HUB = "resource hub 'Microsoft.EventHub/namespaces@2024-01-01' = {\n  name: 'plant'\n}\n"


def deployed(folder: Path, text: str, **given: Any) -> Deployment:
    (file := folder / "main.bicep").write_text(text)
    return evaluate(file, given, lambda type_, path: f"{path} of {type_}")


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("resource hub = {", "main.bicep:1: this is no Bicep"),
        (HUB.replace("'plant'", "plant"), "plant is not declared"),
        (HUB.replace("'plant'", "toUpper('plant')"), "toUpper is not understood"),
        (HUB.replace("'plant'", "uniqueString(5)"), "uniqueString"),
        (HUB.replace("}", "  name: 'other'\n}"), "name is there twice"),
        (HUB + "param idle string = ''\n", r"nothing uses \['idle'\]"),
        (HUB + "param size int = '5'\noutput size int = size\n", "size is '5', not a int"),
        (HUB + "param size string\noutput size string = size\n", "size is not given"),
        (HUB + "@allowed(['a'])\nparam size string = 'b'\noutput size string = size\n", "size is 'b'"),
        (HUB + "@minLength(2)\nparam size string = 'b'\noutput size string = size\n", "size is 'b'"),
        (HUB + "var one = two\nvar two = one\noutput one string = one\n", "one needs two needs one"),
        (HUB + "output id int = hub.id\n", "is not of that type"),
        (HUB + "var known = { a: 'b' }\noutput c string = known.c\n", "main.bicep:5: known.c: there is no c"),
        (HUB.replace("namespaces@", "namespaces/eventhubs@"), "needs a parent"),
        (HUB + HUB.replace("hub '", "part 'X/y/").replace("{", "{\n  parent: hub", 1), "is no parent of"),
    ],
)
def test_what_azure_would_refuse_is_refused(text: str, refused: str, tmp_path: Path) -> None:
    with pytest.raises(BicepError, match=refused):
        deployed(tmp_path, text)


def test_a_module_refuses_what_is_no_parameter_of_it(tmp_path: Path) -> None:
    (tmp_path / "part.bicep").write_text("param name string\noutput name string = name\n")
    module = "module part 'part.bicep' = {\n  name: 'part'\n  params: { name: 'a'OTHER }\n}\n"
    module += "output name string = part.outputs.name\n"
    assert deployed(tmp_path, module.replace("OTHER", "")).outputs == {"name": "a"}
    with pytest.raises(BicepError, match="other"):
        deployed(tmp_path, module.replace("OTHER", ", other: 'b'"))


def test_conditions_loops_and_parents(tmp_path: Path) -> None:
    made = deployed(
        tmp_path,
        HUB
        + "param more bool\n"
        + "resource part 'Microsoft.EventHub/namespaces/eventhubs@2024-01-01' = [for (one, index) in ['a', 'b']: {\n"
        + "  parent: hub\n  name: '${one}${index}'\n  properties: { of: hub.id }\n}]\n"
        + "resource other 'Microsoft.EventHub/namespaces@2024-01-01' = if (more) {\n  name: 'other'\n}\n"
        + "output port string = hub.properties.port\n",
        more=False,
    )
    assert [resource.name for resource in made.resources] == ["plant", "plant/a0", "plant/b1"]
    assert made.resources[1].body["properties"]["of"] == made.resources[0].id
    assert made.outputs == {"port": "properties.port of Microsoft.EventHub/namespaces"}
    assert made.reads == {("Microsoft.EventHub/namespaces@2024-01-01", "properties.port")}
