"""The drill, with two patterns and one fault of it: its figures are what the patterns promise."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

DEADLINE_SECONDS = 280


@pytest.mark.timeout(DEADLINE_SECONDS + 20)
async def test_duplicates_lose_nothing_where_a_restart_elsewhere_does(tmp_path: Path) -> None:
    summary, chart = tmp_path / "out.json", tmp_path / "chart.svg"
    patterns = ["--pattern", "dup2", "--pattern", "k8s", "--fault", "power"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", "drill", *patterns, "--summary", str(summary), "--chart", str(chart),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
    )  # fmt: skip
    printed, _ = await asyncio.wait_for(process.communicate(), DEADLINE_SECONDS)
    assert process.returncode == 0, printed.decode()
    assert "duplicates, 2 replicas" in printed.decode()
    assert "Kubernetes cluster (modelled)" in printed.decode()
    found = json.loads(summary.read_text())
    rows = {row["pattern"]: row for row in found["rows"]}
    assert (found["clean_duplicates"], found["unknown"]) == (0, 0)
    assert (rows["dup2"]["measured"]["lost"], rows["dup2"]["rpo_seconds"]) == (0, 0)
    assert found["copies_per_reading"] == {"dup2": 2.0, "k8s": 1.0}
    shortened = rows["k8s"]["relocation_seconds"] / found["scale"]
    assert rows["k8s"]["measured"]["lost_seconds"] >= shortened * 0.9
    assert rows["k8s"]["rto_seconds"] > rows["k8s"]["relocation_seconds"] * 0.9
    assert rows["dup2"]["measured"]["silence_seconds"] < rows["k8s"]["measured"]["silence_seconds"] / 4
    assert chart.read_text().lstrip().startswith("<?xml")
