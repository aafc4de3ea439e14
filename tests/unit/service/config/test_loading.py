"""What each command needs of the settings, and that all that is missing or wrong is said at once."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dedup_service.config.config import Config
from dedup_service.config.loading import load_to_check, load_to_init, load_to_report, load_to_run
from dedup_service.config.settings import Settings
from dedup_service.errors import ConfigurationError
from tests.unit.service.config.test_settings import GOOD, HUB

ALL_REQUIRED = {
    "DEDUP_INPUT_CONNECTION_STRING",
    "DEDUP_INPUT_CONSUMER_GROUP",
    "DEDUP_OUTPUT_CONNECTION_STRING",
    "DEDUP_OUTPUT_CONSUMER_GROUP",
    "DEDUP_DEAD_LETTER_CONNECTION_STRING",
    "DEDUP_REDIS_URL",
    "DEDUP_CHECKPOINT_URL",
}
FILE = """
inputs:
  - {name: west, connection_string_env: WEST, consumer_group: dedup}
  - {name: east, connection_string_env: EAST, consumer_group: dedup}
outputs: [{name: ovens, connection_string_env: OVENS, consumer_group: dedup}]
groups:
  - {name: ovens, output: ovens, mode: drop}
  - {name: presses, mode: drop}
"""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*(f"DEDUP_{name.upper()}" for name in Settings.model_fields), "WEST", "EAST", "OVENS"):
        monkeypatch.delenv(name, raising=False)


def refused(load: Any, **given: Any) -> dict[str, str]:
    """The settings that the one message names, each with its line."""
    with pytest.raises(ConfigurationError) as caught:
        load(**given)
    heading, *lines = str(caught.value).splitlines() if "\n" in str(caught.value) else ["", str(caught.value)]
    assert not heading or heading == f"{len(lines)} settings are missing or wrong:"
    assert all(f". Example: {line.partition(':')[0]}=" in line for line in lines)
    return {line.partition(":")[0]: line for line in lines}


def test_all_that_is_missing_is_said_at_once() -> None:
    assert refused(load_to_run).keys() == ALL_REQUIRED


def test_what_is_wrong_is_said_beside_what_is_missing() -> None:
    given = {**GOOD, "redis_url": None, "http_port": "x", "mode": "forget", "lease_seconds": 3, "output_consumer_group": ""}
    given["input_connection_string"] = "hunter2"
    named = refused(load_to_run, **given)
    assert named.keys() == {
        "DEDUP_REDIS_URL",
        "DEDUP_HTTP_PORT",
        "DEDUP_MODE",
        "DEDUP_LEASE_SECONDS",
        "DEDUP_OUTPUT_CONSUMER_GROUP",
        "DEDUP_INPUT_CONNECTION_STRING",
    }
    assert not any("hunter2" in line for line in named.values())


def test_any_number_of_wrong_settings_is_one_message() -> None:
    wrong = {name: object() for name in Settings.model_fields}
    named = refused(load_to_run, **wrong)
    assert {f"DEDUP_{name.upper()}" for name in wrong} <= named.keys()


def test_the_variables_that_the_file_names_are_said_at_once(tmp_path: Path) -> None:
    (path := tmp_path / "groups.yaml").write_text(FILE)
    assert refused(load_to_run, config_file=path, dead_letter_connection_string=HUB, mode="observe").keys() == {
        "DEDUP_REDIS_URL",
        "DEDUP_CHECKPOINT_URL",
        "DEDUP_NAMESPACE",
        "WEST",
        "EAST",
        "OVENS",
        "DEDUP_OUTPUT_CONNECTION_STRING",  # for group presses
    }


def test_a_file_that_is_wrong_is_said_beside_the_rest(tmp_path: Path) -> None:
    (path := tmp_path / "groups.yaml").write_text("groups: 3")
    assert refused(load_to_run, config_file=path).keys() == {
        "DEDUP_REDIS_URL",
        "DEDUP_CHECKPOINT_URL",
        "DEDUP_CONFIG_FILE",
    }


def test_a_service_that_would_drop_is_told_that_observing_needs_no_output() -> None:
    named = refused(load_to_run, **{**GOOD, "output_connection_string": None})
    assert "but mode drop needs it (DEDUP_MODE=observe does not)" in named["DEDUP_OUTPUT_CONNECTION_STRING"]


def test_a_round_trip_also_needs_to_send() -> None:
    assert refused(load_to_check, sends=True, **GOOD).keys() == {"DEDUP_CHECK_CONNECTION_STRING"}
    assert load_to_check(sends=True, **GOOD, check_connection_string=HUB)


@pytest.mark.parametrize("load", [partial(load_to_check, sends=False), load_to_report])
def test_whoever_asks_about_a_service_that_observes_need_not_say_so(load: Any) -> None:
    """`DEDUP_MODE=observe` stood before the command in another terminal."""
    hubs = {"output_connection_string", "output_consumer_group", "dead_letter_connection_string"}
    given = {name: value for name, value in GOOD.items() if name not in hubs}
    assert Config(load(**given)).only_observes
    assert refused(load, **given, mode="drop").keys() >= {"DEDUP_OUTPUT_CONNECTION_STRING"}


def test_a_report_needs_redis_and_what_the_namespace_is_made_of() -> None:
    assert refused(load_to_report).keys() == {
        "DEDUP_REDIS_URL",
        "DEDUP_INPUT_CONNECTION_STRING",
        "DEDUP_INPUT_CONSUMER_GROUP",
    }
    assert refused(load_to_report, namespace="plant").keys() == {"DEDUP_REDIS_URL"}
    assert load_to_report(namespace="plant", redis_url="redis://localhost").namespace == "plant"


@pytest.mark.parametrize("mode", ["observe", "drop"])
def test_a_report_looks_where_run_has_counted(mode: str) -> None:
    """Also where the shell of `report` has less than that of `run`: no output, no mode, no checkpoints."""
    publishing = {"output_connection_string", "output_consumer_group"}
    given = GOOD if mode == "drop" else {name: value for name, value in GOOD.items() if name not in publishing}
    running = Config(load_to_run(**given, mode=mode))
    unused = {"checkpoint_url", "dead_letter_connection_string", "output_consumer_group"}
    reporting = Config(load_to_report(**{name: value for name, value in given.items() if name not in unused}))
    assert reporting.namespace == running.namespace
    assert [group.claim_scope for group in reporting.groups(["0"])] == [group.claim_scope for group in running.groups(["0"])]


def test_a_report_reads_the_groups_of_the_file_without_their_hubs(tmp_path: Path) -> None:
    (path := tmp_path / "groups.yaml").write_text(FILE)
    settings = load_to_report(config_file=path, namespace="plant", redis_url="redis://localhost")
    assert [(group.name, group.mode) for group in Config(settings).groups(["0"])] == [("ovens", "drop"), ("presses", "drop")]


def test_the_container_for_checkpoints_needs_nothing_else() -> None:
    assert refused(load_to_init).keys() == {"DEDUP_CHECKPOINT_URL"}
    assert load_to_init(checkpoint_url=GOOD["checkpoint_url"])


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite:x.db", "names no file"),
        ("sqlite:/tmp/x.db", "names no file"),
        ("sqlite://tmp/x.db", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:////tmp/", "names no file"),
        ("sqlite:///tmp/x.db", "its folder tmp does not exist below {here}, to which this path is relative"),
        ("sqlite:////no/such/x.db", "its folder /no/such does not exist"),
    ],
)
def test_a_path_with_too_few_slashes_is_refused(
    url: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (line,) = refused(load_to_run, **{**GOOD, "checkpoint_url": url}).values()
    assert line.startswith(f"DEDUP_CHECKPOINT_URL: {problem.format(here=tmp_path)}: an absolute path has four slashes")


@pytest.mark.parametrize("url", ["sqlite:///x.db", "sqlite:///./x.db", "sqlite:////tmp/x.db"])
def test_a_path_in_a_folder_that_exists_is_accepted(url: str) -> None:
    assert load_to_run(**{**GOOD, "checkpoint_url": url}).checkpoint_url.get_secret_value() == url


def test_a_misspelt_variable_is_named_where_its_setting_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEDUP_REDIS_ULR", "redis://:hunter2@cache")
    line = refused(load_to_run)["DEDUP_REDIS_URL"]
    assert line.startswith("DEDUP_REDIS_URL: is missing, and DEDUP_REDIS_ULR, which is there, is no setting. Example")
