"""`dedup-service try` on captured messages of real forms: what is a reading, and which copies match."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dedup_service.__main__ import main, make_parser
from dedup_service.commands.try_readings import TryError, tried

VECTORS = Path(__file__).parents[3] / "vectors" / "formats"
PRESS = {"rename": {"Press-*": "Press"}}
OVEN = {"rename": {"cccccccc-*": "oven"}}
NS = {"timestamp_units": "ns"}
MQTT = {"time": "/t", "value": ["/v"]}
EVENT_GRID = [
    {"inside": "/data_base64", "source": ["text:press/PLC1/temperature"], **MQTT},
    {"readings": "/data", "source": ["body:/subject"], **MQTT},
]
TAG = {"source": ["/tag"], "has": ["/tag"], "time": "/ts", "time_format": "ms", "value": ["/value"]}
NODE_RED = [{"inside": "", **TAG}, TAG]


def run(files: str, form: str, options: Any = None, identity: str = "", *, text: bool = False) -> Any:
    """`files`: such as `telegraf-abc` for three gateways' files."""
    name, _, letters = files.partition(":")
    paths = [str(VECTORS / f"{name}{'-' + letter if letter else ''}.json") for letter in letters or [""]]
    words = [
        "try",
        "--format",
        form,
        *(["--identity", identity] if identity else []),
        "--options",
        json.dumps(options or {}),
        *paths,
    ]
    answer = tried(make_parser().parse_args([*words, *([] if text else ["--json"])]))
    return answer if text else json.loads(answer)


