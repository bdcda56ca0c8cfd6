"""The `actorstream` command: one module a command, errors as one line.

    run describe        a pipeline, named as module:attribute
    checkpoints         a store, read only
    savepoint           snapshots that are yours
    state               the state in a checkpoint or savepoint, read only
    log                 an event log, in JSON lines
    compare promote     two event logs: what differs; let one take the other's place
    replay ab           a pipeline over what was recorded, once more; two of them, compared
    demo                the main job

Typer and rich come with the extra `cli`; the library itself does without them.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from actorstream.cli.error_text import explain
from actorstream.errors import ActorstreamError

_EXTRA = frozenset({"typer", "rich", "click"})


def main() -> None:
    """Run the command line; leaves with status 1 and one clear line when something is wrong."""
    try:
        from actorstream.cli.app import app, is_debugging  # noqa: PLC0415  (an optional extra)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        _leave(f"actorstream: the commands need {missing}: pip install 'actorstream[cli]'")
    try:
        app()
    except ActorstreamError as error:
        if is_debugging():
            raise
        _leave(explain(error))


def _leave(text: str) -> NoReturn:
    sys.stderr.write(f"{text}\n")
    sys.exit(1)


if __name__ == "__main__":
    main()
