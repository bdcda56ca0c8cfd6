"""Every key of one state in one subtask: those in memory that no layer may have yet, and those of the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actorstream.codec.ordered_keys import decode_key, decode_key_at, encode_key
from actorstream.state.live_rows import live_rows

if TYPE_CHECKING:
    from actorstream.state.epochs import Epochs
    from actorstream.state.key_space import KeySpace
    from actorstream.state.operator_state import StateColumn


def keys_of(space: KeySpace, column: StateColumn, table: Epochs[Any]) -> list[object]:
    """Give them in the order of their encodings; some may be gone: deleted in memory, or expired.

    Raises:
        CodecError: A key in the layers cannot be decoded, such as an Enum that the program has no more.
    """
    found: set[bytes] = set()
    for group, head in space.heads(column.number).items():
        for _, parts, _ in live_rows(space.stack.layers_for(group), head):
            part = parts[: decode_key_at(parts, 0)[1]] if column.kind == "map" else parts
            found.add(part)
    keys = {part: decode_key(part) for part in found}
    for epoch in (table.live, *table.unsettled):
        keys.update((encode_key(key), key) for key in epoch)
    return [keys[part] for part in sorted(keys)]
