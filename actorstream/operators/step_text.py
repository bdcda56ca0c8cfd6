"""The primitives of a chain's function: lines, constants, variables, and the outlets that it fills."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count, islice
from keyword import iskeyword
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, cast

from actorstream.errors import InvariantError
from actorstream.graph.nodes import Keyed, one_for_all
from actorstream.operators.event_clock import EventClock
from actorstream.operators.routing import Chooser
from actorstream.state.memtable import MISSING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from actorstream.graph.nodes import Edge, Function, Node, NodeId
    from actorstream.graph.plan import Chain, Exchange
    from actorstream.operators.event_clock import AssignedClock
    from actorstream.operators.failures import DeadLetters
    from actorstream.operators.floors import Floors
    from actorstream.operators.key_check import KeyCheck
    from actorstream.operators.process_binding import ProcessBinding
    from actorstream.operators.routing import Router
    from actorstream.operators.throttle import Throttle
    from actorstream.operators.timed import TimedOperator
    from actorstream.state.operator_state import OperatorState

OutletKind: TypeAlias = Literal["exchange", "sink", "call", "called", "tap", "keyed"]
StepPart: TypeAlias = Literal["whole", "before key", "after key", "fire", "fire by clock"]
"""How much of a chain one function does: all of it, what comes before or after the key that is made inside, or
what is due at the operator that waits for time, without records."""


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
    marked: bool = False
    targets: int | None = None
    output: str = ""


class Lists(NamedTuple):
    """What one outlet collected in one call; marks: the watermark before each record, None where it did not move."""

    values: list[object]
    keys: list[object] | None
    timestamps: list[int] | None
    marks: list[int] | None = None


@dataclass(slots=True)
class Round:
    """How many results or timers are given before the clock is looked at, and how many the last round gave."""

    limit: int = 256
    given: int = 0


@dataclass(slots=True)
class Bindings:
    """What a chain's functions are bound to in one subtask.

    `clock` stands where records enter, `assigned` behind each operator that gives them new times, `after` behind
    the operator with state. `round` may change at any time. `floors`: for some keys time has come further. `letters`
    writes the failures of each operator that has an output for them.
    """

    state: OperatorState | None = None
    process: ProcessBinding | None = None
    operator: TimedOperator | None = None
    routers: Mapping[Exchange, Router | Chooser] = field(default_factory=dict)
    timed: Collection[Exchange] = ()
    taps: Collection[tuple[NodeId, str]] = ()
    throttles: Mapping[NodeId, Throttle] = field(default_factory=dict)
    key_check: KeyCheck | None = None
    clock: EventClock = field(default_factory=EventClock)
    assigned: Mapping[NodeId, AssignedClock] = field(default_factory=dict)
    after: EventClock = field(default_factory=EventClock)
    round: Round = field(default_factory=Round)
    floors: Floors | None = None
    letters: Mapping[NodeId, DeadLetters] = field(default_factory=dict)


class Line(NamedTuple):
    """One line of text, the operator it belongs to, and the local name of the iterator over the batch there.

    Without an iterator it is not about a record.
    """

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

    def __init__(
        self, chain: Chain, bindings: Bindings, *, timed: bool, part: StepPart, marked: bool = False, side: int = 0
    ) -> None:
        """Start with nothing written; the arguments are those of `Step`."""
        self.chain = chain
        self.bindings = bindings
        self.part = part
        self.marked = marked
        self.side = side
        # The variables that hold the event time of the record at hand and the watermark before it.
        self._time = "t" if timed else None
        self._watermark = "w"
        self._uses_entering_watermark = False
        self._moves = marked
        process = bindings.process
        waits = bindings.operator is not None or (process is not None and process.timers is not None)
        self.stops = waits and part in {"whole", "after key"}
        self._iterator = "source"
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
        self._outlet_numbers: dict[Outlet, int] = {}
        self._prologue: list[Line] = []
        self._top: list[Line] = []
        self._loop: list[Line] = []
        self._direct: list[Line] = []
        self._epilogue: list[Line] = []
        self._results: list[str] = []
        self._operator: str | None = None
        self._variables = count(1)

    def emit(self, depth: int, text: str) -> None:
        """Write a line of the loop, for the operator at hand."""
        self._loop.append(Line(depth, text, self._operator, self._iterator))

    def _emit_around(self, depth: int, before: str, item: Item, after: str = "") -> None:
        """Write a statement whose middle is `item`."""
        if isinstance(item, str):
            self.emit(depth, before + item + after)
            return
        self.emit(depth, before)
        self._loop += [Line(depth + 1, text, operator, self._iterator) for operator, text in item.lines]
        self.emit(depth + 1, after)

    def _named(self, item: Item, depth: int) -> str:
        """Give a variable for `item`: it is used more than once, or looked at."""
        if isinstance(item, str) and item.isidentifier():
            return item
        name = self._variable()
        self._emit_around(depth, f"{name} = (", item, ")")
        return name

    def begin(self, text: str) -> None:
        """Write a line before the loop, once."""
        line = Line(1, text)
        if line not in self._prologue:
            self._prologue.append(line)

    def _mark(self) -> str:
        raise NotImplementedError

    def _exact(self, depth: int) -> None:
        raise NotImplementedError

    def _start(self) -> Node:
        """Give the operator that the records of the loop come to."""
        if self.part in {"whole", "before key"}:
            return self.chain.head
        if self.chain.stateful is None:
            raise InvariantError(f"chain {self.chain.name} has nothing behind a key")
        return self.chain.stateful

    def constant(self, name: str, value: object) -> str:
        """Bind a name that lines may use, and give it."""
        self.constants[name] = value
        return name

    def _variable(self) -> str:
        return f"x{next(self._variables)}"

    def _is_used(self, node: Node, output: str = "") -> bool:
        return self._users(node, output) > 0

    def _users(self, node: Node, output: str = "") -> int:
        """Count who takes an output of `node`; a key beside the record counts as another."""
        sent = self._sent(node, output)
        keyed = sum(isinstance(exchange.partitioning, Keyed) for exchange in sent)
        return len(self._taken(node, output)) + len(sent) + keyed + ((node.id, output) in self.bindings.taps)

    def _taken(self, node: Node, output: str) -> list[tuple[Node, Edge]]:
        """Give the operators of this chain that take an output of `node`, each time they do."""
        return [(taker, edge) for taker, edge in self.chain.feeds.get(node.id, ()) if edge.output == output]

    def _sent(self, node: Node, output: str) -> list[Exchange]:
        return [each for each in self.chain.outputs if each.sender == node.id and each.output == output]

    def _is_timed(self, exchange: Exchange) -> bool:
        return self._time is not None and exchange in self.bindings.timed

    # ---- outlets

    def _exchange(self, exchange: Exchange, item: Item, depth: int) -> None:
        keyed = isinstance(exchange.partitioning, Keyed)
        router = self.bindings.routers.get(exchange)
        outlet = Outlet(
            "exchange",
            exchange.sender,
            exchange,
            keyed=keyed,
            timed=self._is_timed(exchange),
            marked=self._moves and self._is_timed(exchange),
            targets=router.targets if router is not None else None,
            output=exchange.output,
        )
        key = exchange.partitioning.key if isinstance(exchange.partitioning, Keyed) else None
        if isinstance(router, Chooser):
            self._chosen(outlet, router, self._named(item, depth), depth)
        elif router is not None:
            self._routed(outlet, router, self._named(item, depth), depth)
        else:
            self._outlet(outlet, item, depth, key)

    def _outlet(self, outlet: Outlet, item: Item, depth: int, key: Function | None = None) -> None:
        """Write where records go; with `key`, their keys beside them."""
        if key is not None and item == "e" and depth == 2 and not outlet.timed and not self.stops:
            self._direct_keys(outlet, key)
            return
        n, first = self._add(outlet)
        if outlet.timed:
            self._exact(depth)
        lists = [f"o{n} = []", f"p{n} = o{n}.append"]
        if key is not None:
            item = self._named(item, depth)
            lists += [f"ok{n} = []", f"pk{n} = ok{n}.append"]
            self.emit(depth, f"pk{n}({self.applied(f'key{n}', key, item)})")
        self._emit_around(depth, f"p{n}(", item, ")")
        if outlet.timed:
            lists += [f"ot{n} = []", f"pt{n} = ot{n}.append"]
            self.emit(depth, f"pt{n}({self._time})")
        if outlet.marked:
            lists += [f"om{n} = []", f"pm{n} = om{n}.append"]
            self.emit(depth, f"pm{n}({self._mark()})")
        if first:
            self._prologue += [Line(1, text) for text in lists]
            keys = f"ok{n}" if outlet.keyed else "None"
            marks = f", om{n}" if outlet.marked else ""
            self._results.append(f"Lists(o{n}, {keys}, {f'ot{n}' if outlet.timed else 'None'}{marks})")

    def _called(self, node: Node, fn: Function, item: Item, depth: int) -> None:
        """Write a call inside the loop; where it may be passed over, count it."""
        n, first = self._add(Outlet("called", node.id))
        self._emit_around(depth, f"{self.constant(f'f{node.id}', fn)}(", item, ")")
        if depth == 2 and not self.stops and self.part in {"whole", "after key"}:
            self._results.append("count")
            return
        self.emit(depth, f"n{n} += 1")
        if first:
            self._prologue.append(Line(1, f"n{n} = 0"))
            self._results.append(f"n{n}")

    def _direct_keys(self, outlet: Outlet, key: Function) -> None:
        """Write the commonest start, source to key_by: the batch goes on as it is, keys beside it."""
        n, _ = self._add(outlet)
        names = "values, timestamps" if self._time == "t" else "values"
        names += ", marks" if self.marked else ""
        cut = ", ".join(f"{name}[start:start + count]" for name in names.split(", "))
        self._direct += [
            Line(1, "if count != len(values):"),
            Line(2, f"{names}, start = {cut}, 0"),
            Line(1, "if values.__class__ is not list: values = list(values)"),
            Line(1, f"source{n} = iter(values)"),
            Line(1, f"ok{n} = list(map({self.constant(f'key{n}', key)}, source{n}))", self._operator, f"source{n}"),
        ]
        self._results.append(f"Lists(values, ok{n}, None)")

    def _routed(self, outlet: Outlet, router: Router, item: str, depth: int) -> None:
        n, first = self._add(outlet)
        exchange = outlet.exchange
        if exchange is None:
            raise InvariantError("a routed outlet has an exchange")
        self.constant(f"known{n}", router.known.get)
        self.constant(f"route{n}", router.route)
        key = self._key_of(exchange)
        self.emit(depth, f"j = {self.applied(f'key{n}', key, item)}")
        self.emit(depth, f"i = known{n}(j)")
        self.emit(depth, f"if i is None: i = route{n}(j)")
        self._scattered(outlet, n, {f"o{n}": item, f"ok{n}": "j"}, depth, first=first)

    def _chosen(self, outlet: Outlet, chooser: Chooser, item: str, depth: int) -> None:
        """Write where records go of which the user says the subtask."""
        n, first = self._add(outlet)
        self.emit(depth, f"i = {self.constant(f'choose{n}', chooser.choose)}({item})")
        self._scattered(outlet, n, {f"o{n}": item}, depth, first=first)

    def _scattered(self, outlet: Outlet, n: int, columns: dict[str, str], depth: int, *, first: bool) -> None:
        """Write the record into the lists of subtask `i`."""
        keys = f"ok{n}" if outlet.keyed else f"[None] * {outlet.targets}"
        if outlet.timed:
            self._exact(depth)
        if outlet.timed:
            columns[f"ot{n}"] = str(self._time)
        if outlet.marked:
            columns[f"om{n}"] = self._mark()
        for name, value in columns.items():
            self.emit(depth, f"{name}[i].append({value})")
        if first:
            self._prologue += [Line(1, f"{name} = [[] for _ in range({outlet.targets})]") for name in columns]
            times = f"ot{n}" if outlet.timed else f"[None] * {outlet.targets}"
            marks = f", om{n}" if outlet.marked else ""
            self._results.append(f"list(map(Lists, o{n}, {keys}, {times}{marks}))")

    def _add(self, outlet: Outlet) -> tuple[int, bool]:
        """Number an outlet; True the first time: an operator's results may be written at two places."""
        number = self._outlet_numbers.get(outlet)
        if number is not None:
            return number, False
        self.outlets.append(outlet)
        number = self._outlet_numbers[outlet] = len(self.outlets) - 1
        return number, True

    def applied(self, name: str, fn: Function, item: str) -> str:
        """Give the expression `fn(item)`; a getter of Python's own is written out."""
        if fn is one_for_all:
            return "0"
        getter = getter_text(fn)
        return f"{self.constant(name, fn)}({item})" if getter is None else item + getter

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
