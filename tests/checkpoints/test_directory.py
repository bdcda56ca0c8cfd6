from __future__ import annotations

import errno
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.directory import CheckpointDirectory, PublishUnknownError
from actorstream.checkpoints.manifest import seal
from actorstream.errors import FencedError, InvariantError, StoreError, StoreInUseError
from actorstream.model.ids import AttemptNumber, CheckpointId, LayerName
from actorstream.protocol.attempts import Claim
from actorstream.protocol.recovery import RestoreFrom, decide
from actorstream.system.files import RealFiles
from tests.checkpoints.stepped_files import AtStep, Crash, SteppedFiles, Switch, crash, fail_at
from tests.checkpoints.stores import JOB, manifest_of, start, write_layer

if TYPE_CHECKING:
    from pathlib import Path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def publish(directory: CheckpointDirectory, claim: Claim, checkpoint: int, *layers: str) -> None:
    entries = [write_layer(directory, name) for name in layers]
    directory.publish(manifest_of(claim, checkpoint, entries))


def test_what_was_published_is_loaded_by_the_next_attempt(tmp_path: Path) -> None:
    directory, claim = start(tmp_path)
    publish(directory, claim, 1, "1-main-1.lmdb")
    again, second = start(tmp_path, token="f" * 32)
    assert decide(again.manifests(), again.claims()) == RestoreFrom(CheckpointId(1))
    manifest = again.load(CheckpointId(1))
    assert (manifest.job, manifest.attempt, manifest.checkpoint) == (JOB, 1, 1)
    assert second == Claim(AttemptNumber(2), CheckpointId(2))


