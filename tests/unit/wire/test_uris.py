"""Source URIs are URI references, and different names never become the same URI."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from wire.uris import UriTemplate, as_uri, encoded, is_uri_reference, joined

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
PREFIXES = st.sampled_from(["mqtt://factory/", "urn:historian:", "urn:", "x:", "https://h:1/a?tag=", "opc#nsu=", "a/"])


@pytest.mark.parametrize("name", ["press-1", "plant/a/meter", "Line_2.Temp~C", "a:b@c", "k=v;w,x(1)!$&'*+", "a//b"])
def test_plain_names_stay_as_they_are(name: str) -> None:
    assert encoded(name) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ofen 3", "Ofen%203"),
        ("Größe", "Gr%C3%B6%C3%9Fe"),
        ("100%", "100%25"),
        ("a%20b", "a%2520b"),
        ("a?b#c[1]", "a%3Fb%23c%5B1%5D"),
        ('"<>\\^`{|}', "%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("\x00\n", "%00%0A"),
        ("e\u0301", "e%CC%81"),
    ],
)
def test_everything_else_is_encoded_once(name: str, expected: str) -> None:
    assert encoded(name) == expected


@given(TEXTS, TEXTS)
def test_different_names_have_different_uris(one: str, two: str) -> None:
    assert unquote(encoded(one), errors="strict") == one
    assert (encoded(one) == encoded(two)) == (one == two)


@given(PREFIXES, TEXTS)
def test_a_prefix_and_a_name_are_a_uri_reference_or_are_refused(prefix: str, name: str) -> None:
    assume(prefix + encoded(name))
    try:
        assert is_uri_reference(joined(prefix, encoded(name)))
    except ValueError:
        assert "//" in (prefix + name)[:4] or prefix == "a/"  # a host of its own


@given(TEXTS)
def test_what_a_server_states_becomes_a_uri_and_stays_one(stated: str) -> None:
    once = as_uri(stated)
    assert as_uri(once) == once
    assert "#" not in once
    assert once.isascii()


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("urn:factory:plc-1", "urn:factory:plc-1"),
        ("http://plc/UA?x=1", "http://plc/UA?x=1"),
        ("urn:Prüfstand 1", "urn:Pr%C3%BCfstand%201"),
        ("urn:a%20b", "urn:a%20b"),
        ("urn:50%", "urn:50%25"),
        ("urn:a#b", "urn:a%23b"),
        ("urn:a[1]", "urn:a%5B1%5D"),
        ("http://[::1]/UA", "http://[::1]/UA"),
    ],
)
def test_uris_of_servers(stated: str, expected: str) -> None:
    assert as_uri(stated) == expected
    assert is_uri_reference(as_uri(stated))


@pytest.mark.parametrize(
    "uri",
    [
        "a",
        "/a/b",
        "//host/a",
        "urn:a:b",
        "mqtt://u:p@host:1883/a?b#c",
        "http://[::1]:80/",
        "a/b:c",
        "?a",
        "#b",
        "http://h:/",
    ],
)
def test_uri_references(uri: str) -> None:
    assert is_uri_reference(uri)


@pytest.mark.parametrize(
    "uri", ["", "a b", "ä", "1:a", "a%2", "a%zz", "a[1]", "http://h:x/", "http://[::1/", "a#b#c", "{a}", "urn:a\n", ":a"]
)
def test_no_uri_references(uri: str) -> None:
    assert not is_uri_reference(uri)


def test_a_template_takes_values_as_they_stand() -> None:
    template = UriTemplate("urn:{site}:{Tag Name}")
    assert template.names == {"site", "Tag Name"}
    assert template.fill({"site": "1.10", "Tag Name": "Ofen 3", "other": ""}) == "urn:1.10:Ofen%203"
    with pytest.raises(KeyError):
        template.fill({"site": "a"})
    with pytest.raises(ValueError, match="not a URI reference"):
        UriTemplate("urn:{a}").fill({"a": "//h:x"})


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("urn:{a}/{b}", "urn:1%2F2/3"),
        ("urn:{a}:{b}", "urn:1/2:3"),
        ("urn:{a}-{b}", "urn:1/2-3"),
        ("urn:{a}/x", "urn:1/2/x"),
        ("urn:{a}?{b}", "urn:1/2?3"),
    ],
)
def test_only_what_separates_values_is_encoded_in_them(text: str, uri: str) -> None:
    assert UriTemplate(text).fill({"a": "1/2", "b": "3"}) == uri


@given(st.sampled_from(["{a}/{b}", "{a}-{b}", "x{a}y/y{b}z", "{a}.-{b}:{a}", "a/{a}?{b}", "{a}~x{b}"]), st.data())
def test_different_values_make_different_uris(text: str, data: st.DataObject) -> None:
    values = st.fixed_dictionaries({name: st.text("12/-.~?:xyz%", max_size=5) for name in "ab"})
    one, other = data.draw(values), data.draw(values)
    template = UriTemplate("urn:plant:" + text)  # behind a name, no value makes up a host
    assert (template.fill(one) == template.fill(other)) == (one == other)


@pytest.mark.parametrize("text", ["urn:{a}{b}", "urn:{a}and{b}", "urn:{a}:{b}1{c}"])
def test_a_template_that_does_not_separate_values_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="does not separate its values"):
        UriTemplate(text)


@pytest.mark.parametrize("text", ["", "urn:{a", "urn:a}", "urn:{}", "urn:ä:{a}", "1:{a}", "urn:{{a}}"])
def test_a_template_that_makes_no_uri_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the template of a URI"):
        UriTemplate(text)


def test_the_advice_is_a_template() -> None:
    with pytest.raises(ValueError, match="perhaps 'urn:gr%C3%B6%C3%9Fe:{a b}'"):
        UriTemplate("urn:größe:{a b}")


@given(TEXTS)
def test_identifiers_of_opc_ua_keep_their_form(text: str) -> None:
    assert encoded(text, "/:@") == quote(text, safe="/:@")
