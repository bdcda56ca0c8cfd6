"""A closed gate holds records and lets control messages through."""

from __future__ import annotations

from actorstream.runtime.gate import Gate


def test_who_stands_behind_hears_of_each_opening_once() -> None:
    gate, heard = Gate(), list[str]()
    gate.stand_behind(lambda: heard.append("a"))
    gate.stand_behind(lambda: heard.append("b"))

    gate.hold(False)
    gate.hold(True)
    gate.hold(True)
    assert gate.closed
    assert heard == []

    gate.hold(False)
    gate.hold(False)
    assert not gate.closed
    assert heard == ["a", "b"]
