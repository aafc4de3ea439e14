"""The drill with two of its patterns: its figures are what the patterns promise. `make drill` has all of them, more than two
cores can run beside other tests; senders that take turns are in test_peers.py."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from sandbox.peers.node import install_node_packages
from tests.support.verdicts import require_verdict

DEADLINE_SECONDS = 600


@pytest.mark.timeout(DEADLINE_SECONDS + 20)
async def test_duplicates_lose_nothing_where_a_restart_elsewhere_does(tmp_path: Path) -> None:
    await asyncio.to_thread(install_node_packages)
    summary, chart = tmp_path / "out.json", tmp_path / "chart.svg"
    patterns = ["--pattern", "dup2", "--pattern", "k8s", "--fault", "power"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", "drill", *patterns, "--summary", str(summary), "--chart", str(chart),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
    )  # fmt: skip
    printed, _ = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
    require_verdict(process.returncode, printed.decode())
    assert "duplicates, 2 replicas" in printed.decode()
    assert "Kubernetes cluster (modelled)" in printed.decode()
    figures = json.loads(summary.read_text())
    rows = {row["pattern"]: row for row in figures["rows"]}
    assert (figures["clean_duplicates"], figures["unknown"]) == (0, 0)
    assert (rows["dup2"]["measured"]["lost"], rows["dup2"]["rpo_seconds"]) == (0, 0)
    copies = figures["copies_per_reading"]
    assert 2 <= copies["dup2"] < 2.2  # a batch may be sent again
    assert 1 <= copies["k8s"] < 1.1
    shortened = rows["k8s"]["relocation_seconds"] / figures["scale"]
    assert rows["k8s"]["measured"]["lost_seconds"] >= shortened * 0.9  # how much longer is the machine's affair
    silence = rows["k8s"]["measured"]["silence_seconds"] + figures["normal_silence_seconds"]["k8s"]
    assert silence >= shortened * 0.9
    full = rows["k8s"]["relocation_seconds"] - shortened
    assert rows["k8s"]["rto_seconds"] == pytest.approx(rows["k8s"]["measured"]["silence_seconds"] + full, abs=0.1)
    assert rows["dup2"]["measured"]["silence_seconds"] < rows["k8s"]["measured"]["silence_seconds"]
    assert chart.read_text().lstrip().startswith("<?xml")


@pytest.mark.timeout(DEADLINE_SECONDS + 20)
async def test_two_gateways_lose_nothing_when_one_is_cut_off_from_the_machines_or_a_server_goes_away(tmp_path: Path) -> None:
    await asyncio.to_thread(install_node_packages)
    summary = tmp_path / "out.json"
    chosen = ["--pattern", "dup2", "--fault", "machines", "--fault", "server"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", "drill", *chosen, "--summary", str(summary),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
    )  # fmt: skip
    printed, _ = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
    require_verdict(process.returncode, printed.decode())
    figures = json.loads(summary.read_text())
    assert {row["fault"]: row["measured"]["lost"] for row in figures["rows"]} == {"machines": 0, "server": 0}
    assert all(row["measured"]["emitted"] > 0 for row in figures["rows"])
    assert (figures["clean_duplicates"], figures["unknown"], figures["lost_in_the_whole_run"]) == (0, 0, {"dup2": 0})
