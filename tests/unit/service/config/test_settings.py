"""A wrong setting stops the start with one message that names it and shows an example; secrets stay secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from dedup_service import bootstrap
from dedup_service.__main__ import settings_help
from dedup_service.adapters.azure_clients import AzureClients, Network
from dedup_service.commands.check import Checker
from dedup_service.config.config import Config
from dedup_service.config.loading import load
from dedup_service.config.settings import Settings
from dedup_service.errors import ConfigurationError
from dedup_service.telemetry import Telemetry

HUB = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0;EntityPath=hub"
GOOD: dict[str, Any] = {
    "input_connection_string": HUB,
    "input_consumer_group": "dedup",
    "output_connection_string": HUB,
    "output_consumer_group": "dedup",
    "dead_letter_connection_string": "discard",
    "redis_url": "redis://:hunter2@localhost",
    "checkpoint_url": "sqlite:////tmp/x.db",
}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DEDUP_{name.upper()}", raising=False)


@pytest.mark.parametrize("name", [n for n, f in Settings.model_fields.items() if f.is_required()])
def test_a_missing_setting_is_named_with_an_example(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(**{key: value for key, value in GOOD.items() if key != name})
    assert str(caught.value).startswith(f"DEDUP_{name.upper()}: is missing. Example: DEDUP_{name.upper()}=")


@pytest.mark.parametrize("name", ["input_connection_string", "input_consumer_group"])
def test_a_missing_input_is_named_too(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        bootstrap.build(load(**{**GOOD, name: None}), Telemetry())
    assert str(caught.value).startswith(f"DEDUP_{name.upper()}: is missing. Example: DEDUP_{name.upper()}=")


def test_several_inputs_come_from_the_file_and_their_secrets_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "groups.yaml"
    file.write_text(
        """
inputs:
  - {name: west, connection_string_env: WEST, consumer_group: dedup, retention_seconds: 3600}
  - {name: east, connection_string_env: EAST, consumer_group: dedup}
