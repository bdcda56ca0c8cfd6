"""What stands in a state's attribute while no handler runs: any use of it is refused (T32).

Reading the attribute gives this object, since a class that could refuse the reading
itself would make every access in a handler twice as slow (measured: 0.58 against
0.71 of a plain keyed sum). Whatever is then done with it raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Never

if TYPE_CHECKING:
    from actorstream.errors import StateAccessError
    from actorstream.operators.state_declarations import Declaration

_USES = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "divmod", "pow", "matmul", "and", "or", "xor"),
    *("radd", "rsub", "rmul", "rtruediv", "rfloordiv", "rmod", "rdivmod", "rpow", "rmatmul", "rand", "ror", "rxor"),
    *("lshift", "rshift", "rlshift", "rrshift", "iadd", "isub", "imul", "ior", "iand", "ixor"),
    *("neg", "pos", "abs", "invert", "round", "trunc", "floor", "ceil", "int", "float", "complex", "index"),
    *("lt", "le", "gt", "ge", "eq", "ne", "hash", "bool", "len", "contains", "iter", "next", "reversed", "call"),
    *("getitem", "setitem", "delitem", "setattr", "delattr", "enter", "exit", "await", "aiter", "aenter", "aexit"),
    *("str", "format", "bytes", "fspath", "copy", "deepcopy", "reduce_ex"),
)


def _refusal(self: Outside, *_: object) -> Never:
    raise self.refusal()


class Outside:
    """Belongs to one state of one process object. Only `repr` works, for debuggers."""

    __slots__ = ("_declaration", "_owner")
    _declaration: Declaration
    _owner: type

    def __init__(self, declaration: Declaration, owner: type) -> None:
        """Stand for `declaration`, found through `owner`."""
        object.__setattr__(self, "_declaration", declaration)
        object.__setattr__(self, "_owner", owner)

    def __repr__(self) -> str:
        """Say what this is."""
        return f"<state {self._owner.__name__}.{self._declaration.name} outside a handler>"

    def refusal(self) -> StateAccessError:
        """Say why there is no value here."""
        return self._declaration.refuse(self._owner)

    def __getattr__(self, name: str) -> Never:
        """Refuse methods and attributes."""
        raise self.refusal()


for _use in _USES:
    setattr(Outside, f"__{_use}__", _refusal)
