"""Every block of every page is of a kind, and holds: commands run as they stand, files are read by what reads them.

Of commands for a cloud each word is checked against what it names. `terminal.py` says what is substituted.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import time
from collections import ChainMap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import yaml

from dedup_service.config.file import load_config_file
from edge_sender.config.settings import PREFIX as EDGE_PREFIX
from edge_sender.config.settings import load as load_edge
from edge_sender.config.sources import parse_sources
from sandbox.amqp.messages import APPLICATION_PROPERTIES, BareMessage, data_section, properties_section, section
from sandbox.hub.mqtt_face.routes import parse_route
from sandbox.hub.stand_in import HubOptions, StandIn
from tests.documents.blocks import CLOUD, ROOT, Block, Kind, blocks, inline_commands, pages, typed
from tests.documents.line import NAMESPACE, build
from tests.documents.terminal import MACHINE, Terminals
from tests.documents.words import check, mapped_paths, structured_paths, variables
from tests.support.chart import of_kind as chart_kind
from tests.support.chart import render
from tests.support.plc import plc
from tests.support.processes import ServiceProcess
from tools.azure_types.deployments import deployment
from wire.formats.capture import read

PAGES = pages()
VECTORS = ROOT / "tests" / "vectors" / "formats"
GATEWAYS = {f"gw-{letter}": VECTORS / f"ignition-{letter}.json" for letter in "abc"}
OUTPUTS = re.compile("DEDUP_(OUTPUT|DEAD_LETTER)_")
INTERVAL_SECONDS = 0.05
STAND_INS = frozenset(CLOUD | {"curl", "dedup-service"})
"""What a page about a cloud calls and is not there."""
STAND_IN_SAYS, NOBODY = "an-answer", "00000000-0000-0000-0000-000000000000"
PUT_OUT = deployment().outputs["helmValues"]
"""What a page takes from a deployment."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def of_kind(*kinds: Kind) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.kind in kinds]


RUNNABLE = sorted({block.page for block in of_kind(Kind.RUN)})


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_run_or_checked(page: Path) -> None:
    unknown = [str(block) for block in blocks(page) if block.kind is None]
    assert not unknown, f"{unknown}: neither commands nor a file of a known kind: make it one, or name its kind in blocks.py"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_in_the_text_exist_word_by_word(page: Path) -> None:
    for words in inline_commands(page):
        check(words)


async def plant(stand_in: StandIn) -> None:
    """Three gateways, each of which sends what its file holds, again and again, so that whoever listens hears it."""
    telemetry = stand_in.namespace.hubs["telemetry"]
    while True:
        for n, (device, file) in enumerate(GATEWAYS.items()):
            for message in read(file.read_bytes()):
                await asyncio.sleep(INTERVAL_SECONDS)
                stamps = {"iothub-connection-device-id": device, "iothub-connection-module-id": "ignition"}
                sections = properties_section(content_type="application/json") + data_section(message.body)
                known = section(APPLICATION_PROPERTIES, dict(message.properties)) if message.properties else b""
                now_ms = time.time_ns() // 1_000_000
                telemetry.partitions[n].append(
                    BareMessage({}, known + sections), {**stamps, "iothub-message-source": "Telemetry"}, now_ms
                )
                telemetry.partitions[n].notify()


def reads_the_line(page: Path) -> bool:
    """Whether commands on the page need the machine, and the sources' document that the page shows first."""
    return any(MACHINE in block.text for block in blocks(page) if block.kind is Kind.RUN)


@asynccontextmanager
async def line(page: Path, terminals: Terminals) -> AsyncIterator[None]:
    """The machine, where the page takes it for granted, and its sources' document."""
    if not reads_the_line(page):
        yield
        return
    document = next(block.text for block in blocks(page) if block.kind is Kind.SOURCES)
    (file := terminals.folder / "sources.yaml").write_text(terminals.substituted(document))
    del terminals.environment["EDGE_SOURCES"]
    terminals.environment["EDGE_SOURCES_FILE"] = str(file)
    async with plc(build, port=int(terminals.ports["4840"]), namespaces=(NAMESPACE,)):
        yield


@asynccontextmanager
async def world(folder: Path, redis_url: str) -> AsyncIterator[Terminals]:
    """What the pages take for granted: hubs, Redis, gateways that send, the required settings, and captured files."""
    stand_in = StandIn(HubOptions(amqp_port=0, mqtt_port=None, consumer_groups=("dedup", "capture")))
    await stand_in.start()
    environment = ServiceProcess.environment_of(stand_in, redis_url, folder, "", 0)
    for given in ("PATH", "DEDUP_NAMESPACE", "DEDUP_HTTP_PORT"):
        del environment[given]
    environment |= {
        "EDGE_UPLINK": "event-hubs",
        "EDGE_CONNECTION_STRING": stand_in.connection_string("telemetry"),
        "EDGE_REPLICA": "edge-a",
        "EDGE_SOURCES": "{sources: [{name: trial, kind: synthetic, identity: sequence}]}",
        "EDGE_SPOOL_PATH": str(folder / "spool.db"),
    }
    for file in VECTORS.glob("*.json"):
        (folder / file.name).write_bytes(file.read_bytes())
    for device, file in GATEWAYS.items():
        (folder / f"{device}.json").write_bytes(file.read_bytes())
    sending = asyncio.create_task(plant(stand_in))
    terminals = Terminals(folder, environment)
    try:
        yield terminals
        await asyncio.to_thread(terminals.close)
    finally:
        terminals.kill()
        sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending
        await stand_in.stop()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", RUNNABLE, ids=name)