groups: [{name: plant}]
"""
    )
    settings = load(**{**GOOD, "input_connection_string": None, "input_consumer_group": None, "config_file": file})
    with pytest.raises(ConfigurationError, match=r"(?m)^DEDUP_NAMESPACE: is missing"):
        _ = Config(settings).inputs
    settings = settings.model_copy(update={"namespace": "plant"})
    monkeypatch.setenv("WEST", HUB)
    with pytest.raises(ConfigurationError, match=r"^EAST: is missing; input east in .*groups\.yaml names it"):
        _ = Config(settings).inputs
    monkeypatch.setenv("EAST", HUB.replace("=hub", "=hub2"))
    west, east = Config(settings).inputs
    assert (west.name, west.retention_ms, east.retention_ms) == ("west", 3_600_000, 86_400_000)
    assert "c2VjcmV0" not in repr(west)


async def test_a_round_trip_needs_a_single_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "groups.yaml"
    inputs = ", ".join(f"{{name: {n}, connection_string_env: {n.upper()}, consumer_group: dedup}}" for n in ("west", "east"))
    file.write_text(f"inputs: [{inputs}]\ngroups: [{{name: plant}}]\n")
    monkeypatch.setenv("WEST", HUB)
    monkeypatch.setenv("EAST", HUB.replace("=hub", "=hub2"))
    settings = load(**{**GOOD, "config_file": file, "namespace": "plant", "check_connection_string": HUB})
    with pytest.raises(ConfigurationError, match="^DEDUP_CHECK_CONNECTION_STRING: names one of several inputs"):
        async with bootstrap.build_round_trip(settings):
            pytest.fail("it was built")


def test_a_hub_cannot_be_two_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "groups.yaml"
    inputs = ", ".join(f"{{name: {n}, connection_string_env: {n.upper()}, consumer_group: {n}}}" for n in ("west", "east"))
    file.write_text(f"inputs: [{inputs}]\ngroups: [{{name: plant}}]\n")
    monkeypatch.setenv("WEST", HUB)
    monkeypatch.setenv("EAST", HUB)
    with pytest.raises(ConfigurationError, match="^EAST: names the hub of input west again"):
        bootstrap.build(load(**{**GOOD, "config_file": file, "namespace": "plant"}), Telemetry())


def test_a_group_that_publishes_needs_an_output(tmp_path: Path) -> None:
    file = tmp_path / "groups.yaml"
    file.write_text("groups: [{name: a}, {name: b, mode: drop}]")
    observing = {"mode": "observe", "output_connection_string": None, "dead_letter_connection_string": None}
    with pytest.raises(
        ConfigurationError, match=r"(?m)^DEDUP_OUTPUT_CONNECTION_STRING: is missing, and group b has mode drop"
    ):
        Config(load(**{**GOOD, **observing, "config_file": file})).groups(["0"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "forget"),
        ("window_seconds", "-1"),
        ("window_seconds", "four hours"),
        ("start_at", "yesterday"),
        ("start_at", "2026-01-01T00:00:00"),
        ("start_at", "2026-W01-1T00:00:00Z"),
        ("start_at", "0000-01-01T00:00:00Z"),
        ("http_port", "99999"),
        ("checkpoint_url", "hunter2"),
        ("shards", 0),
        ("api_token", ""),
        ("api_token", "hunter2\n"),
        ("api_token", " hunter2"),
        ("api_token", "hunter2é"),
        ("redis_url", "redis://:hunter2#@host"),
        ("redis_url", "redis://:12#hunter2@host"),
        ("redis_url", "redis://user:12/hunter2@host"),
        ("redis_url", "redis://user:12?hunter2@host"),
        ("redis_url", "redis://user:12#hunter2@host"),
        ("redis_url", "redis://:hunter2/@host"),
        ("redis_url", "rediss://:[hunter2@host"),
        ("redis_url", "redis:///0"),
        ("redis_url", "http://hunter2"),
        ("redis_url", "redis://:hunter2@host/db"),
        ("http_proxy", "http://edge:hunter2#@proxy:3128"),
        ("http_proxy", "http://edge:hunter2/@proxy:3128"),
        ("http_proxy", "http://edge:[hunter2@proxy:3128"),
        ("http_proxy", "http://edge:hunter2\u2100@proxy:3128"),
        ("input_endpoint_address", "fe80::1"),
        ("output_endpoint_address", "hub.plant.example:port"),
        ("dead_letter_endpoint_address", "https://"),
        ("lease_seconds", 3),
        ("output_connection_string", None),
        ("dead_letter_connection_string", None),
    ],
)
def test_a_wrong_setting_is_named_with_an_example_and_without_its_value(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(**{**GOOD, name: value})
    message = str(caught.value)
    assert message.startswith(f"DEDUP_{name.upper()}: ")
    assert "Example: " in message
    assert "\n" not in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("redis_url", "redis://[::1]:6379/0"),
        ("redis_url", "rediss://user:p%23ss%2F@cache.example:6380"),
        ("redis_url", "redis://:p@ss@host"),
        ("redis_url", "redis://host:6379/2?socket_keepalive=true"),
        ("redis_url", "unix:///run/redis.sock"),
        ("http_proxy", "http://user:p%40ss@[::1]:3128"),
        ("input_endpoint_address", "[fe80::1]:443"),
        ("input_endpoint_address", "sb://hub.plant.example:443"),
        ("output_endpoint_address", "hub.plant.example"),
        ("api_token", "aZ09-._~+/=!"),
    ],
)
def test_what_is_legal_is_accepted(name: str, value: str) -> None:
    accepted = getattr(load(**{**GOOD, name: value}), name)
    assert (accepted if isinstance(accepted, str) else accepted.get_secret_value()) == value


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("[::1]", "http://[::1]:8000"),
        ("fe80::1", "http://[fe80::1]:8000"),
        ("10.0.0.7", "http://10.0.0.7:8000"),
    ],
)
def test_the_api_is_reached_from_the_same_machine(host: str, url: str) -> None:
    assert load(**{**GOOD, "http_host": host}).local_url == url


def test_observing_needs_no_output() -> None:
    settings = load(**{**GOOD, "mode": "observe", "output_connection_string": None, "dead_letter_connection_string": None})
    assert settings.output_connection_string is None


def test_secrets_do_not_show() -> None:
    text = repr(load(**GOOD)) + str(load(**GOOD)) + settings_help()
    assert "hunter2" not in text
    assert "c2VjcmV0" not in text


def test_objects_that_hold_secrets_do_not_show_them() -> None:
    assert "hunter2" not in repr(Network(proxy="http://edge:hunter2@proxy:3128"))
    assert "hunter2" not in repr(Checker("http://service", "hunter2", MagicMock()))


def test_every_setting_has_a_description_and_an_example() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.examples, name
        assert f"DEDUP_{name.upper()} " in settings_help()


def test_times_become_milliseconds() -> None:
    assert load(**{**GOOD, "start_at": "2026-01-01T00:00:00+01:00"}).start_position == 1767222000000
    assert load(**GOOD).start_position == "earliest"


def namespace_of(**settings: str) -> str:
    return Config(load(**{**GOOD, **settings})).namespace


def test_two_deployments_on_one_redis_do_not_share_keys() -> None:
    base = namespace_of()
    assert base != namespace_of(input_consumer_group="other")
    assert base != namespace_of(output_connection_string=HUB.replace("=hub", "=hub2"))
    assert base != namespace_of(input_connection_string=HUB.replace("//ns.", "//plant-b."))
    assert base == namespace_of(input_connection_string=HUB.replace("//ns.", "//NS."))
    assert namespace_of(namespace="mine") == "mine"


def test_the_default_namespace_of_before_stays_known_for_the_upgrade() -> None:
    """It did not contain the input hub. The value is what deployments in the field have in Redis."""
    assert Config(load(**GOOD)).former_namespace == "ddffe47e76"
    other = load(**{**GOOD, "input_connection_string": HUB.replace("=hub", "=hub2")})
    assert Config(other).former_namespace == "ddffe47e76"
    assert Config(load(**GOOD, namespace="mine")).former_namespace is None


def test_the_group_that_is_read_back_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^DEDUP_OUTPUT_CONSUMER_GROUP: is missing: .*=dedup$"):
        Config(load(**{**GOOD, "output_consumer_group": None})).outputs  # noqa: B018  # it raises
    (by_name,) = Config(load(**{**GOOD, "output_consumer_group": "$Default"})).outputs
    assert by_name.consumer_group == "$Default"
    file = tmp_path / "groups.yaml"
    file.write_text("outputs: [{name: ovens, connection_string_env: OVENS}]\ngroups: [{name: plant}]")
    with pytest.raises(ConfigurationError, match=r"outputs\[0\]\.consumer_group: Field required"):
        Config(load(**{**GOOD, "config_file": file, "namespace": "plant"}))


@pytest.mark.parametrize("name", ["input_connection_string", "output_connection_string"])
@pytest.mark.parametrize(
    "value",
    ["nonsense", HUB.replace(";EntityPath=hub", ""), HUB.replace("//ns", "//[ns"), HUB.replace("//ns.", "//::1:5672/")],
)
def test_a_wrong_connection_string_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^DEDUP_{name.upper()}: ") as caught:
        bootstrap.build(load(**{**GOOD, name: value}), Telemetry())
    assert "c2VjcmV0" not in str(caught.value)


def test_a_checkpoint_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="^DEDUP_CHECKPOINT_URL: "):
        bootstrap.make_checkpoints(
            load(**{**GOOD, "checkpoint_url": f"sqlite:///{tmp_path}/no/such/x.db"}),
            AzureClients(Network()),
            "ns",
            "hub",
            "dedup",
        )
