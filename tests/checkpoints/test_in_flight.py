"""What is recorded of channels comes back as it was, or as an error that names the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorstream.checkpoints.in_flight import InFlightChannel, InFlightPart, InFlightWriter, read_part
from actorstream.errors import CodecError, StoreError
from actorstream.model.batch import Batch
from actorstream.model.signals import Idle, Watermark
from actorstream.state.entries import VALUE_TAG
from actorstream.state.layer import open_checked
from actorstream.state.layer_builder import LayerBuilder
from actorstream.system.files import RealFiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from actorstream.checkpoints.in_flight import Carried
    from actorstream.state.entries import Entry
    from actorstream.state.layer import Layer

FILES = RealFiles()
CHANNELS = [
    InFlightChannel("views:0", 0, "lane", 17),
    InFlightChannel("views:0", 1, "lane", -3, idle=True),
    InFlightChannel("again:1", 0, "back"),
]


def layer_of(folder: Path, number: int, entries: Sequence[Entry]) -> Layer:
    with LayerBuilder(FILES, str(folder / f"1-0-{number}.lmdb")) as builder:
        builder.add(list(entries))
        file = builder.finish()
    return open_checked(FILES, str(folder / file.name), file)


def shown(item: Carried) -> object:
    if not isinstance(item, Batch):
        return item
    return item.values, item.timestamps, item.keys, item.origin, item.marks, item.watermark


def recorded(*items: tuple[int, Carried]) -> InFlightWriter:
    writer = InFlightWriter("views", 1, CHANNELS)
    for channel, item in items:
        writer.add(channel, item)
    return writer


ITEM = st.one_of(
    st.builds(Watermark, st.integers(-(2**60), 2**60)),
    st.just(Idle()),
    st.lists(st.tuples(st.text(), st.integers(0, 9)), min_size=1).map(
        lambda values: Batch(list(values), list(range(len(values))), [key for key, _ in values], ("0", 7), None, 9)
    ),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(st.tuples(st.integers(0, 2), ITEM), min_size=1), cut=st.integers(0, 9))
def test_of_every_channel_all_comes_back_in_order_from_however_many_files(
    tmp_path_factory: pytest.TempPathFactory, items: list[tuple[int, Carried]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("layers")
    writer = recorded(*items[:cut])
    first = writer.take_entries()
    for channel, item in items[cut:]:
        writer.add(channel, item)
    with layer_of(folder, 1, first) as one, layer_of(folder, 2, writer.take_entries()) as two:
        part = read_part([one, two], "views", 1, len(items))
    assert part.channels == CHANNELS
    assert [(at, shown(item)) for at, item in part.items] == [(at, shown(item)) for at, item in items]
    assert (writer.items, writer.overtaken) == (len(items), sum(channel != 2 for channel, _ in items))


def test_what_becomes_of_a_record_later_changes_nothing_t125() -> None:
    """T125: what was recorded is encoded; a receiver may go on with the very same object."""
    record = {"seen": 1}
    writer = recorded((0, Batch([record])))
    record["seen"] = 2
    assert writer.take_entries()[0][1] == recorded((0, Batch([{"seen": 1}]))).take_entries()[0][1]


def test_parts_of_several_subtasks_lie_in_one_file(tmp_path: Path) -> None:
    other = InFlightWriter("views", 2, CHANNELS[:1])
    other.add(0, Watermark(5))
    with layer_of(tmp_path, 1, recorded((1, Idle())).take_entries() + other.take_entries()) as layer:
        assert read_part([layer], "views", 1, 1).items == [(1, Idle())]
        assert read_part([layer], "views", 2, 1).items == [(0, Watermark(5))]
        with pytest.raises(StoreError, match=r"1-0-1.lmdb: records in flight to views \(subtask 3\).*there are none"):
            read_part([layer], "views", 3, 1)


def test_a_renamed_operator_finds_what_was_on_its_way() -> None:
    places = [InFlightChannel("views:0", 1), InFlightChannel("0", 0, "split")]
    part = InFlightPart("views", 1, places, [(0, Idle())]).renamed("seen")
    assert (part.chain, part.channels) == ("seen", [InFlightChannel("seen:0", 1), places[1]])
    assert part.renamed("seen") is part


def test_a_record_that_cannot_be_stored_is_an_error_that_names_the_exchange() -> None:
    with pytest.raises(CodecError, match=r"in flight on 'views:0' to views cannot be stored: .*alignment_timeout=None"):
        recorded((0, Batch([object()])))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda entries: entries[1:], "item 1 is missing"),
        (lambda entries: entries[:-2] + entries[-1:], "1 items were found, 2 expected"),
        (lambda entries: entries[:-1], "there are none"),
        (lambda entries: [(entries[0][0], b"\x01"), *entries[1:]], "an entry of kind 1 was found"),
        (lambda entries: [(entries[0][0], b""), *entries[1:]], "an entry of kind -1 was found"),
        (lambda entries: [(entries[0][0], VALUE_TAG + b"\0\0"), *entries[1:]], "item 1 is cut short"),
        (lambda entries: [(entries[0][0], VALUE_TAG + b"\0\0\0\x07"), *entries[1:]], "channel 7, there are 3"),
        (lambda entries: [(entries[0][0], VALUE_TAG + b"\0\0\0\0??"), *entries[1:]], "a frame of 2 bytes is cut short"),
        (lambda entries: [*entries[:-1], (entries[-1][0], VALUE_TAG + b"{}")], "not a _Head document"),
    ],
)
def test_what_is_not_as_it_was_written_is_an_error_that_names_the_file(
    tmp_path: Path, change: object, problem: str
) -> None:
    """The digest was right, so it was written so: still no other record may come of it."""
    entries = recorded((0, Watermark(1)), (1, Watermark(2))).take_entries()
    layer = layer_of(tmp_path, 1, change(entries))  # type: ignore[operator]
    with layer, pytest.raises(StoreError, match=f"^1-0-1.lmdb: .*{problem}.*restore an older checkpoint"):
        read_part([layer], "views", 1, 2)


def test_files_in_another_order_or_of_another_part_are_refused(tmp_path: Path) -> None:
    writer = recorded((0, Watermark(1)))
    first = writer.take_entries()
    writer.add(1, Watermark(2))
    with layer_of(tmp_path, 1, first) as one, layer_of(tmp_path, 2, writer.take_entries()) as two:
        with pytest.raises(StoreError, match="1 items should be in the files before it, 0 were"):
            read_part([two, one], "views", 1, 2)
        with pytest.raises(StoreError, match=r"1-0-1.lmdb: .*1 items were found, 2 expected"):
            read_part([one], "views", 1, 2)
