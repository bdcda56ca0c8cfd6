from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tracemalloc
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from xxhash import xxh3_128_hexdigest

from actorstream.checkpoints.archive import export_savepoint
from actorstream.checkpoints.archive_member import head
from actorstream.checkpoints.savepoints import LAYERS, MANIFEST
from actorstream.checkpoints.unpacking import import_savepoint
from actorstream.errors import StoreError, StoreInUseError
from actorstream.model.ids import AttemptNumber, CheckpointId
from actorstream.protocol.attempts import Claim
from actorstream.system.files import RealFiles
from tests.checkpoints.savepoints import (
    FILES,
    MIB,
    TOKEN,
    contents,
    copied,
    flip,
    large,
    names,
    pack,
    tar_of,
    unpack,
    write_manifest,
)
from tests.checkpoints.stores import manifest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


# -- there and back ----------------------------------------------------------------------------------------------------


def test_what_was_exported_comes_back_byte_for_byte(savepoint: Path, tmp_path: Path) -> None:
    exported = pack(savepoint, tmp_path / "a.tar.zst")
    manifest = unpack(tmp_path / "a.tar.zst", tmp_path / "new" / "kept")

    assert contents(tmp_path / "new" / "kept") == contents(savepoint)
    assert manifest == exported.manifest
    assert len(manifest.layers) > 2
    assert names(tmp_path) == ["a.tar.zst", "new"]
    assert exported.content_bytes == sum(len(data) for data in contents(savepoint).values())
    assert exported.archive_bytes == (tmp_path / "a.tar.zst").stat().st_size < exported.content_bytes


def test_all_is_private_whatever_the_umask_leaves_open(savepoint: Path, tmp_path: Path) -> None:
    """State is users' data (RELIABILITY 4)."""
    before = os.umask(0)
    try:
        pack(savepoint, tmp_path / "a.tar.zst")
        unpack(tmp_path / "a.tar.zst", tmp_path / "kept")
    finally:
        os.umask(before)
    made = [tmp_path / "a.tar.zst", tmp_path / "kept", *(tmp_path / "kept").rglob("*")]
    assert {(path.is_dir(), path.stat().st_mode & 0o777) for path in made} == {(True, 0o700), (False, 0o600)}


def test_same_savepoint_gives_the_same_bytes_wherever_it_lies(savepoint: Path, tmp_path: Path) -> None:
    pack(savepoint, tmp_path / "one.tar.zst")
    other = copied(savepoint, tmp_path / "another place" / "name")
    for path in other.rglob("*.lmdb"):
        os.utime(path, (1, 1))
        path.chmod(0o640)
    export_savepoint(FILES, str(other), str(tmp_path / "two.tar.zst"), token="another")
    assert (tmp_path / "one.tar.zst").read_bytes() == (tmp_path / "two.tar.zst").read_bytes()


