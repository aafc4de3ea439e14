"""The groups file: every mistake is reported with its line and field."""

from __future__ import annotations

from pathlib import Path

import pytest

from dedup_service.config.file import load_config_file
from dedup_service.errors import ConfigurationError

GOOD = """\
groups:
  - name: presses
    devices: [edge-press-*]
    sources: ["opc.tcp://plant/press-*"]
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
        ("name: ovens", "label: ovens", 12, "groups[1].name"),
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
