"""The groups file: every mistake is reported with its line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from dedup_service.config.file import load_config_file
from dedup_service.errors import ConfigurationError
from wire.formats.registry import NAMES, option_names

GOOD = """\
groups:
  - name: presses
    devices: [edge-press-*]
    sources: ["urn:factory:*;s=press-*"]
    expected_replicas: 3
    window_seconds: 7200
    mode: mark
    on_conflict: dead-letter
    content: [/value, /a~1b]
    content_mode: structured
    silent_after_seconds: 30
  - name: ovens
    devices: ["edge-oven-?"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "groups.yaml"
    path.write_text(text)
    return path


def test_a_good_file_is_loaded(tmp_path: Path) -> None:
    first, second = load_config_file(write(tmp_path, GOOD)).groups
    assert (first.name, first.window_seconds, first.mode, first.content) == ("presses", 7200, "mark", ["/value", "/a~1b"])
    assert (second.sources, second.window_seconds, second.on_conflict) == (["*"], None, "first-wins")


@pytest.mark.parametrize(
    ("wrong", "right", "line", "field"),
    [
        ("name: presses", "name: 'no spaces please'", 2, "groups[0].name"),
        ("expected_replicas: 3", "expected_replicas: many", 5, "groups[0].expected_replicas"),
        ("window_seconds: 7200", "window_seconds: 0", 6, "groups[0].window_seconds"),
        ("mode: mark", "mode: forget", 7, "groups[0].mode"),
        ("mode: mark", "mood: mark", 7, "groups[0].mood"),
        ("[/value, /a~1b]", "\n      - /value\n      - value", 11, "groups[0].content[1]"),
        ("  - name: ovens\n    devices", "  - devices", 12, "groups[1].name"),
        ("name: ovens", "name: presses", 1, "groups"),
        ("name: presses", "name: [", 4, ""),
        ("devices: [edge-press-*]", "format: xml", 3, "groups[0].format"),
        ("content: [/value, /a~1b]", "format: json", 2, "groups[0].format_options"),
        ("content: [/value, /a~1b]", "format: telegraf\n    format_options: {tags: 1}", 10, "groups[0].format_options"),
        ("content: [/value, /a~1b]", "format: telegraf\n    identity: message-id", 10, "groups[0].identity"),
        ("content: [/value, /a~1b]", "identity: content", 9, "groups[0].identity"),
        ("content: [/value, /a~1b]", "format_options: {constant: a}", 9, "groups[0].format_options"),
        ("mode: mark", "format: kepware", 2, "groups[0]"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_field(tmp_path: Path, wrong: str, right: str, line: int, field: str) -> None:
    path = write(tmp_path, GOOD.replace(wrong, right))
    with pytest.raises(ConfigurationError) as caught:
        load_config_file(path)
    message = str(caught.value)
    assert message.startswith(f"DEDUP_CONFIG_FILE: {path}")
    assert f"line {line}" in message
    assert field in message


UNKNOWN = [
    ("group: []", "line 1: group: is unknown here; did you mean `groups`?"),
    ("version: 1\ngroups: [{name: a}]", "line 1: version: is unknown here; there are outputs, inputs, groups"),
    (
        "groups:\n  - name: a\n    device: [x]\n    format: xml",
        "line 3: groups[0].device: is unknown here; did you mean `devices`?",
    ),
    ("groups:\n  - label: a", "line 2: groups[0].label: is unknown here; there are name, "),
    (
        "groups:\n  - name: a\n    windows_seconds: 1",
        "line 3: groups[0].windows_seconds: is unknown here; did you mean `window_",
    ),
    ("groups:\n  - {name: a, true: 1}", "line 2: groups[0].True: is unknown here; there are "),
    (
        "groups: [{name: a}]\ninputs:\n  - name: w\n    connection_string: W",
        "line 4: inputs[0].connection_string: is unknown here; did you mean `connection_string_env`?",
    ),
    ("groups: [{name: a}]\noutputs:\n  - Name: w", "line 3: outputs[0].Name: is unknown here; did you mean `name`?"),
    (
        "groups:\n  - name: a\n    format: json\n    format_options:\n      sources: [/a]",
        "line 5: groups[0].format_options.sources: is unknown here; did you mean `source`?",
    ),
    (
        "groups:\n  - name: a\n    format: json\n    format_options:\n      - source: [/a]\n      - {source: [/b], tme: /t}",
        "line 6: groups[0].format_options[1].tme: is unknown here; did you mean `time`?",
    ),
    (
        "groups: [{name: a}]\ninputs:\n  - name: w\n    format: opc-publisher\n    format_options: {beats: true}",
        "line 5: inputs[0].format_options.beats: is unknown here; did you mean `heartbeats`?",
    ),
    (
        "groups: [{name: a, format: opc-publisher, format_options: {rename: {}}}]",
        "line 1: groups[0].format_options.rename: is unknown here; there are constant, heartbeats",
    ),
]


@pytest.mark.parametrize(("text", "said"), UNKNOWN, ids=[said for _, said in UNKNOWN])
def test_an_unknown_field_is_named_with_the_nearest_right_one(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load_config_file(path)
    assert str(caught.value).startswith(f"DEDUP_CONFIG_FILE: {path}")
    assert said in str(caught.value)


SEVERAL = """\
grups: []
groups:
  - nmae: presses
    mode: forget
    window_seconds: 0
  - name: ovens
    format: telegraf
    format_options: {tgs: [a], measurement: b}
    mode: drop
    mode: mark
"""


def test_all_mistakes_are_named_at_once_and_none_that_only_follows_from_another(tmp_path: Path) -> None:
    path = write(tmp_path, SEVERAL)
    with pytest.raises(ConfigurationError) as caught:
        load_config_file(path)
    heading, *lines = str(caught.value).splitlines()
    assert heading == f"DEDUP_CONFIG_FILE: {path} has 7 mistakes:"
    assert [line.split(": ")[0].strip() + " " + line.split(": ")[1] for line in lines] == [
        "line 1 grups",
        "line 3 groups[0].nmae",
        "line 4 groups[0].mode",
        "line 5 groups[0].window_seconds",
        "line 8 groups[1].format_options.tgs",
        "line 8 groups[1].format_options.measurement",
        "line 10 groups[1].mode",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_options_of_every_format_are_known_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_config_file(write(tmp_path, f"groups: [{{name: a, format: {name}, format_options: {{'???': 1}}}}]"))
    names = ", ".join(option_names(name)) or "none"
    assert f"groups[0].format_options.???: is unknown here; there are {names}" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "groups: []", "[]", "groups", "groups: {a: b}", "groups: 2026-13-01", "\x00", "a: &a [*a]"]
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError):
        load_config_file(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{GOOD}groups:\n  - name: pasted\n", "line 14: groups: is given twice, first in line 1"),
        (
            "groups:\n  - name: a\n    mode: drop\n    mode: mark\n",
            "line 4: groups[0].mode: is given twice, first in line 3",
        ),
        ("groups: [{name: a, name: b}]", "line 1: groups[0].name: is given twice"),
    ],
)
def test_what_yaml_would_forget_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_config_file(write(tmp_path, text))
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"DEDUP_CONFIG_FILE: .*/none\.yaml can't be read \(No such file or directory\)"
    ):
        load_config_file(tmp_path / "none.yaml")


INPUTS = """\
inputs:
  - name: west
    connection_string_env: WEST
    consumer_group: dedup
    format: json
    format_options: {source: [/tag], time: "system:creation-time"}
    identity: source-time
    not_readings: drop
  - {name: east, connection_string_env: EAST, consumer_group: dedup}
groups:
  - name: presses
    expected_replicas: 2
  - name: ovens
    format: cloudevents
    content: [/value]
  - name: mills
    format: kepware
    not_readings: forward
"""


def test_a_group_has_the_lines_of_the_input_where_it_has_none_of_its_own(tmp_path: Path) -> None:
    file = load_config_file(write(tmp_path, INPUTS))
    read = {group.name: file.by_input(group) for group in file.groups}
    names = ("format", "format_options", "identity", "not_readings")
    lines = {key: {by: tuple(getattr(item, n) for n in names) for by, item in items.items()} for key, items in read.items()}
    west = file.inputs[0]
    assert lines["presses"] == {
        "west": ("json", west.format_options, "source-time", "drop"),
        "east": ("cloudevents", {}, None, "forward"),
    }
    assert lines["ovens"] == {"west": ("cloudevents", {}, None, "drop"), "east": ("cloudevents", {}, None, "forward")}
    assert lines["mills"] == dict.fromkeys(("west", "east"), ("kepware", {}, None, "forward"))
    assert read["presses"]["west"].expected_replicas == 2
    assert file.by_input(load_config_file(write(tmp_path, GOOD)).groups[0]).keys() == {"west", "east"}
    assert load_config_file(write(tmp_path, GOOD)).by_input(file.groups[0]) == {}


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("format: json", "format: xml", "line 5: inputs[0].format: "),
        ("source: [/tag]", "source: [/MessageId]", "line 6: inputs[0].format_options: MessageId "),
        ("source: [/tag]", "has: [/tag]", "line 6: inputs[0].format_options: "),
        ("identity: source-time", "identity: message-id", "line 7: inputs[0].identity: message-id "),
        ("not_readings: drop", "not_readings: keep", "line 8: inputs[0].not_readings: "),
        ("not_readings: drop", "devices: [a]", "line 8: inputs[0].devices: "),
        ("    format: json\n", "", "line 5: inputs[0].format_options: cloudevents has no options"),
        ("expected_replicas: 2", "identity: content", "line 12: groups[0].identity: cloudevents have an id of their own"),
        ("expected_replicas: 2", "format_options: {a: 1}", "line 12: groups[0].format_options: cloudevents has no options"),
        ("expected_replicas: 2", "content: [/v]", "line 12: groups[0].content: is for cloudevents, but input west has "),
        (
            "    format: cloudevents\n",
            "",
            "line 14: groups[1].content: is for cloudevents, but input west has the format json",
        ),
    ],
)
def test_what_an_input_says_of_its_senders_is_checked_and_must_not_contradict_a_group(
    tmp_path: Path, wrong: str, right: str, said: str
) -> None:
    assert wrong in INPUTS
    with pytest.raises(ConfigurationError) as caught:
        load_config_file(write(tmp_path, INPUTS.replace(wrong, right, 1)))
    assert said in str(caught.value)
