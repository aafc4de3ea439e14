"""What a service that is misconfigured says at its start, before it takes anything from those that run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dedup_service import __version__
from dedup_service.bootstrap import build, check_start, retention_warnings
from dedup_service.config.config import Config
from dedup_service.config.settings import Settings
from dedup_service.errors import ConfigurationError
from dedup_service.telemetry import Telemetry
from sandbox.hub.stand_in import StandIn
from tests.support import hub
from tests.support.expired import let_expire
from tests.support.readers import others
from tests.support.service import DEADLINE_SECONDS, running_service, settings_of


async def refused(settings: Settings, message: str) -> None:
    """Expects that the service does not start, and that `check` says the same."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        with pytest.raises(ConfigurationError, match=message):
            await build(settings, Telemetry()).run()
        with pytest.raises(ConfigurationError, match=message):
            await check_start(settings)


async def test_it_does_not_run_beside_a_version_with_another_default_namespace(
    stand_in: StandIn, redis_url: str, tmp_path: Path
) -> None:
    by_default = settings_of(stand_in, redis_url, tmp_path, None)
    former = Config(by_default).former_namespace
    assert former is not None
    async with running_service(stand_in, redis_url, tmp_path, former) as old:
        await hub.send(stand_in.connection_string("telemetry"), [hub.single("r")])
        await old.until_events(1)
        await refused(by_default, f"^DEDUP_NAMESPACE: .* under {former}, where pods are running.*=dd")
    await refused(by_default, f"^DEDUP_NAMESPACE: .*Set it to {former} to keep them")
    assert await check_start(settings_of(stand_in, redis_url, tmp_path, former)) == []
    assert await check_start(settings_of(stand_in, redis_url, tmp_path, Config(by_default).namespace)) == []


async def test_two_plants_with_one_clean_hub_redis_and_group_name_keep_their_readings(
    stand_in: StandIn, redis_url: str, tmp_path: Path
) -> None:
    """Both plants number their readings alike. The clean hub is a hub of this test alone, so that its name is new."""
    for plant in ("telemetry", "dead-letter"):
        settings = settings_of(
            stand_in, redis_url, tmp_path, None, input_connection_string=stand_in.connection_string(plant)
        )
        async with running_service(
            stand_in,
            redis_url,
            tmp_path,
            Config(settings).namespace,
            input_connection_string=stand_in.connection_string(plant),
            dead_letter_connection_string="discard",
        ) as service:
            await hub.send(stand_in.connection_string(plant), [hub.single("r")])
            await service.until_events(1)
    assert len(await hub.read_all(stand_in.connection_string("clean"))) == 2


async def test_a_group_of_the_clean_hub_that_does_not_exist_is_named(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    settings = settings_of(stand_in, redis_url, tmp_path, namespace, output_consumer_group="nope")
    await refused(settings, "^DEDUP_OUTPUT_CONSUMER_GROUP: the consumer group nope of .*/clean can't be read")


async def test_a_group_that_somebody_else_reads_with_an_epoch_is_reported_and_does_not_prevent_the_start(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    async with others(stand_in, 1, 0):
        async with running_service(stand_in, redis_url, tmp_path, namespace) as service:
            await service.until_ready()
        (problem,) = await check_start(settings_of(stand_in, redis_url, tmp_path, namespace))
        assert problem.startswith("other readers have the consumer group dedup of ")


async def test_what_does_not_prevent_the_start_is_logged_with_its_place(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    options = '{source: ["annotation:iothub-connection-device-id"], time: "system:creation-time", time_format: ms}'
    (path := tmp_path / "groups.yaml").write_text(f"groups: [{{name: press, format: json, format_options: {options}}}]")
    with capture_logs() as logs:
        async with running_service(stand_in, redis_url, tmp_path, namespace, config_file=path) as service:
            await service.until_ready()
    warned = [entry for entry in logs if entry["event"] == "doubtful_identity"]
    assert [entry["place"] for entry in warned] == [f"group press, format_options.{name}" for name in ("source", "time")]
    assert {(entry["log_level"], entry["setting"]) for entry in warned} == {("warning", "DEDUP_CONFIG_FILE")}
    assert "another one for each replica" in warned[0]["effect"]


async def test_the_start_says_with_what_without_secrets(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    (path := tmp_path / "groups.yaml").write_text(
        "groups: [{name: press, devices: [p], mode: drop}, {name: oven, devices: [o], mode: observe}]"
    )
    with capture_logs() as logs:
        async with running_service(stand_in, redis_url, tmp_path, namespace, config_file=path) as service:
            await service.until_ready()
    (line,) = [entry for entry in logs if entry["event"] == "started"]
    strings = {name: stand_in.connection_string(name) for name in ("telemetry", "clean", "dead-letter")}
    host = strings["clean"].partition("sb://")[2].partition("/")[0]
    settings = settings_of(stand_in, redis_url, tmp_path, namespace)
    assert (line["version"], line["mode"], line["namespace"]) == (__version__, "drop/observe", namespace)
    assert line["inputs"] == [f"{host}/telemetry (consumer group {settings.input_consumer_group})"]
    assert line["outputs"] == [f"{host}/clean (consumer group {settings.output_consumer_group})"]
    assert line["dead_letters"] == f"{host}/dead-letter"
    assert line["groups"] == ["press (drop)", "oven (observe)"]
    assert line["groups_file"] == str(path)
    assert redis_url.partition("://")[2].startswith(line["redis"])
    assert line["checkpoints"].startswith("sqlite:///")
    assert not any(string.partition("SharedAccessKey=")[2].partition(";")[0] in str(line) for string in strings.values())


# --- what would keep claims from being rebuilt


async def test_a_clean_hub_that_keeps_less_than_the_window_is_warned_of_with_both_figures(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    let_expire(stand_in, 3600)
    with capture_logs() as lines:
        async with running_service(stand_in, redis_url, tmp_path, namespace, window_seconds=7200) as service:
            await service.until(lambda: any(line["event"] == "clean_retention_short" for line in lines))
            await service.until_ready()
    (line,) = [line for line in lines if line["event"] == "clean_retention_short"]
    assert (line["hub"], line["window_seconds"]) == ("the clean hub", 7200)
    assert 3600 <= line["kept_seconds"] < 3600 + DEADLINE_SECONDS
    settings = settings_of(stand_in, redis_url, tmp_path, namespace, window_seconds=7200)
    (warning,) = await retention_warnings(settings)
    assert "the clean hub keeps events for about 36" in warning
    assert "and the window is 7200 s: " in warning


async def test_a_clean_hub_that_keeps_enough_is_not_warned_of(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    settings = settings_of(stand_in, redis_url, tmp_path, namespace, window_seconds=3600)
    assert await retention_warnings(settings) == []  # nothing has expired
    let_expire(stand_in, 3600)
    assert await retention_warnings(settings) == []
    accepted = settings_of(stand_in, redis_url, tmp_path, namespace, window_seconds=7200, on_redis_loss="continue")
    assert await retention_warnings(accepted) == []


async def test_readers_that_have_the_clean_hub_stay_while_its_retention_is_looked_at(
    stand_in: StandIn, redis_url: str, tmp_path: Path, namespace: str
) -> None:
    let_expire(stand_in, 3600)
    partitions = [partition.id for partition in stand_in.namespace.hubs["clean"].partitions]
    async with others(stand_in, 1, 0, partitions) as readers:
        assert await retention_warnings(settings_of(stand_in, redis_url, tmp_path, namespace, window_seconds=7200)) == []
        assert [reader.connections for reader in readers] == [1] * len(partitions)
