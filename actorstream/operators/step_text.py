"""The primitives of a chain's function: lines, constants, variables, and the outlets that it fills."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count, islice
from keyword import iskeyword
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, cast

from actorstream.errors import InvariantError
from actorstream.graph.nodes import Keyed
from actorstream.state.memtable import MISSING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from actorstream.graph.nodes import Function, Node, NodeId
    from actorstream.graph.plan import Chain, Exchange
    from actorstream.operators.key_check import KeyCheck
    from actorstream.operators.keyed_process import ProcessBinding
    from actorstream.operators.routing import Router
    from actorstream.state.operator_state import OperatorState

OutletKind: TypeAlias = Literal["exchange", "sink", "call", "called", "tap", "keyed"]
StepPart: TypeAlias = Literal["whole", "before key", "after key"]
"""How much of a chain one function does: all of it, or what comes before or after the key that is made inside."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """What one entry of a step's result is: who gets it, and which lists it has.

    A "keyed" outlet gives the input of the part after the key. `targets` is None for one receiver list, else the
    number of lists, one a receiving subtask.
    """

    kind: OutletKind
    node: NodeId
    exchange: Exchange | None = None
    keyed: bool = False
    timed: bool = False
    targets: int | None = None


class Lists(NamedTuple):
    """What one outlet collected in one call."""

    values: list[object]
    keys: list[object] | None
    timestamps: list[int] | None


@dataclass(slots=True)
class Bindings:
    """What a chain's functions are bound to in one subtask."""

    state: OperatorState | None = None
    process: ProcessBinding | None = None
    routers: Mapping[Exchange, Router] = field(default_factory=dict)
    timed: Collection[Exchange] = ()
    taps: Collection[NodeId] = ()
    key_check: KeyCheck | None = None


class Line(NamedTuple):
    """One line of text, the operator it belongs to, and the local name of the iterator over the batch there."""

    depth: int
    text: str
    operator: str | None = None
    iterator: str = "source"


class Nested(NamedTuple):
    """An expression used once, so that it needs no variable; each call on a line of its own, for its operator."""

    lines: tuple[tuple[str | None, str], ...]


Item: TypeAlias = "str | Nested"
"""What stands for the record: a variable, a tuple of variables, or calls around one."""


