"""`dedup-service try` on captured messages of real forms: what is a reading, and which copies match."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dedup_service.__main__ import main, make_parser
from dedup_service.commands.trials import TryError
from dedup_service.commands.try_readings import tried
from dedup_service.config.file import load_config_file

VECTORS = Path(__file__).parents[3] / "vectors" / "formats"
PRESS = {"rename": {"Press-*": "Press"}}
OVEN = {"rename": {"cccccccc-*": "oven"}}
NS = {"timestamp_units": "ns"}
MQTT = {"time": "/t", "value": ["/v"]}
EVENT_GRID = [
    {"inside": "/data_base64", "source": ["outer:/subject"], **MQTT},
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
        ("telegraf", {"units": "ns"}, "telegraf: units: is unknown here; there are timestamp_units, ignored_tags"),
        ("json", [{"source": ["/a"]}, {"sources": ["/a"]}], r"json: \[1\].sources: is unknown here; did you mean `source`"),
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


def try_on(*words: str | Path, text: bool = False) -> Any:
    answer = tried(make_parser().parse_args(["try", *map(str, words), *([] if text else ["--json"])]))
    return answer if text else json.loads(answer)


def files_of(name: str, letters: str) -> list[Path]:
    return [VECTORS / f"{name}{'-' + letter if letter else ''}.json" for letter in letters or [""]]


def counts(answer: Any) -> tuple[int, ...]:
    return tuple(answer[name] for name in ("copies", "distinct", "not_readings", "without_time", "refused", "ignored"))


def keys(answer: Any) -> list[tuple[str, str, str]]:
    readings = [reading for file in answer["files"] for reading in file["readings"]]
    return sorted((reading["source"], reading["place"], reading["id"]) for reading in readings)


CASES = [
    ("aio-dataset", "abc", "azure-iot-operations", OVEN, None),
    ("ignition", "abc", "ignition", PRESS, "source-time"),
    ("kepware", "ab", "kepware", None, None),
    ("opcpub-pubsub", "abc", "opc-publisher", None, None),
    ("opcpub-event", "abc", "opc-publisher", None, "source-time"),
    ("telegraf", "ab", "telegraf", NS, None),
    (
        "wrappers",
        "",
        "json",
        {"inside": "", "source": ["/tag"], "time": "/ts", "time_format": "ms", "value": ["/value"]},
        None,
    ),
]


@pytest.mark.parametrize(("name", "letters", "form", "options", "identity"), CASES)
def test_the_lines_for_the_groups_file_mean_the_same(
    name: str, letters: str, form: str, options: Any, identity: str | None, tmp_path: Path
) -> None:
    files = files_of(name, letters)
    given = ["--format", form, *(["--options", json.dumps(options)] if options else [])]
    given += ["--identity", identity] if identity else []
    _, _, lines = try_on(*given, *files, text=True).partition("(docs/groups.md):\n")
    (config := tmp_path / "groups.yaml").write_text(lines)
    answer = try_on("--group", form, "--config", config, *files)
    assert keys(answer) == keys(try_on(*given, *files))
    assert answer["ignored"] == 0
    (group,) = load_config_file(config).groups
    assert (group.format, group.identity) == (form, identity)


def groups_file(folder: Path, *groups: dict[str, Any]) -> Path:
    file = folder / "groups.yaml"
    file.write_text(json.dumps({"groups": groups}))
    return file


def test_a_group_reads_only_what_run_reads_for_it(tmp_path: Path) -> None:
    first = {"name": "first", "devices": ["gw-b"], "format": "ignition"}
    group = {
        "name": "g",
        "devices": ["gw-a", "gw-b"],
        "format": "ignition",
        "sources": ["*/Running"],
        "format_options": PRESS,
    }
    config = groups_file(tmp_path, first, group)
    answer = try_on("--group", "g", "--config", config, *files_of("ignition", "abc"))
    assert counts(answer) == (1, 1, 2, 0, 2, 4)
    refused = answer["files"][0]["refused"][0]
    assert refused["reason"] == "source-not-allowed"
    assert refused["detail"] == "Plant7/Press/PLC1/Temperature is not among the `sources` of group g"
    ignored = [item["what"] for file in answer["files"] for item in file["ignored"]]
    assert set(ignored) == {
        "device gw-b/ignition is in group first, which comes first in the file",
        "device gw-c/ignition is in no group",
    }


def test_a_group_shows_what_run_has_forgotten(tmp_path: Path) -> None:
    config = groups_file(tmp_path, {"name": "g", "format": "sparkplug", "format_options": PRESS})
    files = files_of("sparkplug", "ab")
    answer = try_on("--group", "g", "--config", config, *files)
    assert (answer["copies"], answer["refused"]) == (0, 4)
    assert "no message is read with names that an earlier one gave" in answer["note"]
    assert "`run` forgets them" in try_on("--format", "sparkplug", *files)["note"]


def source(name: str, **read: Any) -> dict[str, Any]:
    return {"name": name, "connection_string_env": name.upper(), "consumer_group": "dedup", **read}


INPUTS = [
    source("west", format="ignition", format_options=PRESS, not_readings="drop"),
    source("east", format="telegraf"),
    source("south"),
]


def file_with_inputs(folder: Path, inputs: list[dict[str, Any]], *groups: dict[str, Any]) -> Path:
    (file := folder / "groups.yaml").write_text(json.dumps({"inputs": inputs, "groups": groups}))
    return file


def test_a_group_without_a_format_is_read_as_its_input_says(tmp_path: Path) -> None:
    files = files_of("ignition", "ab")
    config = file_with_inputs(tmp_path, INPUTS, {"name": "g"}, {"name": "own", "format": "ignition"})
    answer = try_on("--group", "g", "--input", "west", "--config", config, *files)
    given = try_on("--format", "ignition", "--options", json.dumps(PRESS), *files)
    assert keys(answer) == keys(given) != []
    assert answer["note"] == "note: group g names no format, so its messages are read as input west says: ignition"
    text = try_on("--group", "g", "--input", "west", "--config", config, *files, text=True)
    assert "which this group drops" in text
    assert answer["note"] in text
    other = try_on("--group", "g", "--input", "east", "--config", config, *files_of("telegraf", "ab"))
    assert keys(other) == keys(try_on("--format", "telegraf", *files_of("telegraf", "ab")))
    with pytest.raises(TryError, match=r"--input, one of west \(ignition\), east \(telegraf\), south \(cloudevents\)"):
        try_on("--group", "g", "--config", config, *files)
    with pytest.raises(TryError, match="no input north; it has west, east, south"):
        try_on("--group", "g", "--input", "north", "--config", config, *files)


def test_an_input_need_not_be_named_where_it_makes_no_difference(tmp_path: Path) -> None:
    files = files_of("telegraf", "ab")
    config = file_with_inputs(tmp_path, INPUTS[1:2], {"name": "g"}, {"name": "own", "format": "ignition"})
    assert keys(try_on("--group", "g", "--config", config, *files)) == keys(try_on("--format", "telegraf", *files))
    own = {"name": "own", "format": "telegraf", "not_readings": "forward"}
    config = file_with_inputs(tmp_path, INPUTS, own)
    answer = try_on("--group", "own", "--config", config, *files)
    assert keys(answer) == keys(try_on("--format", "telegraf", *files))
    assert "note" not in answer


def test_what_copies_hardly_agree_on_is_warned_about_in_text_and_for_programs(tmp_path: Path) -> None:
    shape = {"source": ["text:plant", "annotation:iothub-connection-device-id"], "value": ["system:message-id"]}
    members = ["format_options.source: annotation:iothub-connection-device-id is another one for each replica"]
    members += ["format_options.value: system:message-id is normally made anew by each gateway"]
    config = groups_file(tmp_path, {"name": "g", "format": "json", "format_options": shape})
    for words in (["--group", "g", "--config", config], ["--format", "json", "--options", json.dumps(shape)]):
        warnings = try_on(*words, *files_of("telegraf", "ab"))["warnings"]
        assert [warning.partition(", so that")[0] for warning in warnings] == members
        text = try_on(*words, *files_of("telegraf", "ab"), text=True)
        assert [line[9:] for line in text.splitlines() if line.startswith("warning: ")] == warnings
    assert "warnings" not in try_on("--format", "telegraf", *files_of("telegraf", "ab"))


def test_messages_that_are_not_telemetry_or_name_no_device_are_told(tmp_path: Path) -> None:
    twin = {"annotations": {"iothub-message-source": "twinChangeEvents"}, "body": {}}
    file = tmp_path / "gw.json"
    file.write_text(json.dumps({"events": [twin, {"body": {}}]}))
    config = groups_file(tmp_path, {"name": "g", "devices": ["gw-a"]})
    ((first, second),) = [item["ignored"] for item in try_on("--group", "g", "--config", config, file)["files"]]
    assert first["what"] == "not telemetry: its message source is twinChangeEvents"
    assert "iothub-connection-device-id" in second["what"]


def test_cloudevents_have_the_keys_that_they_bring(tmp_path: Path) -> None:
    element = {"specversion": "1.0", "type": "t", "source": "urn:a", "id": "1", "time": "2026-01-01T00:00:00Z", "data": 5}
    batch = {"system": {"content-type": "application/cloudevents-batch+json"}, "body": [element, {**element, "id": ""}]}
    single = {"properties": {"cloudEvents_id": "1", "cloudEvents_source": "urn:a"}, "body": {"v": 1}}
    file = tmp_path / "gw.json"
    file.write_text(json.dumps({"events": [batch, single, {"body": 1}]}))
    answer = try_on("--format", "cloudevents", file)
    assert counts(answer) == (2, 1, 0, 0, 2, 0)
    first, second = answer["files"][0]["readings"]
    assert (first["source"], first["id"], first["place"], first["value"]) == ("urn:a", "1", "/0", 5)
    assert (first["time"], second["value"], second["time"]) == ("2026-01-01T00:00:00.000000Z", {"v": 1}, None)
    assert {item["reason"] for item in answer["files"][0]["refused"]} == {"missing-id", "no-key"}


def test_one_file_of_several_gateways_is_compared_by_gateway(tmp_path: Path) -> None:
    events = []
    for file in files_of("ignition", "abc"):
        content = json.loads(file.read_text())
        events += [{**content["each"], **event} for event in content["events"]]
    (file := tmp_path / "all.json").write_text(json.dumps({"events": events}))
    text = try_on("--format", "ignition", "--options", json.dumps(PRESS), file, text=True)
    assert "all.json (gw-a/ignition): 4 messages" in text
    assert "1 in all 3 gateways" in text


def test_of_a_mixed_folder_only_those_that_send_the_format_are_proposed_as_devices() -> None:
    answer = try_on("--format", "ignition", *files_of("ignition", "abc"), *files_of("sparkplug", "ab"))
    assert answer["group"]["devices"] == ["gw-a/ignition", "gw-b/ignition", "gw-c/ignition"]


def test_a_name_that_differs_is_proposed_for_renaming() -> None:
    files = files_of("ignition", "abc")
    text = try_on("--format", "ignition", *files, text=True)
    (proposed,) = re.findall("--options '(.*)'", text)
    assert json.loads(proposed) == {"rename": {"Press-C": "Press"}}
    assert counts(try_on("--format", "ignition", "--options", proposed, *files))[:2] == (8, 4)


@pytest.mark.parametrize("words", [[], ["-"]])
def test_standard_input_is_read_where_no_file_is_named(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with (VECTORS / "telegraf-a.json").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        answer = try_on("--format", "telegraf", *words)
    assert (answer["copies"], answer["files"][0]["file"]) == (3, "standard input")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--group", "g"], "DEDUP_CONFIG_FILE"),
        (["--group", "g", "--identity", "content"], "--identity"),
        (["--format", "cloudevents", "--identity", "content"], "have ids of their own"),
        (["--format", "telegraf", "--config", "x.yaml"], "--config"),
        (["--format", "telegraf", "--input", "west"], "--input is for --group"),
        (["--group", "g", "--config", "none.yaml"], "none.yaml"),
    ],
)
def test_arguments_that_do_not_go_together_are_named(words: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEDUP_CONFIG_FILE", raising=False)
    with pytest.raises(TryError, match=said):
        try_on(*words, VECTORS / "telegraf-a.json")


def test_a_mistake_in_the_groups_file_is_named_with_line_and_field(tmp_path: Path) -> None:
    file = tmp_path / "groups.yaml"
    file.write_text("groups:\n  - name: g\n    format: telegraf\n    format_options:\n      units: ns\n")
    with pytest.raises(
        TryError, match=r"line 5: groups\[0\].format_options.units: is unknown here; there are timestamp_units, "
    ):
        try_on("--group", "g", "--config", file, VECTORS / "telegraf-a.json")
    file.write_text("groups:\n  - name: other\n")
    with pytest.raises(TryError, match="has no group g; it has other"):
        try_on("--group", "g", "--config", file, VECTORS / "telegraf-a.json")


def test_what_is_not_of_the_format_is_told_apart_from_what_passes() -> None:
    text = try_on("--format", "telegraf", VECTORS / "ignition-a.json", text=True)
    assert "4 not of this format, for which `run` has dead letters" in text
