"""A sender says with what it has started, and that readings flow; nothing secret is in it."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

from edge_sender.bootstrap import make_sender, make_uplink
from edge_sender.config.settings import load
from edge_sender.observability.starting import MAX_SOURCES, started
from sandbox.hub.stand_in import StandIn
from sandbox.peers.links import Link
from tests.support.senders import SenderProcess, document, until

SOURCES = [
    {"name": name, "kind": "synthetic", "identity": identity} for name, identity in (("a", "sequence"), ("b", "content"))
]


async def test_each_start_says_what_runs_and_what_waits_and_the_first_acknowledged_message_is_told_once(
    stand_in: StandIn, tmp_path: Path
) -> None:
    link = await Link("127.0.0.1", stand_in.amqp_port).start()
    secret = re.search("SharedAccessKey=([^;]+)", stand_in.connection_string("telemetry"))
    assert secret
    through_link = stand_in.connection_string("telemetry").replace(f":{stand_in.amqp_port}/", f":{link.port}/")
    link.cut()
    sender = SenderProcess(tmp_path, "edge-a", through_link, document(*SOURCES))

    def waiting() -> int:
        status = sender.status()
        return 0 if status is None else int(status["spool"]["readings"])

    try:
        await until(lambda: waiting() > 3, "nothing is spooled")
        sender.kill()
        assert "readings flow" not in sender.log_path.read_text()
        link.mend()
        sender.start()
        await until(lambda: ((sender.status() or {}).get("sent") or {}).get("messages", 0) > 2, sender.log_tail())
    finally:
        sender.kill()
        await link.stop()
    log = sender.log_path.read_text()
    first, second = [line for line in log.splitlines() if " started: " in line]
    said = (
        f"INFO edge_sender: started: version {version('redundant-edge-dedup')}; replica edge-a (duplicate); "
        f"uplink event-hubs (sb://127.0.0.1:{link.port}/, telemetry); "
        f"sources a (synthetic, identity sequence), b (synthetic, identity content); spool {sender.spool} holds 0 readings; "
        f"health on 127.0.0.1 port {sender.port}; settings from the environment"
    )
    assert first.endswith(said)
    holds = re.search(r"holds (\d+) readings", second)
    assert holds
    assert int(holds[1]) > 3
    assert log.count("readings flow: the hub has acknowledged the first message (") == 1
    assert secret[1] not in log


async def test_many_sources_are_counted_and_what_is_off_is_said() -> None:
    sources = [{**SOURCES[0], "name": f"s{number}"} for number in range(MAX_SOURCES + 5)]
    key, witness = "c2VjcmV0", "https://account.blob.core.windows.net/witness?sig=signature"
    settings = load(
        uplink="event-hubs",
        connection_string=f"Endpoint=sb://h/;SharedAccessKeyName=n;SharedAccessKey={key};EntityPath=e",
        replica="edge-a",
        ha="active-passive",
        witness=witness,
        sources=document(*sources),
        spool_path="memory",
        http_port=0,
    )
    document_of = settings.sources_document()
    sender = make_sender(settings, document_of, uplink := make_uplink(settings))
    line = started(settings, document_of, sender, {}, replica="edge-a", port=0, from_twin=())
    await uplink.close()
    assert f"s{MAX_SOURCES - 1} (synthetic, identity sequence), and 5 more; spool memory holds 0 readings" in line
    assert "replica edge-a (active-passive)" in line
    assert "; no health port; " in line
    assert not any(text in line for text in (key, "signature"))
