"""Variables that begin like settings and are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from dedup_service.config.config import Config
from dedup_service.config.loading import load_to_run
from dedup_service.config.variables import unknown_variables
from tests.unit.service.config.test_settings import GOOD, HUB


def test_a_slip_of_the_pen_is_told_with_the_setting_that_is_meant() -> None:
    found = unknown_variables(["DEDUP_WINDOW_SECOND", "dedup_redis_url", "DEDUP_MODE", "DEDUP_CLOUD", "PATH"])
    assert found == {"DEDUP_WINDOW_SECOND": "DEDUP_WINDOW_SECONDS", "DEDUP_CLOUD": None}


@pytest.mark.parametrize(
    "variable",
    [
        "DEDUP_SERVICE_HOST",
        "DEDUP_DEDUP_SERVICE_SERVICE_PORT_HTTP",
        "DEDUP_REDIS_PORT",
        "DEDUP_REDIS_PORT_6379_TCP",
        "DEDUP_REDIS_PORT_6379_TCP_ADDR",
    ],
)
def test_what_kubernetes_names_after_services_is_none(variable: str) -> None:
    assert not unknown_variables([variable])


def test_what_the_groups_file_names_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "groups.yaml").write_text(
        "inputs: [{name: west, connection_string_env: DEDUP_INPUT_WEST, consumer_group: dedup}]\ngroups: [{name: a}]\n"
    )
    monkeypatch.setenv("DEDUP_INPUT_WEST", HUB)
    monkeypatch.setenv("DEDUP_INPUT_EAST", HUB)
    config = Config(load_to_run(**{**GOOD, "config_file": path, "namespace": "n"}))
    assert [item.setting for item in config.warnings if item.name == "unknown_setting"] == ["DEDUP_INPUT_EAST"]