@pytest.mark.parametrize(
    ("files", "form", "options", "identity", "expected"),
    [
        ("aio-dataset:abc", "azure-iot-operations", OVEN, "source-time+value", (9, 4, 0, 0, 0)),
        ("aio-event", "azure-iot-operations", None, "source-time+value", (2, 2, 0, 0, 0)),
        ("ignition:abc", "ignition", PRESS, "source-time+value", (8, 4, 3, 0, 0)),
        ("ignition:abc", "ignition", PRESS, "source-time", (8, 4, 3, 0, 0)),
        ("opcpub-pubsub:abc", "opc-publisher", None, "source-time+value", (17, 6, 0, 0, 0)),
        ("opcpub-pubsub-array", "opc-publisher", None, "source-time+value", (4, 4, 4, 0, 0)),
        ("opcpub-keyframe:abc", "opc-publisher", None, "source-time+value", (12, 5, 1, 0, 0)),
        ("opcpub-event:abc", "opc-publisher", None, "source-time+value", (8, 3, 0, 0, 0)),
        ("opcpub-not-readings", "opc-publisher", None, "source-time+value", (0, 0, 3, 0, 0)),
        ("opcpub-headerless", "opc-publisher", None, "source-time+value", (6, 6, 0, 5, 0)),
        ("opcpub-samples:ab", "opc-publisher", None, "source-time+value", (8, 3, 0, 0, 0)),
        ("opcpub-samples-full", "opc-publisher", None, "source-time+value", (4, 3, 0, 0, 0)),
        ("opcpub-samples-legacy", "opc-publisher", None, "source-time+value", (3, 3, 0, 0, 0)),
        ("opcpub-reversible-gzip", "opc-publisher", None, "source-time+value", (2, 2, 0, 0, 0)),
        ("telegraf:ab", "telegraf", NS, "source-time+value", (6, 3, 0, 0, 0)),
        ("telegraf:c", "telegraf", None, "source-time+value", (2, 2, 0, 0, 0)),
        ("telegraf:c", "telegraf", None, "source-time", (2, 1, 0, 0, 0)),
        ("telegraf:abc", "telegraf", NS, "source-time+value", (8, 5, 0, 0, 0)),
        ("kepware:ab", "kepware", None, "", (8, 4, 0, 0, 0)),
        ("telegraf:ab", "telegraf", None, "", (6, 3, 0, 0, 0)),
        ("kepware:ab", "kepware", None, "source-time+value", (8, 8, 0, 0, 0)),
        ("siemens-bulk:ab", "siemens", None, "", (4, 2, 2, 0, 0)),
        ("siemens-bulk:ab", "siemens", None, "source-time", (4, 3, 2, 0, 0)),
        ("siemens-other", "siemens", {"bare_ids": True}, "source-time", (5, 5, 0, 2, 0)),
        ("siemens-other", "siemens", None, "source-time", (1, 1, 0, 2, 4)),
        ("sparkplug:ab", "sparkplug", PRESS, "source-time+value", (4, 2, 2, 0, 0)),
        ("opcpub-messages-object", "opc-publisher", None, "", (3, 3, 0, 0, 0)),
        ("opcpub-single-dataset-message", "opc-publisher", None, "", (4, 4, 1, 0, 0)),
        ("opcpub-ode", "opc-publisher", None, "", (0, 0, 0, 7, 0)),
        ("opcpub-raw", "opc-publisher", None, "", (0, 0, 1, 2, 0)),
        ("opcpub-ce", "opc-publisher", None, "", (3, 2, 0, 0, 0)),
        ("opcpub-reversible-strict", "opc-publisher", None, "", (6, 6, 0, 0, 0)),
        ("opcpub-statuses", "opc-publisher", None, "", (6, 3, 0, 0, 0)),
        ("opcpub-samples-plain", "opc-publisher", None, "", (2, 2, 0, 1, 0)),
        ("opcpub-labelled", "opc-publisher", None, "", (0, 0, 2, 0, 2)),
        ("opcpub-mixed-array", "opc-publisher", None, "", (2, 2, 3, 0, 0)),
        ("opcpub-heartbeats", "opc-publisher", None, "", (6, 4, 0, 0, 0)),
        ("opcpub-heartbeats", "opc-publisher", {"heartbeats": False}, "", (6, 5, 0, 0, 0)),
        ("opcpub-model-change", "opc-publisher", None, "", (1, 1, 1, 0, 1)),
        ("opcpub-event-hubs", "opc-publisher", None, "", (2, 2, 0, 0, 0)),
        ("opcpub-v3", "opc-publisher", None, "", (3, 3, 0, 0, 0)),
        ("aio-event-without-time", "azure-iot-operations", None, "", (2, 1, 0, 0, 0)),
        ("aio-event-without-time", "azure-iot-operations", {"accept_events_without_time": False}, "", (0, 0, 0, 0, 2)),
        ("aio-statuses", "azure-iot-operations", None, "", (5, 3, 1, 1, 0)),
        ("ignition-node", "ignition", None, "", (4, 4, 0, 0, 0)),
        ("ignition-states", "ignition", None, "", (0, 0, 4, 0, 0)),
        ("ignition-encodings", "ignition", None, "", (2, 1, 0, 0, 0)),
        ("telegraf-fields", "telegraf", None, "", (4, 4, 0, 0, 1)),
        ("telegraf-bad-status", "telegraf", None, "", (4, 3, 0, 0, 0)),
        ("kepware-wide", "kepware", None, "", (5, 3, 0, 0, 0)),
        ("kepware-values", "kepware", None, "", (4, 3, 2, 1, 0)),
        ("siemens-time-series", "siemens", {"bare_ids": True}, "source-time", (7, 4, 0, 0, 0)),
        ("siemens-single", "siemens", None, "source-time", (4, 3, 0, 0, 1)),
        ("siemens-common-time", "siemens", {"bare_ids": True}, "source-time", (3, 3, 2, 1, 0)),
        ("siemens-cc7", "siemens", None, "", (0, 0, 0, 2, 0)),
        ("sparkplug-names", "sparkplug", PRESS, "", (7, 4, 0, 0, 1)),
        ("sparkplug-compressed", "sparkplug", PRESS, "", (0, 0, 1, 0, 0)),
        ("wrappers-event-grid", "json", EVENT_GRID, "", (3, 2, 0, 0, 0)),
        ("wrappers-node-red", "json", NODE_RED, "", (3, 2, 0, 0, 0)),
    ],
)
def test_the_readings_of_each_format(files: str, form: str, options: Any, identity: str, expected: tuple[int, ...]) -> None:
    answer = run(files, form, options, identity)
    assert tuple(answer[name] for name in ("copies", "distinct", "not_readings", "without_time", "refused")) == expected


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (
            {
                "readings": "/Payload/*",
                "source": ["property:source", "body:/DataSetWriterName", "@key"],
                "time": "/SourceTimestamp",
                "value": ["/Value"],
            },
            21.5,
        ),
        ({"inside": "/data_base64", "source": ["text:press"], "time": "/t", "value": ["/v"]}, 21.75),
        ({"inside": "", "source": ["/tag"], "time": "/ts", "time_format": "ms", "value": ["/value"], "has": ["/tag"]}, 3),
    ],
)
def test_json_reads_what_stands_inside_of_a_wrapper(options: Any, value: Any) -> None:
    answer = run("wrappers", "json", options)
    (reading,) = answer["files"][0]["readings"]
    assert reading["value"] == value
    assert answer["not_readings"] == 2