def test_progress_is_told_up_to_the_whole(savepoint: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    exported = pack(savepoint, tmp_path / "a.tar.zst", tell=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (exported.content_bytes, exported.content_bytes)
    again: list[tuple[int, int]] = []
    import_savepoint(
        FILES, str(tmp_path / "a.tar.zst"), str(tmp_path / "b"), tell=lambda *numbers: again.append(numbers)
    )
    assert again[-1] == told[-1]
    assert len(again) >= 1 + len(exported.manifest.layers)


def test_savepoint_without_state_is_one_of_a_manifest_only(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    write_manifest(tmp_path / "kept", manifest_of(Claim(AttemptNumber(1), CheckpointId(1)), 1))
    pack(tmp_path / "kept", tmp_path / "a.tar.zst")
    assert unpack(tmp_path / "a.tar.zst", tmp_path / "new").layers == []
    assert contents(tmp_path / "new") == contents(tmp_path / "kept")


def test_memory_is_bounded_whatever_the_size(tmp_path: Path) -> None:
    savepoint = large(tmp_path / "kept", 48 * MIB)
    tracemalloc.start()
    try:
        pack(savepoint, tmp_path / "a.tar.zst")
        unpack(tmp_path / "a.tar.zst", tmp_path / "new")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB


# -- others read it ----------------------------------------------------------------------------------------------------


def test_tarfile_reads_it(savepoint: Path, tmp_path: Path) -> None:
    manifest = pack(savepoint, tmp_path / "a.tar.zst").manifest
    with tarfile.open(fileobj=BytesIO(tar_of(tmp_path / "a.tar.zst")), mode="r:") as tar:
        members = tar.getmembers()
        read = {member.name: (file.read() if (file := tar.extractfile(member)) else None) for member in members}
    assert [member.name for member in members] == [MANIFEST, *(f"{LAYERS}/{entry.name}" for entry in manifest.layers)]
    assert read == contents(savepoint)
    assert {(member.mode, member.uid, member.gid, member.mtime) for member in members} == {(0o600, 0, 0, 315_532_800)}


@pytest.mark.skipif(not (shutil.which("tar") and shutil.which("zstd")), reason="needs the commands tar and zstd")
def test_tar_and_zstd_unpack_it_into_a_savepoint_without_a_word(savepoint: Path, tmp_path: Path) -> None:
    pack(savepoint, tmp_path / "a.tar.zst")
    (tmp_path / "by hand").mkdir()
    for command in (["zstd", "--test", "--quiet", "a.tar.zst"], ["tar", "--zstd", "-xf", "a.tar.zst", "-C", "by hand"]):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout + done.stderr == ""
    assert contents(tmp_path / "by hand") == contents(savepoint)
    pack(tmp_path / "by hand", tmp_path / "again.tar.zst")
    assert (tmp_path / "again.tar.zst").read_bytes() == (tmp_path / "a.tar.zst").read_bytes()


@pytest.mark.parametrize("size", [0, 511, 8**11 - 1, 8**11, 1 << 45])
def test_head_says_any_size_to_others(size: int) -> None:
    """Octal digits end at 8 GiB."""
    member = tarfile.TarInfo.frombuf(head("layers/1-0-1.lmdb", size), "utf-8", "strict")
    assert (member.name, member.size, member.type) == ("layers/1-0-1.lmdb", size, tarfile.REGTYPE)


def test_name_that_no_head_has_room_for_is_refused() -> None:
    name = f"{'1' * 18}-{'h' * 64}-{'1' * 18}.lmdb"
    with pytest.raises(StoreError, match="a name there has 100 bytes at most"):
        head(f"layers/{name}", 1)


# -- export refuses ----------------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: flip(path, 5000), r"has digest \w+, expected \w+"),
        (cut, "has 20479 bytes, expected 20480"),
        (grow, "has 20481 bytes, expected 20480"),
        (os.unlink, "cannot be read: No such file"),
    ],
    ids=["flipped", "cut off", "grown", "missing"],
)
def test_damaged_layer_is_never_exported(
    savepoint: Path, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    changed = copied(savepoint, tmp_path / "kept")
    damage(sorted((changed / LAYERS).iterdir())[-1])
    with pytest.raises(StoreError, match=f"{words}.*put it back from a copy; nothing was exported"):
        pack(changed, tmp_path / "a.tar.zst")
    assert names(tmp_path) == ["kept"]


@pytest.mark.parametrize("more", [b"x", b""])
def test_layer_that_changes_its_length_while_it_is_read_is_not_exported(
    savepoint: Path, tmp_path: Path, more: bytes
) -> None:
    """The size was right when it was looked at."""

    class Changing(RealFiles):
        def chunks(self, path: str, /) -> Iterator[bytes]:
            *chunks, last = super().chunks(path)
            yield from [*chunks, last + more if more else last[:-1]]

    with pytest.raises(StoreError, match="more bytes than the 20480" if more else "1 fewer bytes than the 20480"):
        pack(savepoint, tmp_path / "a.tar.zst", files=Changing())
    assert names(tmp_path) == []


def test_folder_without_a_manifest_is_no_savepoint(savepoint: Path, tmp_path: Path) -> None:
    changed = copied(savepoint, tmp_path / "kept")
    (changed / MANIFEST).unlink()
    with pytest.raises(StoreError, match=r"is no finished savepoint: manifest.json is missing"):
        pack(changed, tmp_path / "a.tar.zst")


def test_damaged_manifest_is_not_exported(savepoint: Path, tmp_path: Path) -> None:
    changed = copied(savepoint, tmp_path / "kept")
    flip(changed / MANIFEST, 100)
    with pytest.raises(StoreError, match=r"manifest.json is damaged"):
        pack(changed, tmp_path / "a.tar.zst")
    assert names(tmp_path) == ["kept"]


def test_target_that_is_there_is_left_as_it_is(savepoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.tar.zst"
    target.write_bytes(b"theirs")
    with pytest.raises(StoreError, match="an export replaces nothing: give another name"):
        pack(savepoint, target)
    assert target.read_bytes() == b"theirs"


def test_target_that_appears_meanwhile_is_left_as_it_is(savepoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.tar.zst"

    def appear(done: int, total: int) -> None:
        if done == total:
            target.write_bytes(b"theirs")

    with pytest.raises(StoreError, match="an export replaces nothing"):
        pack(savepoint, target, tell=appear)
    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == ["a.tar.zst"]


def test_target_in_a_missing_folder_is_refused_with_the_remedy(savepoint: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="where the archive should go, is missing: make that folder"):
        pack(savepoint, tmp_path / "none" / "a.tar.zst")
    assert names(tmp_path) == []


def test_second_export_to_a_target_is_refused_and_harms_not_the_first(savepoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.tar.zst"
    refused: list[str] = []

    def meanwhile(done: int, total: int) -> None:
        with pytest.raises(StoreInUseError, match=r"another export to .* is under way") as caught:
            export_savepoint(FILES, str(savepoint), str(target), token="another")
        refused.append(str(caught.value))

    pack(savepoint, target, tell=meanwhile)
    assert len(refused) > 2
    assert names(tmp_path) == ["a.tar.zst"]
    unpack(target, tmp_path / "new")


def test_what_a_killed_export_left_is_swept_and_nothing_else(savepoint: Path, tmp_path: Path) -> None:
    others = ["a.tar.zst.draft", "a.tar.zst.x.y.draft", "b.tar.zst.0a.draft", "xa.tar.zst.0a.draft"]
    for name in [*others, "a.tar.zst.0a.draft", f"a.tar.zst.{TOKEN}.draft", "a.tar.zst.lock"]:
        (tmp_path / name).write_bytes(b"")
    pack(savepoint, tmp_path / "a.tar.zst")
    assert names(tmp_path) == sorted([*others, "a.tar.zst"])


def test_export_that_is_stopped_leaves_nothing(savepoint: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(savepoint, tmp_path / "a.tar.zst", tell=stop)
    assert names(tmp_path) == []


# -- the extra ---------------------------------------------------------------------------------------------------------


def test_missing_zstd_is_said_with_the_extra_that_brings_it(
    savepoint: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("backports.zstd", "compression.zstd"):
        monkeypatch.setitem(sys.modules, module, None)
    for call in (lambda: pack(savepoint, tmp_path / "a.tar.zst"), lambda: unpack(archive, tmp_path / "kept")):
        with pytest.raises(StoreError, match=r"need zstd: pip install 'actorstream\[archive\]'"):
            call()
    assert names(tmp_path) == []


def test_zstd_is_imported_when_it_is_needed_only() -> None:
    probe = (
        "import sys, actorstream, actorstream.checkpoints.unpacking; "
        "sys.exit(any('zstd' in name for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", probe], check=True)


def test_manifest_of_another_format_is_refused_as_everywhere(savepoint: Path, tmp_path: Path) -> None:
    """An archive of a newer version says so before anything is made."""
    changed = copied(savepoint, tmp_path / "kept")
    path = changed / MANIFEST
    body = path.read_bytes().replace(b'"format": 1,', b'"format": 99,', 1)
    place = body.rindex(b'"digest": "') + len(b'"digest": "')
    unsealed = body[:place] + body[place + 32 :]
    path.write_bytes(body[:place] + xxh3_128_hexdigest(unsealed).encode() + body[place + 32 :])
    with pytest.raises(StoreError, match="has format 99, written by a newer actorstream"):
        pack(changed, tmp_path / "a.tar.zst")
