"""What is written here is what the library writes, for every value."""

from __future__ import annotations

from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from wire.canonical_json import MAX_EXACT, canonical_json, canonical_json_of_all_digits

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


def without_large(value: Any) -> Any:
    if isinstance(value, list):
        return [without_large(item) for item in value]
    if isinstance(value, dict):
        return {name: without_large(item) for name, item in value.items()}
    return 0 if isinstance(value, float) and abs(value) > MAX_EXACT else value


@given(VALUES.map(without_large))
def test_of_all_digits_it_is_the_same_where_rfc_8785_has_a_form(value: Any) -> None:
    assert canonical_json_of_all_digits(value) == rfc8785.dumps(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**53, "9007199254740992"),
        ([2**63 - 1, -(2**64)], "[9223372036854775807,-18446744073709551616]"),
        ({"b": 1e22, "a": {"\ufb33": 10**30, "\U0001f600": True}}, None),
        (["9007199254740993", 9007199254740993], '["9007199254740993",9007199254740993]'),
    ],
)
def test_whole_numbers_of_any_size_have_all_their_digits(value: Any, expected: str | None) -> None:
    if expected is None:
        expected = '{"a":{"\U0001f600":true,"\ufb33":1' + "0" * 30 + '},"b":1' + "0" * 22 + "}"
    assert canonical_json_of_all_digits(value).decode() == expected


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], "\ud800", {"\ud800": 1}, {1: 2}, b"x", [[b"x"]], [10**5000]]
)
def test_what_has_no_form_of_all_digits_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical_json_of_all_digits(value)
