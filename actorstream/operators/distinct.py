"""distinct: a process of ours with one flag a key.

a b a a c      the keys that come
a b     c      let through; with a time-to-live `a` again, once its flag has expired
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorstream.graph.nodes import ProcessSpec
from actorstream.operators.keyed_process import KeyedProcess
from actorstream.operators.state_declarations import ValueState

if TYPE_CHECKING:
    from actorstream.operators.contexts import Context
    from actorstream.operators.ttl import TTL


class Distinct(KeyedProcess[Any, Any, Any]):
    """Knows each key for ever."""

    seen: ValueState[bool] = ValueState(default=False)

    def on_element(self, value: object, ctx: Context[Any], /) -> tuple[object, ...] | None:
        """Let the record through if its key has none yet."""
        del ctx
        if self.seen:
            return None
        self.seen = True
        return (value,)


def distinct_spec(ttl: TTL | None) -> ProcessSpec:
    """Give the operator; with a time-to-live it forgets a key so long after it let a record through."""
    owner: type = Distinct
    if ttl is not None:
        seen = ValueState(default=False, ttl=ttl)
        seen.__set_name__(Distinct, "seen")
        owner = type("Distinct", (Distinct,), {"seen": seen, "__module__": __name__, "__doc__": Distinct.__doc__})
    return ProcessSpec(owner, owner, word="distinct")
