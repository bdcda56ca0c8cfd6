"""Rare knobs, and where their values come from.

    Settings(retained=5)  >  ACTORSTREAM_RETAINED=4  >  retained = 3 in actorstream.toml  >  the default

Environment and file are read when a run starts, not when `Settings` is made, so
that importing a module touches no disk. An unknown name anywhere is an error.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from actorstream.errors import PlanError
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actorstream.runtime.deployment import TimersAtEnd

_PREFIX = "ACTORSTREAM_"
_FILE = "actorstream.toml"
_YEAR_US = 366 * 86_400 * 1_000_000


class SettingValues(TypedDict, total=False):
    """What `Settings` takes: durations are timedelta or seconds."""

    checkpoint_timeout: timedelta | float
    checkpoint_pause: timedelta | float
    tolerated_failures: int
    retained: int
    retain: Literal["always", "on_failure", "never"]
    alignment_timeout: timedelta | float | None
    burst: timedelta | float
    watchdog: timedelta | float
    timers_at_end: TimersAtEnd
    allow_dropped: Sequence[str]
    restore_as: Mapping[str, str]
    claim: bool


class Settings:
    """Rare knobs; frozen. Order: code, then ACTORSTREAM_* in the environment, then actorstream.toml.

    Args:
        checkpoint_timeout: A checkpoint that takes longer is given up and counts as failed; default 60 s.
        checkpoint_pause: Least time from the end of one checkpoint to the start of the next; default 0.
        alignment_timeout: How long a barrier waits behind records before it overtakes them, so that a checkpoint is
            quick under back-pressure too: what it has overtaken becomes part of the checkpoint. 0: at once; default
            None: never. Savepoints never do.
        tolerated_failures: So many checkpoints in a row may fail before the job does; default 3, negative: any number.
        retained: How many checkpoints are kept; default 3.
        retain: What becomes of them when the job ends: they stay "always" (the default), so that the next run goes on
            from there; "on_failure": they go when it has ended well, by its input or a stop; "never": they go however
            it ends, other than by the death of its process. Savepoints stay.
        burst: How long an actor works before others have their turn; default 5 ms.
        watchdog: When code has held the event loop for so long, its operator and stack are logged, and are in
            `job.explain()`; default 1 s. 0: nobody looks. Of several jobs on a loop the least counts.
        timers_at_end: What becomes of processing-time timers and windows that are still to come when all input has
            ended: "fire" them then (the default; those that are set meanwhile are dropped), "drop" them, or "wait" for
            their time.
        allow_dropped: What a restored snapshot may hold that the pipeline has no more: names of operators, and states
            as "operator.state". It is given up.
        restore_as: Operators that have a new name: {"old": "new"}.
        claim: The savepoint that the job begins from becomes its own, and is deleted after its first checkpoint.
            Default: it stays.

    Raises:
        PlanError: A name is unknown, or a value is out of its range.
    """

    __slots__ = ("_given",)

    _given: Mapping[str, object]

    def __init__(self, **given: Unpack[SettingValues]) -> None:
        """Take what the code decides; all else is left to environment, file and defaults."""
        object.__setattr__(self, "_given", dict(given))
        _read("Settings", self._given)

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: a running job would not see it."""
        raise AttributeError(f"Settings is frozen: make a new one to change {name}")

    def __repr__(self) -> str:
        """Show what was given."""
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self._given.items())})"

    def __eq__(self, other: object) -> bool:
        """Compare what was given."""
        return isinstance(other, Settings) and self._given == other._given

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(frozenset(self._given))  # the values may be lists and dicts

    def resolved(self, environ: Mapping[str, str] | None = None, folder: str | None = None) -> ResolvedSettings:
        """Add what environment and file say.

        Args:
            environ: The environment; that of the process if not given.
            folder: Where actorstream.toml may lie; the working directory if not given.

        Raises:
            PlanError: A name is unknown, a value out of its range, or the file no TOML; the message says where.
        """
        environ = os.environ if environ is None else environ
        path = os.path.join(os.getcwd() if folder is None else folder, _FILE)
        said = {name.removeprefix(_PREFIX).lower(): text for name, text in environ.items() if name.startswith(_PREFIX)}
        values = _read(path, _load(path))
        values |= _read("the environment (ACTORSTREAM_*)", {name: _number(text) for name, text in said.items()})
        values |= _read("Settings", self._given)
        return ResolvedSettings(**values)


