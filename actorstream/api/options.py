"""What can be said of one operator, and of one run: the words, and the check that no other word is used.

A misspelt option that is silently ignored costs an evening, so names and values
are checked where they are given. Type checkers find the same mistakes earlier.
"""

from __future__ import annotations

import re
from datetime import timedelta
from os import PathLike
from typing import TYPE_CHECKING, TypeAlias, TypedDict

from actorstream.api.savepoint import Savepoint
from actorstream.api.settings import Settings, duration_us
from actorstream.errors import JobFailed, PlanError
from actorstream.protocol.restart import Restart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from actorstream.operators.retry import Retry

Duration: TypeAlias = timedelta | float
"""A timedelta, or seconds."""

StrPath: TypeAlias = str | PathLike[str]


class Options(TypedDict, total=False):
    """What every operator takes.

    Attributes:
        name: Unique in the pipeline; scopes the operator's state.
        parallelism: How many subtasks; the job's if not said.
        new_chain: Start a new actor here instead of joining the one before.
    """

    name: str
    parallelism: int
    new_chain: bool


class CallOptions(Options, total=False):
    """What can be said of an operator whose function is async.

    Attributes:
        concurrency: How many calls overlap in a subtask at most, 16 if nothing is said. A slot is held until the result
            is emitted.
        ordered: Whether results come in the order of the records, as they do if nothing is said; else as they come, but
            none passes a watermark.
        timeout: How long a call may take, with all of its attempts; then it has failed.
        retry: Whether and when a call that raised is made again.
        rate: How many calls are begun in a second at most, in the whole job.
    """

    concurrency: int
    ordered: bool
    timeout: Duration | None
    retry: Retry | None
    rate: float | None


class RunOptions(TypedDict, total=False):
    """What a run takes.

    Attributes:
        store: Root folder: the job lives in <store>/<pipeline name>. None: a private temporary folder, gone at the end.
        take_over: Go on although another process holds the store, one that hangs and cannot be ended. It is fenced:
            if it wakes up it can neither publish nor commit, and its job fails.
        restore: What to go on from; default: the store's newest checkpoint. A savepoint, its folder, or its name in the
            store; the folder of another store's checkpoint; or an older checkpoint of the store, by its id. Only for
            the first attempt: once this run has a checkpoint of its own, that is the newest. A store that was begun
            from this very savepoint goes on from its own newest checkpoint, so a service may say it at each start.
        accept_duplicates: Say so where output after that snapshot was committed: it is written again.
        fork: Run beside the job that `restore` is of, under this name: with an id, a folder in the store
            (<pipeline>@<fork>) and output of its own. An EventLog's goes to <log>@<fork>; other sinks find the name in
            their context.
        checkpoint_interval: Default 1 s; None: only the final one and those asked for. Transactional output appears
            at this pace.
        restart: What to do when the job fails. Default: never without a store, else `Restart.exponential()`.
        parallelism: Of operators that do not say their own; default 1.
        state_memory: Bytes that keyed state may take in this process, about; the rest is on disk. Default 256 MiB.
            Values that were not used lately are dropped from memory and read again when needed; when changed ones
            exceed it they are written before the next checkpoint, and if the disk cannot keep up the job waits.
        on_failure: Called once when the job has given up: a web server must be stopped here.
        settings: Everything rare.
    """

    store: StrPath | None
    take_over: bool
    restore: Savepoint | StrPath | int | None
    fork: str | None
    accept_duplicates: bool
    checkpoint_interval: Duration | None
    restart: Restart
    parallelism: int
    state_memory: int
    on_failure: Callable[[JobFailed], object]
    settings: Settings


STATE_MEMORY = 256 << 20
_STATE_MEMORY_MIN = 1 << 20
_FORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_options(options: Options, what: str) -> None:
    """Refuse an operator's options that are misspelt or of a wrong type.

    Raises:
        PlanError: Names the operator by `what`, the option, and what is expected.
    """
    _check_known(what, options, Options.__optional_keys__)
    if "name" in options and not isinstance(options["name"], str):
        raise _wrong(what, "name", options["name"], "a str")
    if "parallelism" in options:
        _check_count(what, "parallelism", options["parallelism"])
    if "new_chain" in options and not isinstance(options["new_chain"], bool):
        raise _wrong(what, "new_chain", options["new_chain"], "True or False")


def check_run_options(options: RunOptions) -> None:
    """Refuse a run's options that are misspelt or of a wrong type.

    Raises:
        PlanError: Names the option and what is expected.
    """
    what = "run"
    _check_known(what, options, RunOptions.__optional_keys__)
    if not isinstance(options.get("store"), str | PathLike | None):
        raise _wrong(what, "store", options["store"], "a folder's path, or None")
    interval = options.get("checkpoint_interval")
    if interval is not None:
        duration_us(interval, "run: checkpoint_interval", least_us=1)
    if not isinstance(options.get("restart", Restart.never()), Restart):
        raise _wrong(what, "restart", options["restart"], "a Restart, for example Restart.never()")
    if "parallelism" in options:
        _check_count(what, "parallelism", options["parallelism"])
    memory: object = options.get("state_memory", STATE_MEMORY)
    if not isinstance(memory, int) or isinstance(memory, bool) or memory < _STATE_MEMORY_MIN:
        raise _wrong(what, "state_memory", memory, f"a number of bytes, at least {_STATE_MEMORY_MIN} (1 MiB)")
    _check_restore(what, options)
    if not callable(options.get("on_failure", print)):
        raise _wrong(what, "on_failure", options["on_failure"], "a function of one JobFailed")
    if not isinstance(options.get("settings", Settings()), Settings):
        raise _wrong(what, "settings", options["settings"], "a Settings")


def _check_restore(what: str, options: RunOptions) -> None:
    restore: object = options.get("restore")
    if restore is None:
        pass
    elif isinstance(restore, int):
        _check_count(what, "restore", restore)
    elif not isinstance(restore, str | PathLike | Savepoint):
        raise _wrong(what, "restore", restore, "a Savepoint, its folder or name, or the id of a checkpoint")
    elif options.get("store") is None:
        raise _wrong(what, "restore", restore, "a store too: run(store=...)")
    fork: object = options.get("fork")
    if fork is None:
        return
    if not isinstance(fork, str) or not _FORK.fullmatch(fork):
        raise _wrong(what, "fork", fork, "a name of 1 to 64 letters, digits, dots, dashes and underscores")
    if options.get("store") is None:
        raise _wrong(what, "fork", fork, "a store too: run(store=...)")
    if isinstance(options.get("restore"), int):
        raise _wrong(what, "restore", options["restore"], "a savepoint, or the folder of a checkpoint, for a fork")


def _check_known(what: str, options: Mapping[str, object], known: Iterable[str]) -> None:
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise PlanError(f"{what} takes no option {unknown[0]!r}: it knows {', '.join(sorted(known))}")


def _check_count(what: str, name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise _wrong(what, name, value, "an int of at least 1")


def _wrong(what: str, name: str, value: object, expected: str) -> PlanError:
    return PlanError(f"{what}: {name} is {value!r}, expected {expected}")
