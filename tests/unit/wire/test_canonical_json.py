"""What is written here is what the library writes, for every value."""

from __future__ import annotations

from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from wire.canonical_json import MAX_EXACT, canonical_json

NUMBERS = st.integers(-MAX_EXACT, MAX_EXACT) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.fixed_dictionaries({"value": inner, "status": inner})
    ),
)


@given(VALUES)
@example(-0.0)
@example(1e15)
@example(1e21)
@example(123456789012345.6)
@example(1e-5)
@example({"\ufb33": 1, "\U0001f600": 2})
@example("\u007f\u2028\x1f/")
@example([[[[[[{}]]]]]])
def test_it_is_the_librarys_form(value: Any) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [2**53, 1e16, float(2**60)])
def test_what_no_double_holds_exactly_is_text_if_it_must_be_exact(value: float) -> None:
    assert canonical_json(value, exact=True) == f'"{int(value)}"'.encode()


@pytest.mark.parametrize("value", [2**53, float("nan"), float("inf"), "\ud800", {1: 2}, {1: 2, "a": 3}, b"x", [[b"x"]]])
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical_json(value)
