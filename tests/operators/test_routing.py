"""Where a key goes: the same in every process, and remembered."""

from __future__ import annotations

import pytest

from actorstream.codec.ordered_keys import encode_key
from actorstream.errors import CodecError
from actorstream.model.key_groups import key_group_of, owner_of
from actorstream.operators import routing
from actorstream.operators.routing import Chooser, Router


def test_key_goes_to_the_owner_of_its_key_group() -> None:
    router = Router(3, 128)

    for key in ["a", "b", "ß", ""]:
        assert router.route(key) == owner_of(key_group_of(encode_key(key), 128), 3, 128)
        assert router.known[key] == router.route(key)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of ever new keys must not fill memory."""
    monkeypatch.setattr(routing, "_KNOWN_MAX", 10)
    router = Router(2, 128)

    for key in range(35):
        router.route(key)

    assert len(router.known) <= 10


@pytest.mark.parametrize("key", [None, object(), 1.5j, float("nan")], ids=["None", "object", "complex", "nan"])
def test_key_that_cannot_be_encoded_is_refused(key: object) -> None:
    with pytest.raises(CodecError):
        Router(2, 128).route(key)


@pytest.mark.parametrize("second", ["1", 1.5, b"1", (1,)])
def test_second_type_of_key_is_refused_wherever_it_would_go(second: object) -> None:
    """T137: a receiver sees only its own share of the keys, so it may never see both types."""
    router = Router(2, 128)
    router.route(1)

    with pytest.raises(CodecError, match=r"all keys of one key_by are of one type"):
        router.route(second)


class Turns:
    """Deals out in turn, and remembers whose turn it is."""

    def __init__(self) -> None:
        self.turn = -1

    def __call__(self, record: object, targets: int) -> int:
        """Give the next."""
        self.turn += 1
        return self.turn % targets


def test_two_edges_that_share_a_chooser_take_turns_of_their_own_t126() -> None:
    turns = Turns()
    first, second = Chooser(turns, 3), Chooser(turns, 2)

    assert [first.choose("a") for _ in range(4)] == [0, 1, 2, 0]
    assert [second.choose("a") for _ in range(3)] == [0, 1, 0]
    assert turns.turn == -1


@pytest.mark.parametrize(
    ("given", "error"),
    [("1", TypeError), (None, TypeError), (True, TypeError), (1.0, TypeError), (2, ValueError), (-1, ValueError)],
)
def test_what_is_no_subtask_is_refused(given: object, error: type[Exception]) -> None:
    """Else -1 would be the last one's, and True the second's."""
    with pytest.raises(error, match=f"partition_by: the function gave {given!r}.* 1"):
        Chooser(lambda record, n: given, 2).choose("a")
