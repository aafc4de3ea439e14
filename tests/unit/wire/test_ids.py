"""R1: the id depends on nothing but source, strategy and identity fields."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_sender.identity.rules import mint, parse_rules
from sandbox.peers.node import NODE
from wire.ids import Content, NoIdentityError, Sample, Sequence, SourceTime, TimeBucket, reading_id

VECTORS_FILE = Path(__file__).parents[2] / "vectors" / "reading_ids.json"
EXAMPLE = Path(__file__).parents[3] / "examples" / "javascript"
VECTORS = json.loads(VECTORS_FILE.read_text())


@pytest.mark.parametrize("vector", VECTORS["ids"], ids=lambda v: v["name"])
def test_golden_vectors(vector: dict[str, Any]) -> None:
    fields = tuple(field.encode() for field in vector["fields"])
    assert reading_id(vector["source"], vector["strategy"], fields) == vector["id"]


@pytest.mark.parametrize("vector", VECTORS["samples"], ids=lambda v: v["name"])
def test_golden_vectors_of_whole_samples(vector: dict[str, Any]) -> None:
    time_ns = None if vector["time_ns"] is None else int(vector["time_ns"])
    sample = Sample(vector["source"], time_ns, vector["data"])
    assert mint(sample, parse_rules(vector["rule"])) == vector["id"]


def test_javascript_computes_the_same_ids_with_nothing_but_its_standard_library() -> None:
    """The example's own test checks each id; here, that it checks all of them."""
    command = [str(NODE), "--test", "--test-reporter", "tap"]
    done = subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    expected = {f"{kind}: {vector['name']}" for kind in ("ids", "samples") for vector in VECTORS[kind]}
    assert set(re.findall(r"^ok \d+ - (.*)$", done.stdout, re.MULTILINE)) == expected
    assert not re.findall(r'from "(?!node:)', (EXAMPLE / "reading_id.mjs").read_text())


def test_the_id_does_not_depend_on_hash_seed_locale_or_time_zone() -> None:
    code = (
        "from edge_sender.identity.rules import *; "
        "print(mint(Sample('urn:ä', 5, {'b': 1.5, 'a': ['ü', None]}), parse_rules('content')))"
    )
    ids = set()
    for seed, locale, zone in (("0", "C", "UTC"), ("1", "C.UTF-8", "Asia/Kolkata"), ("2", "POSIX", "America/Lima")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": locale, "TZ": zone}
        ids.add(subprocess.check_output([sys.executable, "-c", code], env=environment, text=True))
    assert len(ids) == 1


def test_the_order_of_members_does_not_change_a_content_id() -> None:
    one = Content().fields(Sample("s", None, {"a": 1, "b": 2}))
    assert one == Content().fields(Sample("s", None, {"b": 2, "a": 1}))


def test_moving_bytes_between_parts_changes_the_id() -> None:
    assert reading_id("s", "x", (b"ab", b"c")) != reading_id("s", "x", (b"a", b"bc"))
    assert reading_id("s", "x", (b"ab",)) != reading_id("s", "x", (b"a", b"b"))
    assert reading_id("sx", "y", ()) != reading_id("s", "xy", ())


def test_a_time_bucket_tolerates_jitter_below_half_an_interval() -> None:
    bucket = TimeBucket(interval_ns=1000)
    at = [bucket.fields(Sample("s", 5000 + jitter, None)) for jitter in (-500, -400, 0, 400, 499)]
    assert len(set(at)) == 1
    assert bucket.fields(Sample("s", 5500, None)) != at[0]


def test_a_phase_moves_the_grid() -> None:
    bucket = TimeBucket(interval_ns=1000, phase_ns=500)
    assert bucket.fields(Sample("s", 5499, None)) != bucket.fields(Sample("s", 6001, None))
    assert bucket.fields(Sample("s", 5501, None)) == bucket.fields(Sample("s", 5999, None))


@pytest.mark.parametrize("data", [None, 5, {}, {"sequence": -1}, {"sequence": True}, {"sequence": 1.5}, {"sequence": "7"}])
def test_a_payload_without_a_counter_has_no_sequence_identity(data: Any) -> None:
    with pytest.raises(NoIdentityError):
        Sequence().fields(Sample("s", 1, data))


def test_a_reading_without_source_time_has_no_time_identity() -> None:
    for identity in (SourceTime(), TimeBucket(1000)):
        with pytest.raises(NoIdentityError):
            identity.fields(Sample("s", None, {}))


def test_a_number_without_canonical_form_has_no_content_identity() -> None:
    with pytest.raises(NoIdentityError):
        Content().fields(Sample("s", None, {"a": float("nan")}))


def test_the_first_matching_rule_decides() -> None:
    rules = parse_rules("*/counter=sequence, *=time-bucket:0.5+0.1")
    assert isinstance(rules.of("urn:x;s=press/counter"), Sequence)
    assert rules.of("urn:x;s=press/other") == TimeBucket(500_000_000, 100_000_000)


@pytest.mark.parametrize("text", ["", "guid", "time-bucket", "time-bucket:0", "time-bucket:x", "sequence:3"])
def test_a_wrong_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"strategy|strategies|not one of|needs"):
        parse_rules(text)
