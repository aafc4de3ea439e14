"""Some of the SDK's own live tests pass on the stand-in. All of them take a quarter of an hour: `make soak` runs them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.sdk import live_tests

SOME = "mgmt or annotated or web_socket or event_hubs_client or partition_ids or get_partition_properties"
AT_LEAST = 13
PAGE = live_tests.ROOT / "docs" / "sandbox.md"


@pytest.mark.timeout(live_tests.SECONDS)
async def test_some_of_the_sdks_own_live_tests_pass_unchanged(tmp_path: Path) -> None:
    tests = await asyncio.to_thread(live_tests.fetch, tmp_path)
    result = await asyncio.to_thread(live_tests.run, tests, tmp_path, "-k", SOME, workers=2)
    assert not result.failed, result
    assert not result.unexplained(), result
    assert len(result.passed) >= AT_LEAST, result


def test_the_page_names_the_tests_that_are_left_out() -> None:
    page = PAGE.read_text()
    assert [name for name in live_tests.LEFT_OUT if f"`{name}`" not in page] == []
