"""Generated files are up to date, and values without a comment are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.generate import ROOT, generated
from tools.values import values_with_comments


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_a_generated_file_is_up_to_date(path: Path) -> None:
    assert path.read_text() == generated()[path], f"run `make generate`: {path.relative_to(ROOT)}"


def test_a_value_without_a_comment_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("# A comment.\na: 1\nb:\n  # Another one.\n  c: {x: 1}\n")
    assert [(value.path, value.default) for value in values_with_comments(file)] == [(("a",), 1), (("b", "c"), {"x": 1})]
    file.write_text("# A comment.\na: 1\nb: 2\n")
    with pytest.raises(ValueError, match="b has no comment"):
        values_with_comments(file)
