"""What the state tests share: a folder of real layer files, and states over them."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from actorstream.codec.values import SELF_DESCRIBING
from actorstream.model.ids import LayerName, OperatorNumber, StateNumber
from actorstream.model.key_groups import KeyGroupRange
from actorstream.state.layer import open_checked
from actorstream.state.layer_builder import write_layer
from actorstream.state.memtable import MISSING
from actorstream.state.operator_state import OperatorState, StateColumn
from actorstream.state.stack import LayerStack
from actorstream.system.files import RealFiles
from actorstream.testing.faults import InterceptedFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from actorstream.model.world import FileSystem
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer, LayerFile
    from actorstream.state.operator_state import Generation
    from actorstream.testing.faults import CallKind

ALL = KeyGroupRange(0, 8)
ROW = StateColumn(StateNumber(1), "value", "value", SELF_DESCRIBING)
OTHER_ROW = StateColumn(StateNumber(2), "other", "value", SELF_DESCRIBING)
MAP = StateColumn(StateNumber(3), "pages", "map", SELF_DESCRIBING)


class QuickFiles(RealFiles):
    """The real disk, without waiting for it: these tests cut no power."""

    def sync(self, path: str, /) -> None:
        """Do nothing."""

    def sync_dir(self, path: str, /) -> None:
        """Do nothing."""


class Reader(InterceptedFiles):
    """Notes which files are read to their end, by name."""

    def __init__(self, inner: FileSystem) -> None:
        super().__init__(inner)
        self.read_files: list[str] = []

    def _before(self, kind: CallKind, path: str, half: Callable[[], None] | None = None) -> None:
        pass

    def chunks(self, path: str, /) -> Iterator[bytes]:
        self.read_files.append(path.rpartition("/")[2])
        return super().chunks(path)


class Shelf:
    """A folder of layers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = QuickFiles()
        self._numbers = count(1)

    def path(self, file: LayerFile) -> str:
        return f"{self.folder}/{file.name}"

    def name(self) -> LayerName:
        return LayerName(f"1-0-{next(self._numbers)}.lmdb")

    def write(self, *parts: list[Entry]) -> LayerFile:
        return write_layer(self.files, f"{self.folder}/{self.name()}", parts)

    def layer(self, *parts: list[Entry]) -> Layer:
        file = self.write(*parts)
        return open_checked(self.files, self.path(file), file)

    def finish(self, state: OperatorState, generation: Generation | None, limit: int = 7) -> None:
        """Encode the rest of a generation, write it, and put it on the stack."""
        if generation is None:
            return
        parts = encode_all(generation, limit)
        state.on_written(generation, self.layer(*parts) if generation.entries else None)

    def checkpoint(self, *states: OperatorState) -> None:
        for state in states:
            self.finish(state, state.freeze())


def open_files(folder: Path) -> list[str]:
    """Give the paths below `folder` that this process has open or mapped, each as often as it has."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    with open("/proc/self/maps", encoding="utf-8") as maps:
        found += [line.split(maxsplit=5)[-1].strip() for line in maps]
    return sorted(path for path in found if path.startswith(f"{folder}/"))


def encode_all(generation: Generation, limit: int = 7) -> list[list[Entry]]:
    parts = []
    while not generation.encoded:
        part = generation.encode(limit)
        assert len(part) <= limit
        parts.append(part)
    assert generation.encode(limit) == []
    return parts


def state_over(
    stack: LayerStack | None = None, columns: Sequence[StateColumn] = (ROW, MAP), key_groups: KeyGroupRange = ALL
) -> OperatorState:
    return OperatorState(
        operator=OperatorNumber(5),
        columns=columns,
        key_groups=key_groups,
        max_parallelism=ALL.end,
        stack=stack or LayerStack.covering(key_groups),
        name="views",
    )


def restored(state: OperatorState, columns: Sequence[StateColumn] = (ROW, MAP)) -> OperatorState:
    """Give a new state over what is on the stack of `state` now."""
    return state_over(LayerStack.covering(ALL, state.stack.runs()), columns)


def read(state: OperatorState, key: object) -> object:
    """Read a row as the generated code does."""
    row = state.rows.live.get(key, MISSING)
    return state.rows.older(key) if row is MISSING else row


def row_list(state: OperatorState, key: object) -> list[object]:
    """Read a row that is a list, to change it in place."""
    row = read(state, key)
    assert isinstance(row, list)
    return row