async def test_the_commands_of_a_page_run_as_they_stand(page: Path, tmp_path: Path, redis_url: str) -> None:
    async with world(tmp_path, redis_url) as terminals, line(page, terminals):
        for block in blocks(page):
            if block.kind is Kind.GROUPS:
                (tmp_path / "groups.yaml").write_text(block.text)
            if block.kind is Kind.RUN:
                # Whoever only observes has no clean hub yet.
                observes = "DEDUP_MODE=observe" in block.text
                environment = {n: v for n, v in terminals.environment.items() if not (observes and OUTPUTS.match(n))}
                await asyncio.to_thread(terminals.type, block.text, environment)
            if block.kind is Kind.RUN and "make demo" in block.text:
                assert "nothing lost, nothing twice" in terminals.printed[-1]
            if block.kind is Kind.RUN and "make " in block.text:
                variables(block.text)


@pytest.mark.parametrize("page", sorted({block.page for block in of_kind(Kind.CLOUD)}), ids=name)
def test_commands_for_a_cloud_are_right_word_by_word(page: Path, tmp_path: Path) -> None:
    """Bash reads those of a page in one terminal, so that an unknown variable or a missing quotation mark fails, too."""
    terminals = Terminals(tmp_path, {}, STAND_INS)
    terminals.type("\n".join(block.text for block in blocks(page) if block.kind is Kind.CLOUD))
    commands = [command.splitlines() for command in terminals.words.read_text().strip().split("\n\n")]
    for words in commands:
        check(words)
    files = dict.fromkeys(words[n + 1] for words in commands for n, word in enumerate(words) if word in ("--values", "-f"))
    written = [tmp_path / file for file in files if (tmp_path / file).exists()]
    assert files.keys() - {file.name for file in written} <= {"values.yaml", "my-values.yaml"}
    if written:
        read = [yaml.safe_load(file.read_text().replace(STAND_IN_SAYS, NOBODY)) for file in written]
        (account,) = chart_kind(
            render(dict(ChainMap(*(file if isinstance(file, dict) else PUT_OUT for file in read)))), "ServiceAccount"
        )
        subjects = {words[words.index("--subject") + 1] for words in commands if "--subject" in words}
        assert subjects <= {f"system:serviceaccount:dedup:{account['metadata']['name']}"}


def test_commands_for_a_cluster_name_the_namespace() -> None:
    """The identity of the pods depends on it: in another namespace they would have no rights."""
    for page in (page for page in PAGES if page.parent == ROOT / "docs"):
        typed_in = (command for block in blocks(page) if block.kind is Kind.CLOUD for command in typed(block.text))
        for words in (*map(shlex.split, typed_in), *inline_commands(page)):
            is_ours = any(word == "plant" or word.startswith(("deployment/", "service/", "secret")) for word in words)
            if words and words[0] in ("helm", "kubectl") and is_ours:
                assert words[words.index("--namespace") + 1] == "dedup", words


@pytest.mark.parametrize("block", of_kind(Kind.GROUPS), ids=str)
def test_a_groups_file_is_accepted(block: Block, tmp_path: Path) -> None:
    (file := tmp_path / "groups.yaml").write_text(block.text)
    assert load_config_file(file).groups


@pytest.mark.parametrize("block", of_kind(Kind.SOURCES), ids=str)
def test_a_sources_document_is_accepted(block: Block) -> None:
    assert parse_sources(block.text).sources


@pytest.mark.parametrize("block", of_kind(Kind.VALUES), ids=str)
def test_values_of_the_chart_are_accepted(block: Block) -> None:
    assert chart_kind(render(yaml.safe_load(block.text)), "Deployment")


@pytest.mark.parametrize("block", of_kind(Kind.SETTINGS), ids=str)
def test_variables_are_accepted(block: Block) -> None:
    given = dict(re.findall(r"^(\w+)=(\S+)", block.text, re.MULTILINE))
    assert given
    assert all(setting.startswith(EDGE_PREFIX) for setting in given)
    settings = load_edge(**{setting.removeprefix(EDGE_PREFIX).lower(): value for setting, value in given.items()})
    assert {f"{EDGE_PREFIX}{field.upper()}" for field in settings.model_fields_set} >= given.keys()


@pytest.mark.parametrize("block", of_kind(Kind.CAPTURED), ids=str)
def test_captured_messages_can_be_read(block: Block) -> None:
    written = json.loads(block.text)
    assert read(json.dumps(written if "events" in written else {"events": [{"body": {}, **written}]}).encode())


@pytest.mark.parametrize("block", of_kind(Kind.ROUTES), ids=str)
def test_routes_are_accepted(block: Block) -> None:
    assert all(parse_route(line) for line in block.text.splitlines())


@pytest.mark.parametrize("block", of_kind(Kind.TREE), ids=str)
def test_the_tree_of_the_code_is_there(block: Block) -> None:
    folder = ROOT
    for line in block.text.splitlines():
        indented, named = len(line) - len(line.lstrip()), re.match(r"\s*((?:[\w/.]+,? )*[\w/.]+)(?:  |$)", line)
        if indented > 2 or named is None:
            continue
        for part in named[1].split(", "):
            path = ROOT / part if indented == 0 else folder / part
            assert path.exists(), line
        folder = ROOT / named[1] if indented == 0 else folder


@pytest.mark.parametrize("block", of_kind(Kind.MAPPING), ids=str)
def test_the_mapping_names_what_a_clean_event_has(block: Block) -> None:
    assert mapped_paths(block.text) <= structured_paths()


def test_the_senders_of_other_languages_are_run_by_a_test_of_their_own() -> None:
    for block in of_kind(Kind.TOOLCHAIN):
        assert block.page.parent.parent == ROOT / "examples", f"{block}: nothing runs it"
        assert f'"{block.page.parent.name}"' in (ROOT / "tests" / "acceptance" / "test_examples.py").read_text()
