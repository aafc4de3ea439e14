"""The demo as a newcomer runs it, but shorter."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.verdicts import require_verdict

COMMAND = [sys.executable, "-m", "sandbox", "demo"]
TIMEOUT_SECONDS = 150
REQUEST = r"^  curl '(http://127\.0\.0\.1:\d+/v1/keys\?source=[^'\s]+&id=[0-9a-f]+)'$"


def test_the_demo_ends_by_itself_with_a_clean_audit(tmp_path: Path) -> None:
    summary = tmp_path / "out.json"
    done = subprocess.run(
        [*COMMAND, "--seconds", "18", "--summary", str(summary)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    require_verdict(done.returncode, done.stdout + done.stderr)
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
    assert len(re.findall(REQUEST, done.stdout, re.MULTILINE)) == 1
    coverage = figures["coverage"]
    assert 0 < coverage["edge-2/sender"] < min(coverage["edge-1/sender"], coverage["edge-3"])


def fate(url: str) -> dict[str, Any]:
    """Empty while there is no answer."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            (key,) = json.load(answer)
    except OSError:
        return {}
    return cast("dict[str, Any]", key)


def is_published_and_complete(key: dict[str, Any]) -> bool:
    return bool(key) and key["copies"] >= 3 and key["verdict"] == "published"


def test_ctrl_c_ends_the_demo_cleanly(tmp_path: Path) -> None:
    """And the request that it prints tells what became of a reading, as it stands."""
    log = tmp_path / "log"
    with log.open("w") as output:
        demo = subprocess.Popen([*COMMAND], stdout=output, stderr=output, env={**os.environ, "PYTHONUNBUFFERED": "1"})
        try:
            deadline, key = time.monotonic() + TIMEOUT_SECONDS, dict[str, Any]()
            while not is_published_and_complete(key):
                assert demo.poll() is None, log.read_text()
                if time.monotonic() >= deadline:
                    pytest.fail(log.read_text())
                time.sleep(0.1)
                printed = re.search(REQUEST, log.read_text(), re.MULTILINE)
                key = fate(printed[1]) if printed else {}
            assert sorted(key["replicas"]) == ["edge-1/sender", "edge-2/sender", "edge-3"]
            assert (key["verdict"], key["conflict"]) == ("published", "none")
            # An edge that was killed repeats what it had not seen acknowledged.
            least = "" if key["copies_exact"] else "at least "
            assert key["text"].startswith(f"published; {least}{key['copies']} copies, of edge-")
        finally:
            demo.send_signal(signal.SIGINT)  # which its children need to end, too
            status = demo.wait(TIMEOUT_SECONDS)
    assert status == 0, log.read_text()
    assert "nothing lost, nothing twice" in log.read_text()
