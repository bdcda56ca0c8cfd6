from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.checkpoints.manifest import (
    FORMAT,
    FloorRun,
    InFlightEntry,
    LayerEntry,
    Manifest,
    OperatorEntry,
    PendingToken,
    SplitEntry,
    StackRun,
    StateEntry,
    attempt_of,
    overtaken_in,
    seal,
    unseal,
)
from actorstream.checkpoints.numbers import Numbers
from actorstream.checkpoints.sealed import seal as seal_document
from actorstream.errors import InvariantError, StoreError
from actorstream.model.ids import AttemptNumber, CheckpointId, LayerName
from actorstream.protocol.attempts import Claim
from tests.checkpoints.plain_loop import plain_loops
from tests.checkpoints.stores import manifest_of

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = Path(__file__).parent / "golden" / "manifest-v1.json"
PATH = "/store/checkpoints/7/manifest.json"
LAYERS = [LayerEntry(LayerName(f"3-main-{n}.lmdb"), 4096 * n, f"{n:032x}", n) for n in (1, 2, 3)]
MANIFEST = manifest_of(Claim(AttemptNumber(3), CheckpointId(7)), 7, LAYERS)


def unsealed(manifest: Manifest) -> Manifest:
    return replace(manifest, digest="")


def test_what_was_sealed_is_read_back() -> None:
    assert unsealed(unseal(PATH, seal(MANIFEST))) == MANIFEST


def test_the_first_released_format_is_read_for_ever() -> None:
    """The file was written once, by version 0.1.0, and is never written again."""
    manifest = unseal(str(GOLDEN), GOLDEN.read_bytes())
    views = manifest.operators["views"]
    assert (manifest.job, manifest.pipeline) == ("0123456789abcdef0123456789abcdef", "page-views")
    assert (manifest.attempt, manifest.checkpoint, manifest.final) == (3, 7, True)
    assert (manifest.created_us, manifest.duration_us) == (1_700_000_000_000_000, 12_000)
    assert (manifest.format, manifest.max_parallelism) == (1, 128)
    assert manifest.numbers == Numbers(
        {"views": 1, "last seen": 3}, {"views": {"count": 1}, "last seen": {"at": 2}}, 4, {"views": 2, "last seen": 3}
    )
    assert manifest.layers == LAYERS
    assert (views.number, views.parallelism) == (1, 2)
    assert views.stacks == [StackRun(0, 64, [2, 0]), StackRun(64, 128, [1, 0])]
    assert views.states == {"count": StateEntry(1, "value", "00ff00ff00ff00ff", {"type": "int"})}
    assert manifest.operators["last seen"].states["at"].kind == "map"
    assert manifest.sources == {
        "clicks": {"0": SplitEntry(b"\x93\x01\x02\xff", finished=False), "1": SplitEntry(None, finished=True)}
    }
    assert manifest.sinks == [PendingToken("out", 1, 6, 2, b"\x00token\xff"), PendingToken("out", 0, 7, 3, b"")]


def test_each_single_flipped_byte_is_an_error_that_names_the_file() -> None:
    """Never a wrong value: the digest covers white space too."""
    data = GOLDEN.read_bytes()
    for place, byte in enumerate(data):
        damaged = data[:place] + bytes([byte ^ 1 << place % 8]) + data[place + 1 :]
        with pytest.raises(StoreError, match=rf"^{PATH} .*copy"):
            unseal(PATH, damaged)


def test_a_newer_format_is_refused_with_the_remedy() -> None:
    with pytest.raises(StoreError, match=f"{PATH} has format 3, .*install the newer version"):
        unseal(PATH, seal_document(replace(MANIFEST, format=FORMAT + 1)))


IN_FLIGHT = replace(MANIFEST, format=2, in_flight=[InFlightEntry("views", 1, [2], 5, 3, 400, 9_000, "visits")])


def test_records_in_flight_make_it_format_2_and_nothing_else_does() -> None:
    """Who does not know them must not restore it, and need not refuse any other."""
    assert unsealed(unseal(PATH, seal(IN_FLIGHT))) == IN_FLIGHT
    assert overtaken_in(IN_FLIGHT) == 3
    for wrong in (replace(IN_FLIGHT, format=1), replace(MANIFEST, format=2)):
        with pytest.raises(InvariantError, match="format"):
            seal(wrong)
    with pytest.raises(StoreError, match="format 1 has no records in flight"):
        unseal(PATH, seal_document(replace(IN_FLIGHT, format=1)))


def with_stack(*runs: tuple[int, int, list[int]]) -> Callable[[Manifest], Manifest]:
    stacks = [StackRun(*run) for run in runs]
    return lambda manifest: replace(manifest, operators={"views": replace(manifest.operators["views"], stacks=stacks)})


def with_floors(*runs: tuple[int, int, int]) -> Callable[[Manifest], Manifest]:
    floors = [FloorRun(*run) for run in runs]
    return lambda manifest: replace(manifest, operators={"views": replace(manifest.operators["views"], floors=floors)})


def in_flight(*entries: tuple[str, int, list[int], int, int, int, int]) -> Callable[[Manifest], Manifest]:
    listed = [InFlightEntry(*entry) for entry in entries]
    return lambda manifest: replace(manifest, format=FORMAT, in_flight=listed)


