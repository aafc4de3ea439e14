"""The demo as a newcomer runs it, but shorter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMAND = [sys.executable, "-m", "sandbox", "demo"]
TIMEOUT_SECONDS = 150


def test_the_demo_ends_by_itself_with_a_clean_audit(tmp_path: Path) -> None:
    summary = tmp_path / "out.json"
    done = subprocess.run(
        [*COMMAND, "--seconds", "18", "--summary", str(summary)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(summary.read_text())
    assert (figures["lost"], figures["clean_duplicates"], figures["unknown"]) == (0, 0, 0)
    assert figures["plant_readings"] == figures["clean_readings"] > 1000
    assert figures["copies_received"] > 2 * figures["clean_readings"]
    assert figures["latency_p50_ms"] > 0
    assert "killed edge-2" in done.stdout
    assert "restarted edge-2" in done.stdout
    assert "/v1/stats" in done.stdout
    changes = [line for line in done.stdout.splitlines() if line.endswith("replicas are sending")]
    assert any("edge-2/sender is silent" in line for line in changes), done.stdout
    assert any("edge-2/sender is live" in line for line in changes), done.stdout
    assert changes[-1].endswith("3 of 3 replicas are sending"), done.stdout
    coverage = figures["coverage"]
    assert 0 < coverage["edge-2/sender"] < min(coverage["edge-1/sender"], coverage["edge-3"])


def test_ctrl_c_ends_the_demo_cleanly(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as output:
        demo = subprocess.Popen([*COMMAND], stdout=output, stderr=output, env={**os.environ, "PYTHONUNBUFFERED": "1"})
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while "replicas sending: edge" not in log.read_text():
            assert demo.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(TIMEOUT_SECONDS) == 0, log.read_text()
    assert "nothing lost, nothing twice" in log.read_text()
