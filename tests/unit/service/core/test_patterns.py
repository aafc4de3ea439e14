"""Whether other patterns name every device that a pattern names, decided by trying all short names."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from dedup_service.core.groups import Groups
from dedup_service.core.patterns import are_all_named
from tests.support.groups import group_of

SYMBOLS = "ab/"
NAMES = [
    name for length in range(1, 6) for name in map("".join, itertools.product(SYMBOLS, repeat=length)) if name.count("/") < 2
]
PARTS = ["a", "b", "?", "*", "[ab]", "[!a]", "/", "[a-b]"]


def are_named(pattern: str, others: list[str]) -> bool:
    """By the code that decides to which group a device belongs, for all short names of two letters."""
    groups = Groups([group_of(name="earlier", devices=tuple(others)), group_of(name="later", devices=(pattern,))])
    return not any((group := groups.of_replica(name)) is not None and group.name == "later" for name in NAMES)


@pytest.mark.parametrize(
    ("pattern", "others", "expected"),
    [
        ("edge-1", ["edge-1"], True),
        ("edge-1", ["edge-*"], True),
        ("edge-1", ["edge-2", "edge-?"], True),
        ("edge-1", ["edge-2"], False),
        ("edge-1", ["EDGE-1"], False),
        ("edge-1/sender", ["edge-1"], True),
        ("edge-1", ["edge-1/sender"], False),
        ("edge-1/*", ["edge-*"], True),
        ("edge-1[0-9]", ["edge-1?"], True),
        ("edge-1?", ["edge-1[0-9]"], False),
        ("edge-[ab]", ["edge-a", "edge-b"], True),
        ("edge-[abc]", ["edge-a", "edge-b"], False),
        ("press-*", ["press-1*", "press-2*"], False),
        ("*", ["?*"], True),
        ("press-*", ["*"], True),
        ("*", ["press-*"], False),
        ("*-press", ["*press"], True),
        ("a*b*c", ["a*c"], True),
        ("a*c", ["a*b*c"], False),
        ("[", ["[[]"], True),
        ("[!]]", ["[!]-]", "-"], True),
        ("edge-1", [], False),
    ],
)
def test_whether_every_device_of_a_pattern_has_an_earlier_group(pattern: str, others: list[str], expected: bool) -> None:
    assert are_all_named(pattern, others) is expected


def test_it_agrees_with_what_decides_for_a_device() -> None:
    rng = random.Random(18)
    agreed = {True: 0, False: 0}
    for _ in range(1500):
        patterns = ["".join(rng.choices(PARTS, k=rng.randint(1, 4))) for _ in range(rng.randint(2, 4))]
        pattern, others = patterns[0], patterns[1:]
        said = are_all_named(pattern, others)
        if said:  # of names with other symbols, too
            assert are_named(pattern, others), (pattern, others)
        elif are_named(pattern, others):  # it names longer ones, or such with other symbols, or none at all
            assert any(symbol in pattern for symbol in "*?!") or pattern.count("/") > 1, (pattern, others)
        agreed[said] += 1
    assert min(agreed.values()) > 100


def test_what_takes_too_long_to_decide_is_not_said() -> None:
    started = time.process_time()
    hard = "*" + "?" * 40 + "a"
    assert not are_all_named("*a" + "?" * 60, [f"*{'?' * n}b*a{'?' * (60 - n)}" for n in range(20)] + [hard])
    assert time.process_time() - started < 20