def test_floors_by_key_group_come_back_and_older_manifests_have_none() -> None:
    """T47: how far event time had come for each key group; the least of a subtask needs no line."""
    manifest = with_floors((0, 10, -5), (64, 128, 1 << 62))(MANIFEST)
    assert unsealed(unseal(PATH, seal(manifest))) == manifest
    old = unseal(str(GOLDEN), GOLDEN.read_bytes())
    assert (old.operators["views"].floors, old.graph) == ([], "")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (with_floors((0, 64, 1), (63, 128, 2)), r"floors of key groups \[63, 128\) overlap"),
        (with_floors((0, 129, 1)), r"floors of key groups \[0, 129\)"),
        (with_stack((0, 129, [0])), r"\[0, 129\) overlap, are out of order or not below 128"),
        (with_stack((0, 64, [0]), (63, 128, [1])), r"\[63, 128\) overlap"),
        (with_stack((64, 64, [0])), r"\[64, 64\) overlap"),
        (with_stack((0, 128, [3])), "not among the 3 listed"),
        (with_stack((0, 128, [-1])), "not among the 3 listed"),
        (lambda m: replace(m, layers=[*LAYERS, LAYERS[0]]), "listed twice"),
        (lambda m: replace(m, layers=[replace(LAYERS[0], name=LayerName("../1-a-1.lmdb"))]), "no layer name"),
        (lambda m: replace(m, numbers=Numbers({"views": 5}, {"views": {}}, 5, {"views": 1})), "not below"),
        (lambda m: replace(m, checkpoint=0), "start at 1"),
        (in_flight(("views", 0, [3], 1, 1, 1, 1)), "in flight to 'views' refer to a layer that is not among the 3"),
        (in_flight(("views", 0, [], 1, 1, 1, 1)), "in flight to 'views' refer to a layer"),
        (in_flight(("views", 0, [0], 1, 2, 1, 1)), "counted below 0"),
        (in_flight(("views", 0, [0], 1, 1, 1, 1), ("views", 0, [1], 1, 1, 1, 1)), "to one subtask are listed twice"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_neither_written_nor_read(
    change: Callable[[Manifest], Manifest], problem: str
) -> None:
    """Also against a program that seals nonsense: a name must not lead out of the store."""
    with pytest.raises(InvariantError, match=problem):
        seal(change(MANIFEST))
    with pytest.raises(StoreError, match=rf"^{PATH} contradicts itself: .*{problem}"):
        unseal(PATH, seal_document(change(MANIFEST)))


def test_only_this_format_is_written() -> None:
    with pytest.raises(InvariantError, match="format 3 is not 1"):
        seal(replace(MANIFEST, format=3))


@pytest.mark.parametrize(
    ("name", "attempt"),
    [
        ("12-main-1.lmdb", 12),
        ("1-host_2.example-999.lmdb", 1),
        ("0-main-1.lmdb", None),
        ("1-main-1.lmdb.draft", None),
        ("1-a/b-1.lmdb", None),
        ("1-..-1", None),
        ("lost+found", None),
    ],
)
def test_a_layer_name_says_which_attempt_wrote_it(name: str, attempt: int | None) -> None:
    assert attempt_of(name) == attempt


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.text(max_size=8), st.dictionaries(st.text(max_size=8), st.binary(max_size=20) | st.none())),
    st.lists(st.binary(max_size=100), max_size=5),
)
def test_any_name_position_and_token_comes_back(
    sources: dict[str, dict[str, bytes | None]], tokens: list[bytes]
) -> None:
    manifest = replace(
        MANIFEST,
        sources={
            name: {split: SplitEntry(position, finished=position is None) for split, position in splits.items()}
            for name, splits in sources.items()
        },
        sinks=[PendingToken("out", n, 7, 3, token) for n, token in enumerate(tokens)],
    )
    assert unsealed(unseal(PATH, seal(manifest))) == manifest


def large_manifest() -> Manifest:
    """2,000 subtasks in 20 operators over 24 layers, at worst: no two neighbours share a stack."""
    rng = random.Random(1)
    numbers = Numbers()
    operators: dict[str, OperatorEntry] = {}
    for index in range(20):
        name = f"operator-{index}"
        numbers, operator = numbers.number_operator(name)
        numbers, state = numbers.number_state(name, "total")
        runs = [StackRun(n * 2, n * 2 + 2, sorted(rng.sample(range(24), 22), reverse=True)) for n in range(100)]
        states = {"total": StateEntry(state, "value", "00ff00ff00ff00ff", {"type": "int"})}
        operators[name] = OperatorEntry(operator, 100, runs, states)
    layers = [LayerEntry(LayerName(f"3-main-{n}.lmdb"), 1 << 20, f"{n:032x}", 10_000) for n in range(24)]
    splits = {str(n): SplitEntry(bytes(9), finished=False) for n in range(100)}
    return replace(
        MANIFEST,
        max_parallelism=200,
        numbers=numbers,
        layers=layers,
        operators=operators,
        sources={"in": splits},
        sinks=[PendingToken("out", n, 7, 3, bytes(64)) for n in range(100)],
    )


def test_2000_subtasks_stay_under_256_kib_and_a_plain_loop_or_so() -> None:
    """A checkpoint a second of a wide job: the manifest must not be what it spends its time on."""
    manifest = large_manifest()
    assert len(seal(manifest)) < 256 * 1024
    assert unsealed(unseal(PATH, seal(manifest))) == manifest
    data = seal(manifest)
    assert plain_loops(lambda: seal(manifest)) < 1.5
    assert plain_loops(lambda: unseal(PATH, data)) < 1.5
