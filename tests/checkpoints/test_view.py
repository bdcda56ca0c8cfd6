from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.manifest import seal
from actorstream.checkpoints.sealed import seal as seal_document
from actorstream.checkpoints.view import StoreView
from actorstream.errors import InvariantError, StoreError
from actorstream.model.ids import AttemptNumber, CheckpointId, LayerName
from actorstream.protocol.recovery import ManifestFact, Refuse, RestoreFrom, decide
from actorstream.system.files import RealFiles
from tests.checkpoints.stores import JOB, manifest_of, start, write_layer

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.checkpoints.directory import CheckpointDirectory
    from actorstream.protocol.attempts import Claim

ONE, TWO = CheckpointId(1), CheckpointId(2)


@pytest.fixture
def store(tmp_path: Path) -> tuple[CheckpointDirectory, Claim]:
    """A store with checkpoints 1 and 2, of one layer each."""
    directory, claim = start(tmp_path)
    for checkpoint in (1, 2):
        layers = [write_layer(directory, f"1-main-{n}.lmdb", bytes(100 * n)) for n in range(1, checkpoint + 1)]
        directory.publish(manifest_of(claim, checkpoint, layers))
    return directory, claim


def good(checkpoint: CheckpointId) -> ManifestFact:
    return ManifestFact(checkpoint, AttemptNumber(1), None)


@pytest.mark.usefixtures("store")
def test_looking_needs_no_claim_and_changes_nothing(tmp_path: Path) -> None:
    view = StoreView(RealFiles(), str(tmp_path))
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    assert view.checkpoint_ids() == [1, 2]
    assert view.manifests() == [good(ONE), good(TWO)]
    assert view.read(TWO).checkpoint == 2
    assert view.verify(view.read(TWO)) == []
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_a_checkpoint_that_the_job_deletes_meanwhile_is_left_out(
    store: tuple[CheckpointDirectory, Claim], tmp_path: Path
) -> None:
    """Whoever looks takes no lock: what retention took away under his eyes is no damage."""
    directory, _ = store

    class Deleting(RealFiles):
        def read(self, path: str, /) -> bytes:
            if path.endswith("1/manifest.json"):
                assert "checkpoints/1" in directory.retire(keep=1, in_use=())
            return super().read(path)

    assert StoreView(Deleting(), str(tmp_path)).manifests() == [good(TWO)]


def test_an_empty_place_is_an_empty_store(tmp_path: Path) -> None:
    view = StoreView(RealFiles(), str(tmp_path / "nothing"))
    assert view.checkpoint_ids() == []
    assert view.manifests() == []
    with pytest.raises(StoreError, match=r"checkpoints/1/manifest\.json is missing: it was never published"):
        view.read(ONE)


def test_a_folder_without_a_manifest_is_a_crash_before_the_publish_and_no_error(
    tmp_path: Path, store: tuple[CheckpointDirectory, Claim]
) -> None:
    """Its id is still seen, so that it is not used again (T81)."""
    directory, claim = store
    (tmp_path / "checkpoints" / "3").mkdir()
    (tmp_path / "checkpoints" / "3" / "manifest.json.1.draft").write_bytes(b"half")
    assert directory.checkpoint_ids() == [1, 2, 3]
    assert directory.manifests() == [good(ONE), good(TWO)]
    assert decide(directory.manifests(), directory.claims()) == RestoreFrom(TWO)
    assert start(tmp_path)[1].first_checkpoint == 4
    assert claim.first_checkpoint == 1


def test_a_manifest_that_was_lost_after_it_was_complete_is_refused_and_can_be_mended(
    tmp_path: Path, store: tuple[CheckpointDirectory, Claim]
) -> None:
    """T90: the newest checkpoint is gone: nothing older is taken silently, and the message says how to get it back."""
    directory, _ = store
    folder = tmp_path / "checkpoints" / "2"
    (folder / "manifest.json").unlink()
    decision = decide(directory.manifests(), directory.claims())
    assert isinstance(decision, Refuse)
    assert f"`ln {folder}/completed {folder}/manifest.json` puts it back" in decision.reason
    (folder / "manifest.json").hardlink_to(folder / "completed")
    assert decide(directory.manifests(), directory.claims()) == RestoreFrom(TWO)


