"""Broadcast state in one subtask: a dict that handlers read, and the one way to write to it.

    self.rules               BroadcastView: a dict, whose own methods write nothing
    ctx.writable(self.rules)  Writable: writes, inside `on_broadcast` only
                                 └─ stored(): what was touched goes into the table of the subtask that keeps it

Reading is what every keyed record may do, so a view is a dict: `self.rules.get(...)` costs what it costs anywhere.
Iteration is in the order of the encoded keys, so that it is the same in every subtask and after every restore; the
dict is brought into that order when somebody iterates.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Never, NoReturn

from actorstream.codec.ordered_keys import encode_key
from actorstream.codec.values import is_immutable
from actorstream.errors import CodecError, StateAccessError
from actorstream.state.missing import MISSING, private_copy
from actorstream.state.unkeyed import BROADCAST_KEY

if TYPE_CHECKING:
    from collections.abc import ItemsView as Items
    from collections.abc import Iterable, Iterator
    from collections.abc import KeysView as Keys
    from collections.abc import ValuesView as Values

    from actorstream.operators.state_declarations import Declaration
    from actorstream.state.map_table import MapTable


class BroadcastView(dict[Any, Any]):
    """`self.rules` of a process. `writer` changes it; the methods of a dict that would are refused."""

    __slots__ = ("_name", "_sorted", "writer")

    def __init__(self, declaration: Declaration, owner: type, table: MapTable | None) -> None:
        """Start empty; `table` is where changes are stored, None in subtasks that do not."""
        super().__init__()
        self._name = f"{owner.__name__}.{declaration.name}"
        self._sorted = True
        self.writer = Writable(self, self._name, table)

    def disorder(self) -> None:
        """A key was added: it may not belong at the end."""
        self._sorted = False

    def _arrange(self) -> None:
        if not self._sorted:
            encoded = self.writer.encoded
            entries = sorted(super().items(), key=lambda entry: encoded[entry[0]])
            super().clear()
            super().update(entries)
            self._sorted = True

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the keys, in order."""
        self._arrange()
        return super().__iter__()

    def __reversed__(self) -> Iterator[Any]:
        """Iterate against the order."""
        self._arrange()
        return super().__reversed__()

    def keys(self) -> Keys[Any]:  # type: ignore[override]  # (a view, as a dict's own)
        """Give the keys, in order."""
        self._arrange()
        return super().keys()

    def values(self) -> Values[Any]:  # type: ignore[override]
        """Give the values, in the order of their keys."""
        self._arrange()
        return super().values()

    def items(self) -> Items[Any, Any]:  # type: ignore[override]
        """Give the entries, in order."""
        self._arrange()
        return super().items()

    def __repr__(self) -> str:
        """Show the size: values may be secret."""
        return f"<broadcast state {self._name} of {len(self)} entries>"

    def copy(self) -> dict[Any, Any]:
        """Give a dict of one's own."""
        return dict(self.items())

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise StateAccessError(
            f"{self._name} is broadcast state, which is read-only here: all subtasks must write the same, so write in "
            f"on_broadcast, to ctx.writable(self.{self._name.rpartition('.')[2]})"
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


class Writable(MutableMapping[Any, Any]):
    """What `ctx.writable(self.rules)` is, during one call of `on_broadcast`.

    A mutable value is copied when it is written, for the record that it comes from is other subtasks' too; one that is
    read here may be changed in place, and counts as written.
    """

    def __init__(self, view: BroadcastView, name: str, table: MapTable | None) -> None:
        """Write to `view`, and what is to be stored to `table`."""
        self.encoded: dict[object, bytes] = {}
        self.open = False
        self._view = view
        self._name = name
        self._table = table
        self._touched: dict[object, None] = {}
        self._before: dict[object, object] | None = None

    def begin_trial(self) -> None:
        """Let what is written from here on be undone if need be."""
        self._before = {}

    def end_trial(self, *, keep: bool) -> None:
        """Keep what was written since `begin_trial`, or let it never have been, and end the call."""
        before, self._before = self._before or {}, None
        if keep:
            return
        for key, value in before.items():
            if value is not MISSING:
                self._put(key, value)
            elif key in self._view:
                dict.__delitem__(self._view, key)
                del self.encoded[key]
        self._touched.clear()
        self.open = False

    def _remember(self, key: object) -> None:
        """Keep what an entry is before it is changed, or handed out to be."""
        if self._before is not None and key not in self._before:
            self._before[key] = private_copy(self._view.get(key, MISSING))

    def fill(self, entries: Iterable[tuple[object, object]]) -> None:
        """Take over what was restored; it is stored already."""
        for key, value in entries:
            self._put(key, private_copy(value))

    def stored(self) -> None:
        """End a call of `on_broadcast`: what it wrote goes where the next snapshot finds it.

        Raises:
            CodecError: A value cannot be copied, so not stored either.
        """
        self.open = False
        if self._table is not None:
            for key in self._touched:
                if key in self._view:
                    self._table.set(BROADCAST_KEY, key, private_copy(self._view[key]))
                else:
                    self._table.delete(BROADCAST_KEY, key)
        self._touched.clear()

    def _check_open(self) -> None:
        if not self.open:
            raise StateAccessError(
                f"what ctx.writable({self._name}) gave was kept and used later: it is good during one call of "
                "on_broadcast; call ctx.writable in each"
            )

    def _put(self, key: object, value: object) -> None:
        encoded = encode_key(key)
        known = self.encoded.setdefault(key, encoded)
        if known != encoded:
            raise CodecError(
                f"{self._name} has a key that equals {key!r} in Python and is of another type: all keys of one "
                "broadcast state are of one type"
            )
        self._remember(key)
        if key not in self._view:
            self._view.disorder()
        dict.__setitem__(self._view, key, value)

    def __getitem__(self, key: object) -> Any:  # noqa: ANN401  (of the annotated type)
        """Give an entry's value; KeyError if there is none."""
        self._check_open()
        value = self._view[key]
        if not is_immutable(value):
            self._remember(key)
            self._touched[key] = None
        return value

    def __setitem__(self, key: object, value: object) -> None:
        """Write an entry."""
        self._check_open()
        self._put(key, private_copy(value))
        self._touched[key] = None

    def __delitem__(self, key: object) -> None:
        """Remove an entry; KeyError if there is none."""
        self._check_open()
        if key in self._view:
            self._remember(key)
        dict.__delitem__(self._view, key)
        del self.encoded[key]
        self._touched[key] = None

    def clear(self) -> None:
        """Remove all entries; one after the other from the front, as a mapping does it, takes n² steps of a dict."""
        self._check_open()
        for key in self.encoded if self._before is not None else ():
            self._remember(key)
        self._touched.update(dict.fromkeys(self.encoded))
        self.encoded.clear()
        dict.clear(self._view)

    def popitem(self) -> tuple[Any, Any]:
        """Remove the last entry, in order, and give it; KeyError if there is none."""
        self._check_open()
        self._view.items()  # which brings them into order
        if self._before is not None and self._view:
            self._remember(next(reversed(self._view)))
        key, value = dict.popitem(self._view)
        del self.encoded[key]
        self._touched[key] = None
        return key, value

    def setdefault(self, key: object, default: object = None) -> Any:  # noqa: ANN401
        """Give an entry's value, which is `default`, copied if it is mutable, where there was none."""
        if key not in self:
            self[key] = default
        return self[key]

    def __contains__(self, key: object) -> bool:
        """Tell whether there is an entry."""
        self._check_open()
        return key in self._view

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the keys, in order."""
        self._check_open()
        return iter(self._view)

    def __len__(self) -> int:
        """Count the entries."""
        self._check_open()
        return len(self._view)


def refused(state: object) -> Never:
    """Refuse `ctx.writable` of something else.

    Raises:
        StateAccessError: Always.
    """
    raise StateAccessError(
        f"ctx.writable was given a {type(state).__name__}: give it a broadcast state of this class, such as "
        "ctx.writable(self.rules)"
    )
