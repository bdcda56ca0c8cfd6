"""The documents of a store, behind digests that are right: manifests, the job's note, claims; savepoints, archives."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from actorstream.checkpoints.archive_member import END, head, padding
from actorstream.checkpoints.archive_stream import _zstd
from actorstream.checkpoints.in_flight import InFlightChannel, InFlightWriter, read_part
from actorstream.checkpoints.lease import Lease
from actorstream.checkpoints.manifest import unseal
from actorstream.checkpoints.sealed import _UNSEALED, _closed
from actorstream.checkpoints.unpacking import import_savepoint
from actorstream.checkpoints.view import StoreView
from actorstream.cli.manifest_text import manifest_lines
from actorstream.errors import FencedError
from actorstream.evolve import open_snapshot
from actorstream.evolve.declared_states import declared_in, plan_of
from actorstream.model.batch import Batch
from actorstream.model.ids import CheckpointId
from actorstream.model.key_groups import KeyGroupRange
from actorstream.model.signals import Idle, Watermark
from actorstream.protocol.attempts import next_claim
from actorstream.runtime.restoring import check_restorable, positions_in, restore
from actorstream.runtime.schema_check import evolved_columns
from actorstream.state.layer import open_checked
from actorstream.state.layer_builder import LayerBuilder
from actorstream.state.operator_state import OperatorState, StateColumn
from actorstream.state.stack import LayerStack
from tests.checkpoints.stores import start
from tests.fuzz.decoder import Decoder, each_of
from tests.fuzz.places import FILES, SAVEPOINT, STORE, folder, golden, put
from tests.golden.changed import Second
from tests.golden.first import pipeline
from tests.runtime.doubles import Splits, Target

if TYPE_CHECKING:
    from actorstream.checkpoints.in_flight import Carried
    from actorstream.state.entries import Entry

PATH = "the/manifest.json"
MANIFESTS = golden(
    "savepoint/manifest.json",
    "two-schemas/store/golden/checkpoints/1/manifest.json",
    "two-schemas/store/golden/checkpoints/2/manifest.json",
    "unnumbered/store/golden/checkpoints/1/manifest.json",
)
NOTES = golden("two-schemas/store/golden/JOB")
CLAIMS = golden("two-schemas/store/golden/attempts/1", "two-schemas/store/golden/attempts/2")


def unsealed(data: bytes) -> bytes:
    """Give a sealed document's content, without the digest at its end."""
    tree = json.loads(data)
    del tree["digest"]
    return json.dumps(tree).encode()


def sealed(content: bytes) -> bytes:
    """Give a document with a right digest, whatever its content."""
    body = content.rstrip()[:-1] if content.rstrip().endswith(b"}") else content
    return _closed(body + b",\n " + _UNSEALED)


def _read(data: bytes) -> None:
    """Read a manifest as everybody does who is given one: a job, the command line, somebody who looks into it."""
    manifest = unseal(PATH, data)
    each_of(
        lambda: "\n".join(manifest_lines(manifest)),
        lambda: positions_in(manifest),
    )


def _in_a_store(data: bytes) -> None:
    """Restore a store's newest checkpoint, whose manifest this is, as the job would; and read its state offline."""
    with folder(STORE) as store:
        for name in ("manifest.json", "completed"):
            put(store / "checkpoints" / "2" / name, data)
        view = StoreView(FILES, str(store))
        for fact in view.manifests():
            assert fact.problem is None or str(store) in fact.problem
        each_of(
            partial(_look_into, str(store)),
            lambda: view.verify(view.read(view.checkpoint_ids()[-1])),
            partial(_restore, str(store)),
        )


def _look_into(root: str) -> None:
    """Read every item of every state: plain, then as the program's types."""
    program = pipeline(Second, Splits({"first": [], "second": []}), Target(), start=0.0)
    for given in (None, program):
        with open_snapshot(root, pipeline=given) as snapshot:
            for operator in snapshot.operators:
                snapshot.event_time(operator)
                for name in snapshot.states(operator):
                    for _ in snapshot.state(operator, name).items():
                        pass


def _restore(root: str) -> None:
    """Do what an attempt does until its states stand above the layers."""
    directory, _ = start(Path(root), files=FILES)
    manifest = directory.load(directory.checkpoint_ids()[-1])
    program = pipeline(Second, Splits({"first": [], "second": []}), Target(), start=0.0)
    plan = plan_of(program)
    columns = {name: [each.column for each in states.values()] for name, states in declared_in(plan).items()}
    check_restorable(manifest, plan, columns)
    evolved = evolved_columns(manifest, columns)
    restored = restore(FILES, directory, manifest)
    groups = KeyGroupRange(0, manifest.max_parallelism)
    try:
        for name, runs in restored.stacks.items():
            numbers, operator = restored.numbers.number_operator(name)
            stack = LayerStack.covering(groups, runs)
            states = []
            for column in evolved[name]:
                numbers, number = numbers.number_state(name, column.name)
                states.append(StateColumn(number, column.name, column.kind, column.codec))
            OperatorState(
                operator=operator,
                columns=states,
                key_groups=groups,
                max_parallelism=manifest.max_parallelism,
                stack=stack,
                name=name,
            ).stored_key()
            stack.release()
    finally:
        restored.close()


