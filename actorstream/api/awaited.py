"""What a user says of an async function, checked: how many calls at a time, in which order, how long, how often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, cast

from actorstream.api.functions import is_async, require_callable
from actorstream.api.handler_calls import CONCURRENCY_MAX, handler_calls
from actorstream.api.options import CallOptions, Options
from actorstream.api.settings import duration_us
from actorstream.errors import PlanError
from actorstream.graph.awaited import AsyncSpec
from actorstream.graph.nodes import FilterSpec, FlatMapSpec, MapSpec
from actorstream.graph.render import function_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorstream.api.options import Duration
    from actorstream.graph.awaited import AsyncKind
    from actorstream.graph.nodes import Spec

_WORDS: Final = frozenset(CallOptions.__optional_keys__) - Options.__optional_keys__


def operator_options(options: CallOptions) -> Options:
    """Give what is said of the operator, without what is said of its calls."""
    return cast("Options", {word: value for word, value in options.items() if word not in _WORDS})


def _said(options: CallOptions) -> Mapping[str, Any]:
    return {word: value for word, value in options.items() if word in _WORDS and value is not None}


def step_spec(
    kind: Literal["map", "filter", "flat_map"],
    fn: Any,  # noqa: ANN401  (whatever is given)
    options: CallOptions,
    errors: str,
) -> Spec:
    """Make the spec of a function, plain or async.

    Raises:
        PlanError: `fn` is no function, or a word makes no sense with it.
    """
    require_callable(fn, kind)
    if is_async(fn):
        return async_spec(kind, fn, _said(options), errors)
    refuse_words(_said(options), kind, fn)
    match kind:
        case "map":
            return MapSpec(fn, errors)
        case "filter":
            return FilterSpec(fn, errors)
        case _:
            return FlatMapSpec(fn, errors)


def refuse_words(words: Mapping[str, object], kind: str, fn: object) -> None:
    """Refuse what makes no sense of a plain function.

    Raises:
        PlanError: Something was said.
    """
    if words:
        raise PlanError(
            f"{kind}({function_name(fn)}): {', '.join(f'{word}=' for word in words)} is for async functions, and this "
            "is a plain one: make it async def, or give in_thread(fn) where it blocks"
        )


def async_spec(kind: AsyncKind, fn: Any, words: Mapping[str, Any], errors: str = "") -> AsyncSpec:  # noqa: ANN401  (whatever is given)
    """Make the spec of an operator that awaits `fn`.

    Raises:
        PlanError: A word makes no sense.
    """
    what = f"{kind}({function_name(fn)})"
    calls, ordered, rate = handler_calls(what, words), words.get("ordered", True), words.get("rate")
    if not isinstance(ordered, bool):
        raise PlanError(f"{what}: ordered is {ordered!r}, expected True or False")
    if rate is not None and (
        isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < float("inf")
    ):
        raise PlanError(f"{what}: rate is {rate!r}, expected calls a second, above 0")
    return AsyncSpec(
        kind,
        fn,
        calls.concurrency,
        ordered,
        calls.timeout_us,
        calls.retry,
        None if rate is None else float(rate),
        errors=errors,
    )


def batches_spec(fn: Any, max_size: int, max_delay: Duration, options: CallOptions) -> AsyncSpec:  # noqa: ANN401
    """Make the spec of `map_batches`.

    Raises:
        PlanError: A word makes no sense.
    """
    require_callable(fn, "map_batches")
    what = f"map_batches({function_name(fn)})"
    if type(max_size) is not int or not 1 <= max_size <= CONCURRENCY_MAX:
        raise PlanError(f"{what}: max_size is {max_size!r}, expected 1 to {CONCURRENCY_MAX:,}")
    awaited, said = is_async(fn), _said(options)
    if not awaited:
        refuse_words(said, "map_batches", fn)
    spec = async_spec("map_batches", fn, said)
    return AsyncSpec(
        "map_batches",
        fn,
        spec.concurrency if awaited else 1,
        ordered=True,
        timeout_us=spec.timeout_us,
        retry=spec.retry,
        rate=spec.rate,
        max_size=max_size,
        max_delay_us=duration_us(max_delay, f"{what}: max_delay"),
        is_async=awaited,
    )
