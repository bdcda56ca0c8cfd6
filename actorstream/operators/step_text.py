"""The primitives of a chain's function: lines, constants, variables, and the outlets that it fills."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from actorstream.errors import InvariantError
from actorstream.graph.nodes import Keyed
from actorstream.state.memtable import MISSING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from actorstream.graph.nodes import Function, Node, NodeId
    from actorstream.graph.plan import Chain, Exchange
    from actorstream.operators.keyed_process import ProcessBinding
    from actorstream.operators.routing import Router
    from actorstream.state.operator_state import OperatorState

OutletKind: TypeAlias = Literal["exchange", "sink", "call", "called", "tap"]


@dataclass(frozen=True, slots=True)
class Outlet:
    """What one entry of a step's result is: who gets it, and which lists it has.

    `targets` is None for one receiver list, else the number of lists, one a receiving subtask.
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


class Line(NamedTuple):
    """One line of text, the operator it belongs to, and the local name of the iterator over the batch there."""

    depth: int
    text: str
    operator: str | None = None
    iterator: str = "it"


class StepText:
    """The function's parts while it is written: what comes before, in and after the loop, and its outlets."""

    def __init__(self, chain: Chain, bindings: Bindings, *, timed: bool) -> None:
        """Start with nothing written; `timed`: batches bring timestamps, and the function passes them on."""
        self.chain = chain
        self.bindings = bindings
        self.timed = timed
        self.constants: dict[str, object] = {
            "M": MISSING,
            "Lists": Lists,
            "list": list,
            "map": map,
            "zip": zip,
            "len": len,
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

    # ---- outlets

    def _exchange(self, exchange: Exchange, item: str, depth: int) -> None:
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
        if router is not None:
            self._routed(outlet, router, item, depth)
        elif keyed and item == "e" and depth == 2 and not outlet.timed:
            self._direct_keys(outlet, exchange)
        else:
            self._outlet(outlet, item, depth)

    def _outlet(self, outlet: Outlet, item: str, depth: int) -> None:
        n = self._add(outlet)
        lists = [f"o{n} = []", f"p{n} = o{n}.append"]
        self._emit(depth, f"p{n}({item})")
        if outlet.keyed and outlet.exchange is not None:
            lists += [f"ok{n} = []", f"pk{n} = ok{n}.append"]
            self._emit(depth, f"pk{n}({self._key_of(n, outlet.exchange)}({item}))")
        if outlet.timed:
            lists += [f"ot{n} = []", f"pt{n} = ot{n}.append"]
            self._emit(depth, f"pt{n}(t)")
        self._prologue += [Line(1, text) for text in lists]
        keys = f"ok{n}" if outlet.keyed else "None"
        self._results.append(f"Lists(o{n}, {keys}, {f'ot{n}' if outlet.timed else 'None'})")

    def _called(self, node: Node, fn: Function, item: str, depth: int) -> None:
        """Write a call inside the loop; where it may be passed over, count it."""
        n = self._add(Outlet("called", node.id))
        self._emit(depth, f"{self._constant(f'f{node.id}', fn)}({item})")
        if depth == 2:
            self._results.append("len(values)")
            return
        self._prologue.append(Line(1, f"n{n} = 0"))
        self._emit(depth, f"n{n} += 1")
        self._results.append(f"n{n}")

    def _direct_keys(self, outlet: Outlet, exchange: Exchange) -> None:
        """Write the commonest start, source to key_by: the batch goes on as it is, keys beside it."""
        n = self._add(outlet)
        self._direct.append(Line(1, f"it{n} = iter(values)"))
        text = f"ok{n} = list(map({self._key_of(n, exchange)}, it{n}))"
        self._direct.append(Line(1, text, self._operator, f"it{n}"))
        self._results.append(f"Lists(values, ok{n}, None)")

    def _routed(self, outlet: Outlet, router: Router, item: str, depth: int) -> None:
        n = self._add(outlet)
        exchange = outlet.exchange
        if exchange is None:
            raise InvariantError("a routed outlet has an exchange")
        self._constant(f"known{n}", router.known.get)
        self._constant(f"route{n}", router.route)
        self._emit(depth, f"j = {self._key_of(n, exchange)}({item})")
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

    def _key_of(self, n: int, exchange: Exchange) -> str:
        partitioning = exchange.partitioning
        if not isinstance(partitioning, Keyed):
            raise InvariantError(f"exchange {exchange} has no key")
        return self._constant(f"key{n}", partitioning.key)