def test_json_takes_a_reading_that_is_told_by_its_whole_body() -> None:
    answer = run("telegraf:ab", "json", {"whole_body": True, "source": ["text:plant"]}, "content")
    assert (answer["copies"], answer["distinct"]) == (4, 4)


@pytest.mark.parametrize(
    ("files", "form", "fields"),
    [("aio-dataset:ac", "azure-iot-operations", ["source"]), ("kepware:ab", "kepware", ["time"])],
)
def test_it_says_which_field_keeps_copies_apart(files: str, form: str, fields: list[str]) -> None:
    answer = run(files, form, identity="source-time+value")
    assert fields in [difference["fields"] for difference in answer["differences"]]
    assert f"differs in {fields[0]} (" in run(files, form, identity="source-time+value", text=True)


def test_the_text_tells_people_each_key_and_what_matches() -> None:
    text = run("ignition:abc", "ignition", PRESS, text=True)
    assert "Plant7/Press/PLC1/Temperature" in text
    assert "2 no readings, they pass as they are:" in text
    assert "together: 8 copies of 4 distinct readings" in text
    assert "1 in all 3 files" in text


def test_names_from_devices_do_not_steer_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "gw.json"
    file.write_text('{"events":[{"body":{"name":"\\u001b[2J\\nx\\u009b","fields":{"a\\u009b":1},"timestamp":1}}]}')
    text = tried(make_parser().parse_args(["try", "--format", "telegraf", str(file)]))
    assert "�[2J�x�" in text
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.mark.parametrize("name", ["MessageId", "message-id", "PublisherId", "seq", "SequenceNumber"])
def test_a_strategy_that_never_matches_is_refused_by_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["try", "--format", "json", "--identity", name, "file.json"])
    assert f"{name} " in (error := capsys.readouterr().err)
    assert "never match" in error


@pytest.mark.parametrize(
    ("form", "options", "named"),
    [
        ("json", {}, "source"),
        ("json", {"source": ["/MessageId"]}, "MessageId"),
        ("json", {"source": ["/a"], "readings": "values"}, "'values'"),
        ("telegraf", {"units": "ns"}, "units"),
        ("telegraf", {"timestamp_units": "h"}, "timestamp_units"),
    ],
)
def test_wrong_options_are_named(form: str, options: Any, named: str) -> None:
    with pytest.raises(TryError, match=named):
        run("telegraf:a", form, options)


def test_a_file_of_another_form_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "readings.json"
    for text in ("[]", "{", '{"events":[{"body_base64":"?"}]}', '{"events":[{}]}'):
        file.write_text(text)
        monkeypatch.setattr("sys.argv", ["dedup-service", "try", "--format", "telegraf", str(file)])
        if text == '{"events":[{}]}':
            main()
            assert "refused" in capsys.readouterr().out
        else:
            with pytest.raises(SystemExit):
                main()
            assert str(file) in capsys.readouterr().err
