"""Entries of layers: well-formed LMDB files, with right digests, whose keys and values nobody of ours has written.

    one entry of the input     how much of a known key stays 1 | more of the key ‖ value
    a layer                    good entries of every kind, and those

A layer is then read in every way there is: key by key, in order, as timers and slices, offline, and merged.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from actorstream.codec.documents import decode_json, encode_json
from actorstream.codec.entry_runs import encode_run
from actorstream.codec.ordered_keys import encode_key
from actorstream.codec.self_describing import SELF_DESCRIBING
from actorstream.codec.values import codec_for
from actorstream.errors import InvariantError
from actorstream.evolve.offline_state import OfflineState
from actorstream.evolve.sorting import EntrySorter, _frames
from actorstream.evolve.stored_items import items_of
from actorstream.model.ids import OperatorNumber, StateNumber
from actorstream.model.key_groups import KeyGroupRange, key_group_of
from actorstream.state.compaction import Merge, Merged, Piece, Source, merge
from actorstream.state.entries import EXPIRING_TAG, Slots, head_of
from actorstream.state.layer import FORMAT, FORMAT_KEY, LayerFile, open_checked, size_and_digest
from actorstream.state.layer_builder import write_layer
from actorstream.state.live_rows import Instants
from actorstream.state.lmdb_env import create_building
from actorstream.state.operator_state import OperatorState, StateColumn
from actorstream.state.slice_entries import SLICE_MARK
from actorstream.state.stack import LayerStack
from actorstream.state.timer_entries import time_bytes
from actorstream.state.ttl import ExpiringCodec
from actorstream.state.unkeyed import BROADCAST_KEY, LIST_ITEM, read_broadcast, read_lists, slot_of
from actorstream.state.verified import _noted
from actorstream.state.writer_child import carry_out
from actorstream.state.writer_frames import FrameParser, Kind, Written, frames_from, pack
from tests.codec.domain import Order
from tests.fuzz.decoder import Decoder, each_of
from tests.fuzz.places import FILES, folder, put

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.model.ids import LayerName
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer

OPERATOR, GROUPS = OperatorNumber(5), KeyGroupRange(0, 2)
LONG = "k" * 300
KEYS: list[Any] = ["ann", 5, ("a", 1), LONG]
VALUE, ORDER, MAP, TIMERS, SLICES, AGING, RULES, LISTS = map(StateNumber, range(1, 9))
UNKEYED = [
    StateColumn(RULES, "rules", "broadcast", SELF_DESCRIBING),
    StateColumn(LISTS, "lists", "list", SELF_DESCRIBING),
]
COLUMNS = [
    StateColumn(VALUE, "any", "value", SELF_DESCRIBING),
    StateColumn(ORDER, "order", "value", codec_for(Order)),
    StateColumn(MAP, "map", "map", SELF_DESCRIBING),
    StateColumn(TIMERS, "timers", "timers", SELF_DESCRIBING),
    StateColumn(SLICES, "slices", "slices", SELF_DESCRIBING),
    StateColumn(AGING, "aging", "value", ExpiringCodec(SELF_DESCRIBING, "processing")),
]
KINDS = {"any": "value", "order": "value", "map": "map", "timers": "timers", "slices": "slices", "aging": "value"}
NOW = Instants(10, 10)


def _head(key: object, state: int) -> bytes:
    return head_of(OPERATOR, key_group_of(encode_key(key), GROUPS.end), state)


def good_entries() -> list[Entry]:
    """Give entries of every kind, as states write them."""
    slots, five = Slots(), SELF_DESCRIBING.encode(5)
    made: list[Entry] = []
    for key in KEYS:
        part = encode_key(key)
        made += [
            slots.entry(_head(key, VALUE), part, b"", b"\x00" + five),
            slots.entry(_head(key, ORDER), part, b"", b"\x00" + codec_for(Order).encode(Order("a", 1.0))),
            slots.entry(_head(key, AGING), part, b"", EXPIRING_TAG + time_bytes(50) + five),
            *(slots.entry(_head(key, MAP), part, encode_key(each), b"\x00" + five) for each in ("x", LONG)),
            slots.entry(_head(key, TIMERS), b"\x02" + part, b"\x00" + encode_key("t"), b"\x00" + time_bytes(7)),
            slots.entry(
                _head(key, TIMERS),
                b"\x01\x00" + time_bytes(7) + part,
                encode_key("t"),
                b"\x00" + len(part).to_bytes(4),
            ),
            slots.entry(_head(key, SLICES), time_bytes(60) + part, b"", b"\x00" + five),
            slots.entry(_head(BROADCAST_KEY, RULES), encode_key(BROADCAST_KEY), encode_key(key), b"\x00" + five),
        ]
    slot = slot_of(0, GROUPS, GROUPS.end)
    items = b"\x00" + SELF_DESCRIBING.encode([1, 2])
    made.append(slots.entry(_head(slot, LISTS), encode_key(slot), encode_key(LIST_ITEM), items))
    return made


GOOD = good_entries()
MARKS: list[Entry] = [
    (head_of(OPERATOR, 0, SLICES), bytes((SLICE_MARK,)) + time_bytes(60)),
    (head_of(OPERATOR, 0, TIMERS) + b"\x00\x00", b"\x00" + time_bytes(5)),
    (_head("ann", MAP) + encode_key("ann"), b"\x02"),
    (_head("ann", VALUE) + encode_key("ann"), b"\x01"),
]
ENTRIES = [*GOOD, *MARKS]


def described(*entries: tuple[int, int, bytes, bytes]) -> bytes:
    """Write inputs: which entry, how much of its key stays, what follows the key, the value."""
    return b"".join(
        bytes((which, stays, len(more))) + more + len(value).to_bytes(2) + value
        for which, stays, more, value in entries
    )


def _entries(data: bytes) -> list[Entry]:
    """Read inputs; whatever the bytes."""
    found: list[Entry] = []
    at = 0
    while at + 5 <= len(data):
        which, stays, length = data[at : at + 3]
        more = data[at + 3 : at + 3 + length]
        at += 3 + length
        size = int.from_bytes(data[at : at + 2]) % 600
        value = data[at + 2 : at + 2 + size]
        at += 2 + size
        key = ENTRIES[which % len(ENTRIES)][0]
        entry = (key[: 6 + stays] + more)[:500]
        found.append((max(entry, b"\0\0"), value))
    return found


def _states(data: bytes) -> None:
    """Read a layer that holds these entries beside good ones, and one below it with good ones alone."""
    entries = dict(GOOD)
    entries.update(_entries(data))
    with folder() as place:
        newer = _layer(place, "2-0-1.lmdb", sorted(entries.items()))
        older = _layer(place, "1-0-1.lmdb", sorted(dict(GOOD).items()))
        try:
            each_of(
                lambda: _row_by_row(newer, older),
                lambda: _offline(newer, older),
                lambda: _merge(place, newer, older),
            )
        finally:
            newer.release()
            older.release()


def _layer(place: Path, name: str, entries: list[Entry]) -> Layer:
    file = write_layer(FILES, str(place / name), [entries])
    return open_checked(FILES, str(place / name), file)


def _row_by_row(newer: Layer, older: Layer) -> None:
    stack = LayerStack.covering(GROUPS, [(GROUPS, [newer, older])])
    try:
        state = OperatorState(
            operator=OPERATOR,
            columns=COLUMNS,
            key_groups=GROUPS,
            max_parallelism=GROUPS.end,
            stack=stack,
            name="views",
        )
        timers = state.timers
        assert timers is not None
        calls: list[Any] = [state.stored_key, lambda: _fire(state), lambda: _slices(state)]
        for key in KEYS:
            calls += [
                lambda key=key: state.rows.older(key),
                lambda key=key: list(state.maps["map"].items(key)),
                lambda key=key: list(state.maps["map"].items(key, "a", "z", reverse=True)),
                lambda key=key: state.maps["map"].get(key, LONG),
                lambda key=key: timers.at(key, "t", "event"),
                lambda key=key: timers.set(key, "t", "event", 99),
            ]
        calls += [lambda key=key: timers.clear(key) for key in KEYS]
        calls += [
            lambda: list(read_broadcast(stack, OPERATOR, UNKEYED[0])),
            lambda: list(read_lists(stack, OPERATOR, UNKEYED[1])),
            lambda: list(state.keys_of("any")),
            lambda: list(state.keys_of("map")),
        ]
        each_of(*calls)
    finally:
        stack.release()


def _fire(state: OperatorState) -> None:
    assert state.timers is not None
    for number, _ in zip(range(200), state.timers.due("event", 10_000), strict=False):
        assert number < 199, "timers without end"


def _slices(state: OperatorState) -> None:
    table = state.slices
    assert table is not None
    starts = table.slices()
    each_of(*(lambda start=start: list(table.read(start)) for start in starts[:5]))
    each_of(*(lambda start=start, key=key: table.peek(start, key) for start in starts[:5] for key in KEYS))


def _offline(newer: Layer, older: Layer) -> None:
    stack = LayerStack.covering(GROUPS, [(GROUPS, [newer, older])])
    try:
        each_of(*(lambda column=column: _read_offline(stack, column) for column in COLUMNS))
    finally:
        stack.release()


def _read_offline(stack: LayerStack, column: StateColumn) -> None:
    values = getattr(column.codec, "values", column.codec)
    state = OfflineState(
        items_of(column.kind, f"views.{column.name}", values),
        column.kind,
        (OPERATOR, column.number),
        stack,
        lambda _: NOW,
    )
    each_of(
        lambda: sum(1 for _ in state.items()),
        *(lambda key=key: state.get(key) for key in KEYS),
    )


def _merge(place: Path, newer: Layer, older: Layer) -> None:
    sources = [
        Source(str(place / layer.file.name), layer.file.name, layer.file.size, layer.file.digest, layer.file.entries)
        for layer in (newer, older)
    ]
    piece = Piece(OPERATOR, *GROUPS, [0, 1], bottom=False, clocks={AGING: 60})
    target = place / "3-0-1.lmdb"
    try:
        merge(FILES, Merge(sources, [piece], str(target)))
    except InvariantError as error:
        # A short entry among those of a long key's stem comes out of order. The builder cannot tell a layer that
        # somebody has forged from a mistake of ours; what counts is that it makes no file of them.
        if "came twice or out of order" not in str(error) or target.exists():
            raise


def _format(data: bytes) -> None:
    """A file whose first entry is this: format and filter."""
    with folder() as place:
        path = str(place / "1-0-1.lmdb")
        env = create_building(path, 1 << 20)
        try:
            with env.transaction(write=True) as txn:
                txn.put(FORMAT_KEY, data)
                for key, value in GOOD:
                    txn.put(key, value)
        finally:
            env.close()
        size, digest = size_and_digest(FILES, path)
        with open_checked(FILES, path, LayerFile(_name("1-0-1.lmdb"), size, digest, 1)) as layer:
            for key, _ in GOOD:
                layer.may_hold(key)
            list(layer.scan(b""))


def _name(name: str) -> LayerName:
    return name  # type: ignore[return-value]


def _frames_of_child(data: bytes) -> None:
    """What a writer child says, as its host hears it: in pieces."""
    parser = FrameParser()
    for at in range(0, len(data), 7):
        for kind, _, body in parser.parse(data[at : at + 7]):
            if kind is Kind.WRITTEN:
                decode_json(Written, body)


def _orders(data: bytes) -> None:
    """What a host says, as its writer child obeys it; files go where they should."""
    with folder() as place:
        rest = io.BytesIO(data.replace(b"@@", str(place).encode()))
        carry_out(FILES, frames_from(rest.read), lambda _: None)


def _child_task(data: bytes) -> None:
    decode_json(Merge, data)


def _child_result(data: bytes) -> None:
    decode_json(Merged, data)


def _run_file(data: bytes) -> None:
    with folder() as place:
        sorter = EntrySorter(FILES, str(place / "s"))
        list(sorter._read(str(put(place / "s-1.run", data))))
        list(_frames([data[:3], data[3:]]))


def _verified(data: bytes) -> None:
    with folder() as place:
        put(place / "layers.verified", data)
        _noted(FILES, str(place / "layers"))


def _expiring(data: bytes) -> None:
    each_of(
        lambda: ExpiringCodec(SELF_DESCRIBING, "processing").decode(data),
        lambda: ExpiringCodec(SELF_DESCRIBING, "event").decode(data),
    )


TASK = Merge([Source("a", "1-0-1.lmdb", 1, "0" * 32, 1)], [Piece(1, 0, 2, [0], bottom=True, clocks={1: 5})], "t")
ORDERS = [
    pack(Kind.BEGIN, 1, b"@@/1-0-1.lmdb")
    + pack(Kind.RUN, 1, encode_run(GOOD[:2]))
    + pack(Kind.FINISH, 1)
    + pack(kind, 1)
    for kind in (Kind.KEEP, Kind.ABANDON)
]
ANSWERS = [pack(Kind.WRITTEN, 1, encode_json(Written(5, "0" * 32, 1))) * 2, pack(Kind.FAILED, 2, b"no")]
INPUTS = [
    described((which, 255, b"", value)) for which, (_, value) in enumerate(ENTRIES)
] + [
    described((which, stays, more, value))
    for which, stays, more, value in (
        (0, 255, b"", b""), (4, 255, b"", b""), (5, 255, b"", b"\x00"), (6, 0, b"\x00\x00", b""),
        (6, 0, b"\x01", b"\x00"),
        (7, 0, b"", b"\x04"), (7, 3, b"", b"\x00"), (3, 255, b"", b"\x03"), (0, 255, b"", b"\x40"),
        (4, 255, b"", b"\xc0"),
        (0, 255, b"", b"\xc0\xff\xff\xff\xff"), (4, 255, b"x", b"\x80\x00\x00\x00\x02ab"), (2, 0, b"", b"\x00"),
        (4, 222, b"\x00", b""),
    )
]  # fmt: skip

FORMATS = [FORMAT + b"\xff", FORMAT, b"actorstream layer 1", FORMAT + bytes(50)]

STATE = [
    Decoder("entries of layers", _states, INPUTS, examples=100),
    Decoder(
        "first entry of a layer",
        _format,
        [FORMAT + b"\xff", FORMAT, b"actorstream layer 1", FORMAT + bytes(50)],
        path="1-0-1",
    ),
    Decoder("answers of the writer child", _frames_of_child, ANSWERS),
    Decoder("orders of the writer child", _orders, ORDERS, examples=30),
    Decoder("task of the compaction child", _child_task, [encode_json(TASK)], json=True),
    Decoder("result of the compaction child", _child_result, [encode_json(Merged("a", 1, "0" * 32, 1))], json=True),
    Decoder("runs of a sort", _run_file, [len(encode_run(GOOD[:1])).to_bytes(4) + encode_run(GOOD[:1])]),
    Decoder("record of proved layers", _verified, [b"\n0123 a b c\n"]),
    Decoder("expiring values", _expiring, [time_bytes(5) + SELF_DESCRIBING.encode(5)]),
]