def test_each_flipped_byte_of_the_newest_manifest_is_refused(
    tmp_path: Path, store: tuple[CheckpointDirectory, Claim]
) -> None:
    """T90: never a wrong value, and never silently an older checkpoint."""
    directory, _ = store
    path = tmp_path / "checkpoints" / "2" / "manifest.json"
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(StoreError, match=str(path)):
            directory.read(TWO)
        decision = decide(directory.manifests(), directory.claims())
        assert isinstance(decision, Refuse)
        assert str(path) in decision.reason


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_truncated_manifest_is_refused(tmp_path: Path, store: tuple[CheckpointDirectory, Claim], length: int) -> None:
    path = tmp_path / "checkpoints" / "2" / "manifest.json"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(StoreError, match=r"damaged: its .* bytes do not end in a digest"):
        store[0].load(TWO)


def test_a_manifest_of_a_newer_version_is_refused(tmp_path: Path, store: tuple[CheckpointDirectory, Claim]) -> None:
    directory, _ = store
    newer = seal_document(replace(directory.read(TWO), format=3))
    (tmp_path / "checkpoints" / "2" / "manifest.json").write_bytes(newer)
    assert "install the newer version" in str(directory.manifests()[1].problem)


def test_a_manifest_in_the_wrong_place_or_of_another_job_is_refused(
    tmp_path: Path, store: tuple[CheckpointDirectory, Claim]
) -> None:
    directory, claim = store
    shutil.copytree(tmp_path / "checkpoints" / "2", tmp_path / "checkpoints" / "5")
    with pytest.raises(StoreError, match=r"5/manifest\.json holds checkpoint 2, expected 5"):
        directory.read(CheckpointId(5))
    foreign = seal(manifest_of(claim, 5, job="f" * 32))
    (tmp_path / "checkpoints" / "5" / "manifest.json").write_bytes(foreign)
    with pytest.raises(StoreError, match=f"is of job {'f' * 32}, but JOB says {JOB}"):
        directory.read(CheckpointId(5))


def test_a_missing_or_short_layer_makes_its_checkpoints_unusable(
    tmp_path: Path, store: tuple[CheckpointDirectory, Claim]
) -> None:
    """Seen before anything is opened: LMDB dies by SIGBUS on a short file."""
    directory, _ = store
    path = tmp_path / "layers" / "1-main-2.lmdb"
    path.write_bytes(bytes(199))
    assert directory.manifests()[0] == good(ONE)
    assert directory.manifests()[1].problem == f"{path} has 199 bytes, expected 200; put it back from a copy"
    path.unlink()
    assert f"{path} cannot be read: No such file or directory" in str(directory.manifests()[1].problem)
    assert directory.verify(directory.read(TWO)) == [directory.manifests()[1].problem]


def test_verify_reads_every_byte_of_every_layer(tmp_path: Path, store: tuple[CheckpointDirectory, Claim]) -> None:
    directory, _ = store
    for number in (1, 2):
        path = tmp_path / "layers" / f"1-main-{number}.lmdb"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    problems = directory.verify(directory.read(TWO))
    assert len(problems) == 2
    assert all("bytes with digest" in problem and "put it back from a copy" in problem for problem in problems)


def test_a_layer_lies_in_the_store_and_nowhere_else(tmp_path: Path) -> None:
    view = StoreView(RealFiles(), str(tmp_path))
    assert view.layer_path(LayerName("1-main-1.lmdb")) == str(tmp_path / "layers" / "1-main-1.lmdb")
    with pytest.raises(InvariantError, match="no layer name"):
        view.layer_path(LayerName("../../1-main-1.lmdb"))
