"""The attribute of a reducing or aggregating state in a handler.

    loop       attribute.pair = column of the row      the accumulator, or (accumulator, expiry), or MISSING
    handler    self.total.add(3)                       pair = what there is now
    loop       column is not attribute.pair ?          stored where it changed

An accumulator that is changed in place and given back is the same object. Then the loop sees no change, and has not to:
what was handed out and may be changed is looked at by the next snapshot, as with any state (state/memtable.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Never, Self, cast

from actorstream.state.missing import MISSING, private_copy

if TYPE_CHECKING:
    from actorstream.operators.accumulating_declarations import AccumulatingDeclaration
    from actorstream.operators.ttl import Lifetime


class AccumulatingValue:
    """One state of one process object; stands in its generated class, and is what the attribute gives.

    Attributes:
        pair: What the current key has; None where there is no key, and any use is refused (T32).
    """

    __slots__ = ("_declaration", "_lifetime", "_owner", "pair")

    def __init__(self, declaration: AccumulatingDeclaration, owner: type, lifetime: Lifetime | None) -> None:
        """Begin outside of any handler."""
        self._declaration = declaration
        self._owner = owner
        self._lifetime = lifetime
        self.pair: object = None

    def __get__(self, obj: object, owner: type) -> object:
        """Give this object, whether there is a key or not: it may be kept, so its methods ask."""
        return self if obj is not None else self._declaration.reference(owner)

    def __set__(self, obj: object, value: object) -> None:
        """Refuse: the state is made of what was added."""
        raise self._declaration.assigned(self._owner)

    def __delete__(self, obj: object) -> None:
        """Forget what was added."""
        self.clear()

    def add(self, value: object) -> None:
        """Add a value, which lets all of it begin to age anew."""
        new, lifetime = self._declaration.plus(self._held(), value), self._lifetime
        self.pair = new if lifetime is None else (new, lifetime.time.written + lifetime.duration)

    def get(self) -> object:
        """Give the result of what was added, None if that is nothing."""
        held, lifetime = self._held(), self._lifetime
        if held is MISSING:
            return None
        if lifetime is not None and lifetime.by_read:
            self.pair = lifetime.on_read(cast("tuple[object, int]", self.pair))
        return private_copy(self._declaration.result(held))

    def clear(self) -> None:
        """Forget what was added."""
        self._held()
        self.pair = MISSING

    def _held(self) -> object:
        pair, lifetime = self.pair, self._lifetime
        if pair is None:
            raise self._declaration.refuse(self._owner)
        if pair is MISSING or lifetime is None:
            return pair
        held, expiry = cast("tuple[object, int]", pair)
        if lifetime.time.now < expiry:
            return held
        self.pair = MISSING  # what has expired goes, and cannot come back with a clock that is set back
        return MISSING

    def answer(self, stored: object) -> object:
        """Give the result of what is stored, to a query: what is stored stays as it is."""
        return self._declaration.result(private_copy(stored))

    def __iadd__(self, value: object) -> Self:
        """Refuse `self.total += 3` with what to say, where Python would say that it cannot be done."""
        raise self._declaration.assigned(self._owner)

    def __bool__(self) -> Never:
        """Refuse: `if self.total:` would be true whatever was added."""
        raise TypeError(f"{self._declaration.name}: ask for its result, as in self.{self._declaration.name}.get()")

    def __repr__(self) -> str:
        """Show whose it is: values may be secret."""
        return f"<state {self._owner.__name__}.{self._declaration.name}>"
