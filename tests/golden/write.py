"""Writes a store and logs of this version, to be kept: `python -m tests.golden.write NAME`, on purpose only.

What is there is never written again: a later version adds a folder of its own, and reads all of them for ever.
`savepoint` is `actorstream savepoint create` of the newest checkpoint in `two-schemas`.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actorstream.api.settings import Settings
from actorstream.eventlog.folder import LogSettings
from actorstream.eventlog.log import EventLog
from actorstream.protocol.restart import Restart
from tests.golden.changed import NamedClick, Second
from tests.golden.first import CLICKS, EVENTS, Click, Event, Ledger, TimedClick, pipeline
from tests.runtime.doubles import Splits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).parent
SMALL = LogSettings(segment_bytes=1 << 16)


async def run(
    store: Path,
    owner: Callable[[], Any],
    splits: dict[str, Sequence[Event]],
    *,
    start: float = 0,
    savepoint: Path | None = None,
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Run the program over a store to the end of its splits; give what the ledger shows, and the last sums."""
    seen: list[Any] = []
    made = pipeline(owner, Splits(splits), seen.append, start=start)
    if savepoint is None:
        await made.run(store=store, restart=Restart.never(), settings=Settings())
    else:
        await made.run(store=store, restore=savepoint, restart=Restart.never(), settings=Settings())
    shown = [each for each in seen if isinstance(each, dict)]
    return shown, {each[0]: each[2] for each in seen if isinstance(each, tuple)}


def write(folder: Path) -> None:
    """Write the store and the logs, of two generations of classes, into a folder that is not there yet."""
    folder.mkdir()
    asyncio.run(_fill(folder))
    for each in sorted(folder.rglob("*")):
        if each.name in {"LOCK", "layers.verified"} or each.name.endswith("-lock"):
            each.unlink()
        elif each.name == "staged":
            shutil.rmtree(each)


async def _fill(folder: Path) -> None:
    splits: dict[str, Sequence[Event]] = {"first": EVENTS}
    await run(folder / "store", Ledger, splits)
    await run(folder / "store", Second, {**splits, "second": [("bob", 9)]}, start=0.0)
    for name in ("log", "timed"):
        async with EventLog(Click, folder / name, settings=SMALL) as log:
            await log.extend(CLICKS)
    async with EventLog(TimedClick, folder / "timed", settings=SMALL) as timed:
        await timed.append(TimedClick("cid", 3, 1.5))
    async with EventLog(NamedClick, folder / "log", rename={"user": "name"}) as named:
        await named.append(NamedClick(4, "dan"))


if __name__ == "__main__":
    write(HERE / sys.argv[1])
