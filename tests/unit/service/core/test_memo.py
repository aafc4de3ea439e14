"""Results for texts that senders choose are remembered within bounds."""

from __future__ import annotations

from dedup_service.core.memo import MAX_LENGTH, MemoDict, memoized


def test_a_text_is_computed_once_unless_it_is_too_long_or_others_came_between() -> None:
    computed: list[str] = []

    @memoized(2)
    def shout(text: str, mark: str) -> str:
        computed.append(text)
        return text.upper() + mark

    for text in ("a", "a", "b", "c", "a"):
        assert shout(text, "!") == text.upper() + "!"
    assert computed == ["a", "b", "c", "a"]
    long = "x" * (MAX_LENGTH + 1)
    assert shout(long, "!") == shout(long, "!")
    assert computed[4:] == [long, long]


def test_a_memo_dict_is_bounded_too() -> None:
    computed: list[str] = []

    def shout(text: str) -> str:
        computed.append(text)
        return text.upper()

    known = MemoDict(shout, 2)
    assert [known[text] for text in ("a", "a", "b", "c", "a")] == ["A", "A", "B", "C", "A"]
    assert computed == ["a", "b", "c", "a"]
    long = "x" * (MAX_LENGTH + 1)
    assert known[long] == known[long] == long.upper()
    assert computed[4:] == [long, long]
    assert len(known) == 2