def _note(data: bytes) -> None:
    with folder(STORE) as store:
        put(store / "JOB", data)
        lease = Lease(FILES, str(store))
        lease.open("0" * 32)


def _claim(data: bytes) -> None:
    with folder(STORE) as store:
        put(store / "attempts" / "2", data)
        view, lease = StoreView(FILES, str(store)), Lease(FILES, str(store))
        lease.open("0" * 32)
        with suppress(FencedError):
            lease.claim(next_claim(lease.claims(), view.checkpoint_ids()), lambda _: CheckpointId(2))


def _savepoint(data: bytes) -> None:
    """A savepoint's manifest, its layers as they were."""
    with folder(SAVEPOINT) as kept:
        put(kept / "manifest.json", data)
        _look_into(str(kept))


def _archive(data: bytes) -> None:
    with folder() as place:
        import_savepoint(FILES, str(put(place / "kept.archive", data)), str(place / "kept"))


def compressed(content: bytes) -> bytes:
    """Give a frame of zstd, whatever it holds."""
    data: bytes = _zstd().compress(content)
    return data


def tar(manifest: bytes) -> bytes:
    """Give what is in the golden savepoint's archive, but for its manifest."""
    paths = sorted((SAVEPOINT / "layers").iterdir(), reverse=True)
    files = [("manifest.json", manifest), *((f"layers/{path.name}", path.read_bytes()) for path in paths)]
    return b"".join(head(name, len(data)) + data + bytes(padding(len(data))) for name, data in files) + END


def _archive_of(manifest: bytes) -> bytes:
    return compressed(tar(sealed(manifest)))


CHANNELS = [
    InFlightChannel("views:0", 1, "lane", 5),
    InFlightChannel("0", 0, "split"),
    InFlightChannel("again:1", 0, "back"),
]
CARRIED: list[Carried] = [Batch([1, "x"], [5, 6], ["k", 2], ("orders", 3), [1, 2], 17), Watermark(-5), Idle()]


def _in_flight_entries() -> list[Entry]:
    recorded = InFlightWriter("views", 1, CHANNELS)
    for number, item in enumerate(CARRIED):
        recorded.add(number, item)
    return recorded.take_entries()


IN_FLIGHT = _in_flight_entries()


def _in_flight(data: bytes) -> None:
    """A layer in which one entry of a part, which the first byte chooses, has another value."""
    which = (data[0] if data else 0) % len(IN_FLIGHT)
    with folder() as place:
        with LayerBuilder(FILES, str(place / "1-0-1.lmdb")) as builder:
            builder.add([(key, data[1:] if which == at else value) for at, (key, value) in enumerate(IN_FLIGHT)])
            file = builder.finish()
        with open_checked(FILES, str(place / file.name), file) as layer:
            read_part([layer], "views", 1, len(CARRIED)).renamed("seen")


FIRST = [unsealed(MANIFESTS[0])]

CHECKPOINTS = [
    Decoder("manifest", _read, MANIFESTS, [*map(unsealed, MANIFESTS)], sealed, json=True, path=PATH, examples=100),
    Decoder(
        "records in flight", _in_flight, [bytes((at,)) + value for at, (_, value) in enumerate(IN_FLIGHT)], path="1-0-1"
    ),
    Decoder(
        "manifest in a store", _in_a_store, MANIFESTS[2:3], [unsealed(MANIFESTS[2])], sealed, json=True, examples=25
    ),
    Decoder("manifest of a savepoint", _savepoint, MANIFESTS[:1], FIRST, sealed, json=True, examples=25),
    Decoder("note of the job", _note, NOTES, [*map(unsealed, NOTES)], sealed, json=True, path="JOB"),
    Decoder("claim", _claim, CLAIMS[1:], [*map(unsealed, CLAIMS[1:])], sealed, json=True, path="attempts/2"),
    Decoder("archive", _archive, [compressed(tar(MANIFESTS[0]))], [tar(MANIFESTS[0])], compressed, path="kept"),
    Decoder(
        "archive's manifest",
        _archive,
        [_archive_of(FIRST[0])],
        FIRST,
        _archive_of,
        json=True,
        path="kept",
        examples=25,
    ),
]