@dataclass(frozen=True, slots=True)
class ResolvedSettings:
    """What a run goes by: every value decided, durations in microseconds."""

    checkpoint_timeout_us: int = 60_000_000
    checkpoint_pause_us: int = 0
    alignment_timeout_us: int | None = None
    tolerated_failures: int = 3
    retained: int = 3
    retain: Literal["always", "on_failure", "never"] = "always"
    burst_us: int = 5_000
    watchdog_us: int = 1_000_000
    timers_at_end: TimersAtEnd = "fire"
    allow_dropped: frozenset[str] = frozenset()
    restore_as: Mapping[str, str] = field(default_factory=dict)
    claim: bool = False


def duration_us(value: object, what: str, *, least_us: int = 0) -> int:
    """Turn a duration as users write it into microseconds.

    Args:
        value: A timedelta, or seconds.
        what: Names the value in errors.
        least_us: The smallest that makes sense.

    Raises:
        PlanError: Neither of the two, NaN, below `least_us`, or over a year.
    """
    if isinstance(value, timedelta):
        us = value // timedelta(microseconds=1)
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < inf:  # false for NaN
        us = round(min(max(value, -1), _YEAR_US) * 1_000_000)  # what is far off may be too large to be counted
    else:
        raise PlanError(f"{what} is {value!r}, expected a timedelta or seconds as a number")
    if not least_us <= us <= _YEAR_US:
        raise PlanError(f"{what} is {value!r}, expected {least_us / 1e6:g} seconds to one year")
    return us


# The bounds of each whole number; a negative tolerance means any number of failures.
_BOUNDS = {"tolerated_failures": (-1, 1_000_000), "retained": (1, 1_000)}
_LEAST_US = {"checkpoint_timeout": 1_000, "checkpoint_pause": 0, "burst": 100, "watchdog": 0, "alignment_timeout": 0}
_OR_NEVER = frozenset({"alignment_timeout"})
"""Where None, or "never" in the environment and in the file, is a value."""


_WORDS = {"timers_at_end": ("fire", "drop", "wait"), "retain": ("always", "on_failure", "never")}


def _names(where: str, name: str, value: object) -> frozenset[str]:
    if isinstance(value, str):
        value = value.split(",")  # the environment's form
    if not isinstance(value, Iterable) or not all(isinstance(each, str) and each for each in value):
        raise PlanError(f'{where}: {name} is {value!r}, expected names of operators, or of states as "operator.state"')
    return frozenset(value)


def _renames(where: str, name: str, value: object) -> dict[str, str]:
    if isinstance(value, str):
        value = dict(part.partition("=")[::2] for part in value.split(","))  # the environment's form: old=new,...
    pairs = list(value.items()) if isinstance(value, Mapping) else [(None, None)]
    if not all(isinstance(each, str) and each for pair in pairs for each in pair):
        raise PlanError(f'{where}: {name} is {value!r}, expected names of operators, {{"old": "new"}}')
    return dict(pairs)


def _flag(where: str, name: str, value: object) -> bool:
    if isinstance(value, str | int) and value in {0, 1, "true", "false"}:
        return value in {1, "true"}
    raise PlanError(f"{where}: {name} is {value!r}, expected true or false")


_OF_A_RESTORE: dict[str, Callable[[str, str, object], object]] = {
    "allow_dropped": _names,
    "restore_as": _renames,
    "claim": _flag,
}


def _read(where: str, given: Mapping[str, object]) -> dict[str, Any]:
    """Check one layer; give it under the names of `ResolvedSettings`."""
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name in _OR_NEVER and value in {None, "never"}:
            values[f"{name}_us"] = None
        elif name in _LEAST_US:
            values[f"{name}_us"] = duration_us(value, f"{where}: {name}", least_us=_LEAST_US[name])
        elif name in _BOUNDS:
            least, most = _BOUNDS[name]
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise PlanError(f"{where}: {name} is {value!r}, expected a whole number from {least} to {most}")
            values[name] = value
        elif name in _WORDS:
            if value not in _WORDS[name]:
                raise PlanError(f"{where}: {name} is {value!r}, expected one of {', '.join(map(repr, _WORDS[name]))}")
            values[name] = value
        elif name in _OF_A_RESTORE:
            values[name] = _OF_A_RESTORE[name](where, name, value)
        else:
            known = ", ".join(sorted([*_LEAST_US, *_BOUNDS, *_WORDS, *_OF_A_RESTORE]))
            raise PlanError(f"{where}: there is no setting {name!r}; known are {known}")
    return values


def _load(path: str) -> Mapping[str, object]:
    files = current_world().files
    try:
        if not files.exists(path):
            return {}
        return tomllib.loads(files.read(path).decode())
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror or error}; make it readable, or remove it") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, no Unicode, thousands of digits or of brackets
        raise PlanError(f"{path} cannot be read as TOML: {error}; correct it or remove it") from error


def _number(text: str) -> object:
    """Read an environment variable; what is no number is left to the check of its setting."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