class StepText:
    """The function's parts while it is written: what comes before, in and after the loop, and its outlets."""

    def __init__(self, chain: Chain, bindings: Bindings, *, timed: bool, part: StepPart) -> None:
        """Start with nothing written; `timed`: batches bring timestamps, and the function passes them on."""
        self.chain = chain
        self.bindings = bindings
        self.timed = timed
        self.part = part
        self.constants: dict[str, object] = {
            "M": MISSING,
            "Lists": Lists,
            "list": list,
            "map": map,
            "zip": zip,
            "len": len,
            "iter": iter,
            "islice": islice,
        }
        self.outlets: list[Outlet] = []
        self._prologue: list[Line] = []
        self._loop: list[Line] = []
        self._direct: list[Line] = []
        self._epilogue: list[Line] = []
        self._results: list[str] = []
        self._operator: str | None = None
        self._variables = count(1)

    def _emit(self, depth: int, text: str) -> None:
        self._loop.append(Line(depth, text, self._operator))

    def _emit_around(self, depth: int, before: str, item: Item, after: str = "") -> None:
        """Write a statement whose middle is `item`."""
        if isinstance(item, str):
            self._emit(depth, before + item + after)
            return
        self._emit(depth, before)
        self._loop += [Line(depth + 1, text, operator) for operator, text in item.lines]
        self._emit(depth + 1, after)

    def _named(self, item: Item, depth: int) -> str:
        """Give a variable for `item`: it is used more than once, or looked at."""
        if isinstance(item, str) and item.isidentifier():
            return item
        name = self._variable()
        self._emit_around(depth, f"{name} = (", item, ")")
        return name

    def _constant(self, name: str, value: object) -> str:
        self.constants[name] = value
        return name

    def _variable(self) -> str:
        return f"x{next(self._variables)}"

    def _is_used(self, node: Node) -> bool:
        return bool(
            self.chain.children.get(node.id)
            or node.id in self.bindings.taps
            or any(exchange.sender == node.id for exchange in self.chain.outputs)
        )

    def _users(self, node: Node) -> int:
        """Count who takes the records of `node`; a key beside the record counts as another."""
        sent = [exchange for exchange in self.chain.outputs if exchange.sender == node.id]
        keyed = sum(isinstance(exchange.partitioning, Keyed) for exchange in sent)
        return len(self.chain.children.get(node.id, ())) + len(sent) + keyed + (node.id in self.bindings.taps)

    # ---- outlets

    def _exchange(self, exchange: Exchange, item: Item, depth: int) -> None:
        keyed = isinstance(exchange.partitioning, Keyed)
        router = self.bindings.routers.get(exchange)
        outlet = Outlet(
            "exchange",
            exchange.sender,
            exchange,
            keyed=keyed,
            timed=self.timed and exchange in self.bindings.timed,
            targets=router.targets if router is not None else None,
        )
        key = exchange.partitioning.key if isinstance(exchange.partitioning, Keyed) else None
        if router is not None:
            self._routed(outlet, router, self._named(item, depth), depth)
        else:
            self._outlet(outlet, item, depth, key)

    def _outlet(self, outlet: Outlet, item: Item, depth: int, key: Function | None = None) -> None:
        """Write where records go; with `key`, their keys beside them."""
        if key is not None and item == "e" and depth == 2 and not outlet.timed:
            self._direct_keys(outlet, key)
            return
        n = self._add(outlet)
        lists = [f"o{n} = []", f"p{n} = o{n}.append"]
        if key is not None:
            item = self._named(item, depth)
            lists += [f"ok{n} = []", f"pk{n} = ok{n}.append"]
            self._emit(depth, f"pk{n}({self._applied(f'key{n}', key, item)})")
        self._emit_around(depth, f"p{n}(", item, ")")
        if outlet.timed:
            lists += [f"ot{n} = []", f"pt{n} = ot{n}.append"]
            self._emit(depth, f"pt{n}(t)")
        self._prologue += [Line(1, text) for text in lists]
        keys = f"ok{n}" if outlet.keyed else "None"
        self._results.append(f"Lists(o{n}, {keys}, {f'ot{n}' if outlet.timed else 'None'})")

    def _called(self, node: Node, fn: Function, item: Item, depth: int) -> None:
        """Write a call inside the loop; where it may be passed over, count it."""
        n = self._add(Outlet("called", node.id))
        self._emit_around(depth, f"{self._constant(f'f{node.id}', fn)}(", item, ")")
        if depth == 2:
            self._results.append("count")
            return
        self._prologue.append(Line(1, f"n{n} = 0"))
        self._emit(depth, f"n{n} += 1")
        self._results.append(f"n{n}")

    def _direct_keys(self, outlet: Outlet, key: Function) -> None:
        """Write the commonest start, source to key_by: the batch goes on as it is, keys beside it."""
        n = self._add(outlet)
        names = "values, timestamps" if self.timed else "values"
        cut = ", ".join(f"{name}[start:start + count]" for name in names.split(", "))
        self._direct += [
            Line(1, "if count != len(values):"),
            Line(2, f"{names}, start = {cut}, 0"),
            Line(1, "if values.__class__ is not list: values = list(values)"),
            Line(1, f"source{n} = iter(values)"),
            Line(1, f"ok{n} = list(map({self._constant(f'key{n}', key)}, source{n}))", self._operator, f"source{n}"),
        ]
        self._results.append(f"Lists(values, ok{n}, None)")

    def _routed(self, outlet: Outlet, router: Router, item: str, depth: int) -> None:
        n = self._add(outlet)
        exchange = outlet.exchange
        if exchange is None:
            raise InvariantError("a routed outlet has an exchange")
        self._constant(f"known{n}", router.known.get)
        self._constant(f"route{n}", router.route)
        key = self._key_of(exchange)
        self._emit(depth, f"j = {self._applied(f'key{n}', key, item)}")
        self._emit(depth, f"i = known{n}(j)")
        self._emit(depth, f"if i is None: i = route{n}(j)")
        each = f"for _ in range({router.targets})"
        self._prologue.append(Line(1, f"o{n} = [[] {each}]"))
        self._prologue.append(Line(1, f"ok{n} = [[] {each}]"))
        self._emit(depth, f"o{n}[i].append({item})")
        self._emit(depth, f"ok{n}[i].append(j)")
        times = f"[None] * {router.targets}"
        if outlet.timed:
            times = f"ot{n}"
            self._prologue.append(Line(1, f"ot{n} = [[] {each}]"))
            self._emit(depth, f"ot{n}[i].append(t)")
        self._results.append(f"list(map(Lists, o{n}, ok{n}, {times}))")

    def _add(self, outlet: Outlet) -> int:
        self.outlets.append(outlet)
        return len(self.outlets) - 1

    def _applied(self, name: str, fn: Function, item: str) -> str:
        """Give the expression `fn(item)`; a getter of Python's own is written out."""
        getter = getter_text(fn)
        return f"{self._constant(name, fn)}({item})" if getter is None else item + getter

    @staticmethod
    def _key_of(exchange: Exchange) -> Function:
        partitioning = exchange.partitioning
        if not isinstance(partitioning, Keyed):
            raise InvariantError(f"exchange {exchange} has no key")
        return partitioning.key


def getter_text(fn: Function) -> str | None:
    """Give what an `itemgetter` or `attrgetter` of one plain name, number or text does, as a suffix, else None.

    Written out it costs a tenth of a call, and tracebacks stay as clear.
    """
    if type(fn) not in {itemgetter, attrgetter}:
        return None
    _, arguments = cast("tuple[object, tuple[object, ...]]", fn.__reduce__())
    if len(arguments) != 1:
        return None
    (what,) = arguments
    if type(fn) is itemgetter:
        return f"[{what!r}]" if type(what) in {int, str} else None
    # Python reads a name that is not ASCII as another one, its normal form.
    plain = type(what) is str and what.isascii() and what.isidentifier() and not iskeyword(what)
    return f".{what}" if plain else None
