"""All keys of one key_by are of one type, wherever they are made."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.errors import ActorstreamError, CodecError, RestoreError
from actorstream.operators.key_check import KeyCheck


def one_by_one(check: KeyCheck, keys: list[Any]) -> None:
    """Do what the generated loop does."""
    key_type = check.settled()
    for key in keys:
        if type(key) is not key_type:
            key_type = check.one(key)


@pytest.fixture(params=["one by one", "all at once"])
def run(request: pytest.FixtureRequest) -> Any:
    """Either way a key comes."""
    return one_by_one if request.param == "one by one" else KeyCheck.all


@pytest.mark.parametrize(
    "keys", [[1, 2, 1], ["a", "b"], [True, False], [1.0], [(1, "a"), (2, "b")], [b"x"], [(), (1,)]]
)
def test_keys_of_one_type_are_accepted_batch_after_batch(run: Any, keys: list[Any]) -> None:
    check = KeyCheck("count")

    run(check, keys)
    run(check, keys)


@pytest.mark.parametrize(
    ("first", "second"), [(1, True), (True, 1), (1, 1.0), ("a", b"a"), (1, "1"), (1, (1,)), ((1,), 1)]
)
@pytest.mark.parametrize("batches", [1, 2])
def test_second_type_is_refused(run: Any, first: Any, second: Any, batches: int) -> None:
    """T137: 1, 1.0 and True are equal in Python and would share state that is stored under one of them."""
    check = KeyCheck("count")

    message = f"count: key_by gave .*, a {type(second).__name__}, after keys of type {type(first).__name__}; all keys"
    if batches == 2:
        run(check, [first])
    with pytest.raises(CodecError, match=message):
        run(check, [first, second])


@pytest.mark.parametrize("keys", [[(1, "a"), (True, "a")], [(1,), (1.0,)], [("a", 0.0), ("b", False)]])
@pytest.mark.parametrize("batches", [1, 2])
def test_tuples_are_looked_into(run: Any, keys: list[Any], batches: int) -> None:
    """T137: (1,) equals (True,), and their encodings differ."""
    check = KeyCheck("count")
    if batches == 2:
        run(check, keys[:1])

    with pytest.raises(
        CodecError, match=r"count: key_by gave tuples whose part \d is of the types \w+ and \w+; each part"
    ):
        run(check, keys[batches - 1 :])


def test_parts_that_are_never_equal_may_differ(run: Any) -> None:
    """A tuple may begin with a number or a word: nothing is mistaken for anything else."""
    run(KeyCheck("count"), [(1, "a"), ("x", "a"), ("x", b"a"), (1,)])


def test_a_shorter_tuple_among_them_hides_no_part(run: Any) -> None:
    """T137: the others still hold two of which Python knows one."""
    with pytest.raises(CodecError, match="part 1 is of the types float and int"):
        run(KeyCheck("count"), [(1,), (), (1.0,)])


def test_none_is_refused_with_what_to_do(run: Any) -> None:
    with pytest.raises(CodecError, match="count: key_by gave None; filter such records out before"):
        run(KeyCheck("count"), [None])
    with pytest.raises(CodecError, match="count: key_by gave None; filter such records out before"):
        run(KeyCheck("count"), ["a", None])


@pytest.mark.parametrize("key", [[1], {"a": 1}, ([1],), object()])
def test_key_without_an_order_of_its_own_is_refused_at_once(run: Any, key: Any) -> None:
    """Not at the first snapshot."""
    with pytest.raises(CodecError, match="count: key_by gave "):
        run(KeyCheck("count"), [key])


@pytest.mark.parametrize("key", [1.0, True, "1"])
def test_keys_unlike_the_stored_ones_are_refused(run: Any, key: Any) -> None:
    """T34: they would silently miss the state that is there."""
    check = KeyCheck("count")
    check.expect_like(1)

    with pytest.raises(
        RestoreError, match="but the state in the store is kept under keys of type int; give keys of that"
    ):
        run(check, [key])


def test_keys_like_the_stored_ones_are_accepted(run: Any) -> None:
    check = KeyCheck("count")
    check.expect_like("a")

    run(check, ["b", "a"])


def test_a_plain_key_is_asked_about_once_and_a_tuple_each_time() -> None:
    """The loop compares types only; a tuple's parts have to be looked at."""
    plain, tuples = KeyCheck("count"), KeyCheck("count")

    assert plain.one(1) is int
    assert plain.settled() is int
    assert tuples.one((1,)) is not tuple
    assert tuples.settled() is not tuple
    assert not isinstance((1,), tuples.settled())


def test_nothing_to_check_settles_nothing() -> None:
    """A filter may let none through."""
    check = KeyCheck("count")
    check.all([])

    check.all(["a"])
    with pytest.raises(CodecError):
        check.all([1])


keys = st.sampled_from([1, 2, 1.0, True, False, "a", b"a", (1,), (1.0,), (True, "a"), ("a", 1), (), None, [1]])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(keys, max_size=4), max_size=3), keys | st.none())
def test_a_key_is_judged_the_same_alone_and_in_a_batch(batches: list[list[Any]], stored: Any) -> None:
    """A chain that makes its keys itself refuses what one with a hop before it refuses, if not the same key first."""

    def outcome(run: Any) -> object:
        check = KeyCheck("count")
        if stored is not None:
            check.expect_like(stored)
        for number, batch in enumerate(batches):
            try:
                run(check, batch)
            except ActorstreamError:
                return number
        return None

    assert outcome(one_by_one) == outcome(KeyCheck.all)
