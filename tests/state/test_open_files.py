"""Open files and maps: one of each for a layer, however often it is opened, none after its last release."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from actorstream.model.key_groups import KeyGroupRange
from actorstream.state.layer import open_checked
from actorstream.state.stack import LayerStack
from tests.state.rig import ALL, open_files

if TYPE_CHECKING:
    from actorstream.state.layer import Layer
    from tests.state.rig import Shelf

LOW, HIGH = KeyGroupRange(0, 4), KeyGroupRange(4, 8)


def maps_of_this_process() -> int:
    with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
        return sum(1 for _ in maps)


def test_layer_takes_one_file_and_one_map_however_often_it_is_opened(shelf: Shelf) -> None:
    """Two thousand subtasks share the files of a group commit."""
    first = shelf.layer([(b"key", b"value")])
    path = shelf.path(first.file)
    others = [open_checked(shelf.files, path, first.file) for _ in range(20)]
    assert open_files(shelf.folder) == [path, path]
    for layer in [first, *others]:
        assert open_files(shelf.folder) == [path, path]
        layer.release()
    assert open_files(shelf.folder) == []


def test_open_files_and_maps_stay_those_of_the_layers_in_use(shelf: Shelf) -> None:
    """While layers are pushed, merged, pinned, read and dropped for a long time: LMDB keeps a map for each file."""
    rng = random.Random(7)
    stacks = [LayerStack([(ALL, [])]), LayerStack([(LOW, []), (HIGH, [])])]
    maps_before = maps_of_this_process()
    for step in range(400):
        stack = rng.choice(stacks)
        if stack.layers >= 6:
            with shelf.layer([(b"key%d" % step, b"merged")]) as new:
                for each in stacks:
                    each.replace(each.layers_for(0), new)
        else:
            with shelf.layer([(b"key%d" % step, b"value")]) as layer, stack.pin() as pinned:
                for each in stacks if step % 3 else [stack]:
                    each.push(layer)
                pinned.get_many([(0, b"key%d" % number) for number in range(step)])
        in_use: set[Layer] = {layer for each in stacks for _, layers in each.runs() for layer in layers}
        paths = sorted(shelf.path(layer.file) for layer in in_use)
        assert open_files(shelf.folder) == sorted(paths * 2)
    for stack in stacks:
        stack.release()
    assert open_files(shelf.folder) == []
    # Python's own heap takes some; 400 layers came and went.
    assert maps_of_this_process() < maps_before + 40