def test_the_folder_looks_as_described(tmp_path: Path) -> None:
    directory, claim = start(tmp_path)
    directory.lock()
    publish(directory, claim, 1, "1-main-1.lmdb")
    assert names(tmp_path) == ["JOB", "LOCK", "attempts", "checkpoints", "layers"]
    assert names(tmp_path / "attempts") == ["1"]
    assert names(tmp_path / "checkpoints" / "1") == ["completed", "manifest.json"]
    assert (tmp_path / "checkpoints" / "1" / "manifest.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "checkpoints" / "1").stat().st_mode & 0o777 == 0o700


def test_only_one_lock_at_a_time(tmp_path: Path) -> None:
    directory, _ = start(tmp_path)
    directory.lock()
    with pytest.raises(StoreInUseError):
        start(tmp_path)[0].lock()
    directory.close()
    start(tmp_path)[0].lock()


def test_steps_of_a_publish_come_in_the_order_that_durability_needs(tmp_path: Path) -> None:
    steps: list[tuple[str, str]] = []

    def note(step: str, path: str) -> None:
        steps.append((step, path.removeprefix(f"{tmp_path}/checkpoints")))

    directory, claim = start(tmp_path, files=SteppedFiles(note))
    steps.clear()
    publish(directory, claim, 1)
    assert steps == [
        ("make_dirs", "/1"),
        ("sync_dir", str(tmp_path)),
        ("sync_dir", ""),
        ("create", "/1/manifest.json.1.draft"),
        ("write", "/1/manifest.json.1.draft"),
        ("sync", "/1/manifest.json.1.draft"),
        ("link", "/1/manifest.json"),
        ("unlink", "/1/manifest.json.1.draft"),
        ("sync_dir", "/1"),
        ("sync_dir", ""),
        ("link", "/1/completed"),
    ]


@pytest.mark.parametrize("step", ["create", "write", "sync"])
def test_a_full_disk_fails_this_checkpoint_only(tmp_path: Path, step: str) -> None:
    """Nothing was published, old checkpoints stay, nothing is left lying about; the next id works (fault 4)."""
    hook = fail_at(step, "checkpoints/2/manifest.json.1.draft", errno.ENOSPC)
    directory, claim = start(tmp_path, files=SteppedFiles(hook))
    publish(directory, claim, 1)
    with pytest.raises(StoreError, match=r"2/manifest\.json\.1\.draft: writing failed: .*free some space") as caught:
        publish(directory, claim, 2)
    assert not isinstance(caught.value, PublishUnknownError | FencedError)
    assert [fact.checkpoint for fact in directory.manifests()] == [1]
    assert names(tmp_path / "checkpoints" / "2") == []
    publish(directory, claim, 3)


@pytest.mark.parametrize(("step", "name"), [("link", "2/manifest.json"), ("sync_dir", "checkpoints/2")])
def test_an_error_at_or_after_the_link_is_reported_as_unknown_and_deletes_nothing(
    tmp_path: Path, step: str, name: str
) -> None:
    """T79: neither success nor failure: old files must stay, since the new manifest may be gone tomorrow."""
    directory, claim = start(tmp_path, files=SteppedFiles(fail_at(step, name, errno.EIO)))
    publish(directory, claim, 1, "1-main-1.lmdb")
    with pytest.raises(PublishUnknownError, match="checkpoint 2: "):
        publish(directory, claim, 2, "1-main-2.lmdb")
    assert directory.retire(keep=1, in_use=[]) == []
    after, second = start(tmp_path)
    visible = step == "sync_dir"
    assert [fact.checkpoint for fact in after.manifests()] == ([1, 2] if visible else [1])
    assert second.first_checkpoint == 3, "T81: the id is never used again"


def test_recovery_makes_durable_what_it_restores(tmp_path: Path) -> None:
    """The publisher died between link and sync: output committed from here on rests on that manifest."""
    directory, claim = start(tmp_path, files=SteppedFiles(fail_at("sync_dir", "checkpoints/1", errno.EIO)))
    with pytest.raises(PublishUnknownError):
        publish(directory, claim, 1)
    steps: list[str] = []
    after, _ = start(tmp_path, files=SteppedFiles(lambda step, path: steps.append(step)))
    steps.clear()
    after.load(CheckpointId(1))
    assert steps == ["sync_dir", "sync_dir", "link", "sync_dir", "sync_dir"]
    steps.clear()
    after.load(CheckpointId(1))
    assert steps == []


def test_a_store_removed_while_running_is_noticed_and_not_half_made_again(tmp_path: Path) -> None:
    """Fault 8: publishing into an unlinked folder would go on succeeding for ever."""
    directory, claim = start(tmp_path / "job")
    publish(directory, claim, 1)
    shutil.rmtree(tmp_path / "job")
    with pytest.raises(StoreError, match=r"/job/JOB: reading failed: .*it was removed or moved"):
        directory.publish(manifest_of(claim, 2))
    assert not (tmp_path / "job").exists()


def test_a_store_replaced_while_running_is_noticed(tmp_path: Path) -> None:
    directory, claim = start(tmp_path / "job")
    shutil.rmtree(tmp_path / "job")
    start(tmp_path / "job", token="f" * 32)
    with pytest.raises(StoreError, match="was replaced"):
        directory.publish(manifest_of(claim, 1))


def test_an_older_copy_put_in_place_while_running_is_noticed(tmp_path: Path) -> None:
    """The same job id, but neither our claim nor our layers are in it."""
    start(tmp_path / "job")[0].close()
    shutil.copytree(tmp_path / "job", tmp_path / "copy")
    directory, claim = start(tmp_path / "job")
    shutil.rmtree(tmp_path / "job")
    (tmp_path / "copy").rename(tmp_path / "job")
    with pytest.raises(StoreError, match=r"attempts/2: reading failed"):
        directory.publish(manifest_of(claim, claim.first_checkpoint))


def test_a_checkpoint_whose_layer_is_not_there_is_not_published(tmp_path: Path) -> None:
    directory, claim = start(tmp_path)
    entry = write_layer(directory, "1-main-1.lmdb", b"long enough")
    (tmp_path / "layers" / "1-main-1.lmdb").write_bytes(b"short")
    with pytest.raises(StoreError, match=r"checkpoint 1 is not published: .* has 5 bytes, expected 11"):
        directory.publish(manifest_of(claim, 1, [entry]))
    assert directory.manifests() == []


def test_a_higher_attempt_stops_a_publish_and_a_retire(tmp_path: Path) -> None:
    """Fault 18: the old one, stopped and continued, dies at its next publish and deletes nothing."""
    directory, claim = start(tmp_path)
    publish(directory, claim, 1)
    publish(directory, claim, 2)
    start(tmp_path)
    with pytest.raises(FencedError, match="attempt 2 has taken over from 1"):
        directory.publish(manifest_of(claim, 3))
    with pytest.raises(FencedError):
        directory.retire(keep=1, in_use=[])
    assert [fact.checkpoint for fact in directory.manifests()] == [1, 2]


def test_an_id_that_is_taken_fences(tmp_path: Path) -> None:
    """Two manifests under one id: the second writer has no right to it."""
    directory, claim = start(tmp_path)
    publish(directory, claim, 1)
    with pytest.raises(FencedError, match="checkpoint 1 was published by attempt 1"):
        directory.publish(manifest_of(claim, 1))


def test_an_id_that_a_void_manifest_took_costs_only_that_id(tmp_path: Path) -> None:
    """A lower attempt's manifest in our range is void: the attempt goes on under the next id."""
    _, old = start(tmp_path)
    directory, claim = start(tmp_path)
    (tmp_path / "checkpoints" / "2").mkdir()
    (tmp_path / "checkpoints" / "2" / "manifest.json").write_bytes(seal(manifest_of(old, 2)))
    with pytest.raises(StoreError, match="left, void, by attempt 1: use the next id") as caught:
        directory.publish(manifest_of(claim, 2))
    assert not isinstance(caught.value, FencedError)
    publish(directory, claim, 3)
    assert decide(directory.manifests(), directory.claims()) == RestoreFrom(CheckpointId(3))


def test_a_manifest_of_another_attempt_is_our_bug(tmp_path: Path) -> None:
    directory, claim = start(tmp_path)
    with pytest.raises(InvariantError, match=r"of job .*, attempt 9; this store is open for job"):
        directory.publish(manifest_of(Claim(AttemptNumber(9), claim.first_checkpoint), 1))
    with pytest.raises(InvariantError):
        directory.publish(manifest_of(claim, 1, job="f" * 32))


def test_old_checkpoints_go_with_the_layers_that_only_they_need(tmp_path: Path) -> None:
    directory, claim = start(tmp_path)
    publish(directory, claim, 1, "1-main-1.lmdb", "1-main-2.lmdb")
    publish(directory, claim, 2, "1-main-2.lmdb", "1-main-3.lmdb")
    publish(directory, claim, 3, "1-main-3.lmdb", "1-main-4.lmdb")
    write_layer(directory, "1-main-5.lmdb")
    assert directory.retire(keep=2, in_use=[]) == ["checkpoints/1", "layers/1-main-1.lmdb"]
    assert names(tmp_path / "checkpoints") == ["2", "3"]
    assert names(tmp_path / "layers") == [f"1-main-{n}.lmdb" for n in (2, 3, 4, 5)]
    assert all(directory.verify(directory.read(CheckpointId(id_))) == [] for id_ in (2, 3))


def test_a_layer_in_use_or_pending_stays_until_it_is_let_go(tmp_path: Path) -> None:
    """T76: a subtask may still build on it, or read from it, though no manifest lists it any more."""
    directory, claim = start(tmp_path)
    publish(directory, claim, 1, "1-main-1.lmdb", "1-main-2.lmdb")
    publish(directory, claim, 2)
    one, two = LayerName("1-main-1.lmdb"), LayerName("1-main-2.lmdb")
    assert directory.retire(keep=1, in_use=[one], pending=[two]) == ["checkpoints/1"]
    assert directory.retire(keep=1, in_use=[one]) == [f"layers/{two}"]
    assert directory.retire(keep=1, in_use=[]) == [f"layers/{one}"]
    assert directory.retire(keep=1, in_use=[]) == []


def test_orphans_of_an_attempt_that_died_go_after_the_first_publish(tmp_path: Path) -> None:
    """Layers that were written for a checkpoint that never came; not before something newer is durable."""
    directory, claim = start(tmp_path)
    publish(directory, claim, 1, "1-main-1.lmdb")
    write_layer(directory, "1-main-2.lmdb")
    after, second = start(tmp_path)
    assert after.retire(keep=1, in_use=[]) == []
    kept = after.load(CheckpointId(1)).layers
    after.publish(manifest_of(second, 2, kept))
    write_layer(after, "3-main-1.lmdb")
    assert after.retire(keep=1, in_use=[]) == ["checkpoints/1", "layers/1-main-2.lmdb"]
    assert names(tmp_path / "layers") == ["1-main-1.lmdb", "3-main-1.lmdb"]


def test_a_damaged_manifest_that_must_stay_stops_deletion(tmp_path: Path) -> None:
    """T79: its layers are unknown. Once enough newer ones are good it goes too."""
    directory, claim = start(tmp_path)
    for checkpoint in (1, 2, 3):
        publish(directory, claim, checkpoint, f"1-main-{checkpoint}.lmdb")
    (tmp_path / "checkpoints" / "2" / "manifest.json").write_bytes(b"?")
    after, second = start(tmp_path)
    after.load(CheckpointId(3))
    assert after.retire(keep=2, in_use=[]) == []
    publish(after, second, 4)
    assert after.retire(keep=2, in_use=[])[:2] == ["checkpoints/2", "checkpoints/1"]


def test_a_failed_deletion_is_an_error_and_done_next_time(tmp_path: Path) -> None:
    hook = fail_at("unlink", "layers/1-main-1.lmdb", errno.EIO)
    directory, claim = start(tmp_path, files=SteppedFiles(hook))
    publish(directory, claim, 1, "1-main-1.lmdb")
    publish(directory, claim, 2)
    with pytest.raises(StoreError, match="deleting old checkpoints failed"):
        directory.retire(keep=1, in_use=[])
    calm, _ = start(tmp_path)
    assert [fact.checkpoint for fact in calm.manifests()] == [2], "manifests go before what they list"


def test_a_crash_at_any_step_of_a_deletion_leaves_only_good_checkpoints(tmp_path: Path) -> None:
    """No manifest without its layers, none that looks lost; the next attempt finishes the work (fault 29)."""
    number, fired = 0, True
    while fired:
        root = tmp_path / str(number)
        switch = Switch()
        directory, claim = start(root, files=SteppedFiles(switch))
        for checkpoint in (1, 2, 3):
            publish(directory, claim, checkpoint, f"1-main-{checkpoint}.lmdb")
        switch.then = hook = AtStep(number, crash)
        with suppress(Crash):
            directory.retire(keep=1, in_use=[])
        after, second = start(root)
        assert [fact.problem for fact in after.manifests() if fact.problem] == []
        after.load(CheckpointId(3))
        publish(after, second, 4)
        after.retire(keep=1, in_use=[])
        assert (names(root / "checkpoints"), names(root / "layers")) == (["4"], [])
        fired = hook.fired
        number += 1
    assert number > 8


def test_a_failed_deletion_is_remembered_by_the_same_attempt(tmp_path: Path) -> None:
    """Also after the manifest that listed the layer is gone."""
    broken = [True]

    def hook(step: str, path: str) -> None:
        if broken[0] and step == "unlink" and path.endswith("1-main-1.lmdb"):
            raise OSError(errno.EIO, "no")

    directory, claim = start(tmp_path, files=SteppedFiles(hook))
    publish(directory, claim, 1, "1-main-1.lmdb")
    publish(directory, claim, 2)
    with pytest.raises(StoreError):
        directory.retire(keep=1, in_use=[])
    broken[0] = False
    assert directory.retire(keep=1, in_use=[]) == ["layers/1-main-1.lmdb"]


def test_the_store_does_not_grow_with_history(tmp_path: Path) -> None:
    """Restart time must not: no folders of old ids, no claims of old attempts, no drafts stay."""
    for _ in range(5):
        directory, claim = start(tmp_path)
        for checkpoint in range(claim.first_checkpoint, claim.first_checkpoint + 10, 2):
            (tmp_path / "checkpoints" / str(checkpoint + 1)).mkdir()
            publish(directory, claim, checkpoint, f"{claim.attempt}-main-{checkpoint}.lmdb")
            directory.retire(keep=2, in_use=[])
    assert len(names(tmp_path / "checkpoints")) <= 4
    assert names(tmp_path / "attempts") == ["5"]
    assert len(names(tmp_path / "layers")) == 2


def test_a_store_that_cannot_be_made_is_an_error_at_the_start(tmp_path: Path) -> None:
    """Fault 7: before any input is read."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"/file/job: making the store failed"):
        CheckpointDirectory(RealFiles(), str(tmp_path / "file" / "job")).open(JOB)
    directory = CheckpointDirectory(SteppedFiles(fail_at("make_dirs", "job", errno.EROFS)), str(tmp_path / "job"))
    with pytest.raises(StoreError, match="mount the disk for writing"):
        directory.open(JOB)
