"""Archives that were damaged, or made by somebody who means harm: an equal savepoint, or a StoreError and none."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tempfile
import tracemalloc
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorstream.checkpoints import sealed
from actorstream.checkpoints.archive import member_path
from actorstream.checkpoints.archive_member import BLOCK_BYTES, END, head, padding
from actorstream.checkpoints.archive_stream import _zstd
from actorstream.checkpoints.manifest import LayerEntry, unseal
from actorstream.checkpoints.savepoints import IMPORTING, MANIFEST
from actorstream.errors import StoreError
from actorstream.model.ids import LayerName
from tests.checkpoints.savepoints import MIB, compressed, contents, names, tar_of, unpack
from tests.state.rig import QuickFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
FILES = QuickFiles()


class Member(NamedTuple):
    """A file in a tar: its head, and its content with what fills the last block."""

    head: bytes
    content: bytes

    @property
    def size(self) -> int:
        return len(self.head) + len(self.content)


class Parts:
    """A real archive, taken apart."""

    def __init__(self, archive: Path, files: dict[str, bytes]) -> None:
        self.archive = archive
        self.files = files
        self.manifest = unseal(MANIFEST, files[MANIFEST])
        self.first = member(MANIFEST, files[MANIFEST])
        paths = [member_path(entry) for entry in self.manifest.layers]
        self.layers = [member(path, files[path]) for path in paths]

    def tar(self, *members: Member, end: bytes = END) -> bytes:
        return b"".join((*self.first, *(part for member in members for part in member), end))


def member(path: str, content: bytes) -> Member:
    return Member(head(path, len(content)), content + bytes(padding(len(content))))


@pytest.fixture(scope="session")
def parts(archive: Path, savepoint: Path) -> Parts:
    made = Parts(archive, contents(savepoint))
    assert made.tar(*made.layers) == tar_of(archive)
    return made


@contextmanager
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def refused(data: bytes, words: str | None = None) -> None:
    """Import `data`, which must fail, and leave nothing that looks finished, nor anything outside of the folder."""
    with place() as folder:
        (folder / "a").write_bytes(data)
        with pytest.raises(StoreError, match=words):
            unpack(folder / "a", folder / "kept", files=FILES)
        assert set(names(folder)) <= {"a", "kept"}
        assert set(contents(folder / "kept")) <= {IMPORTING}


def taken_or_refused(data: bytes, parts: Parts) -> bool:
    """Import `data`: the savepoint is equal, or there is none, and the next import makes it."""
    with place() as folder:
        (folder / "a").write_bytes(data)
        try:
            unpack(folder / "a", folder / "kept", files=FILES)
            taken = True
        except StoreError:
            taken = False
            assert set(contents(folder / "kept")) <= {IMPORTING}
            unpack(parts.archive, folder / "kept", files=FILES)
        assert contents(folder / "kept") == parts.files
        return taken


# -- members that do not belong there ----------------------------------------------------------------------------------


def odd(
    name: str, kind: bytes = tarfile.REGTYPE, *, format_: Literal[0, 1, 2] = tarfile.USTAR_FORMAT, **fields: object
) -> Member:
    """Give a member that `head` would never make, made by tarfile."""
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in {"mode": 0o600, "mtime": 315_532_800, **fields}.items():
        setattr(info, field, value)
    return Member(info.tobuf(format_), b"")


ODD = {
    "absolute": (odd("/etc/cron.d/x"), "'/etc/cron.d/x' leads out of the folder"),
    "above": (odd("../x"), r"'\.\./x' leads out"),
    "above, deeper": (odd("layers/../../x"), r"'layers/\.\./\.\./x' leads out"),
    "not listed": (odd("layers/9-0-9.lmdb"), "'layers/9-0-9.lmdb' is not among its files"),
    "another folder": (odd("1-0-1.lmdb"), "'1-0-1.lmdb' is not among its files"),
    "a second manifest": (odd(MANIFEST), "'manifest.json' is not among its files"),
    "symbolic link": (odd("layers/1-0-1.lmdb", tarfile.SYMTYPE, linkname="/etc/passwd"), "is a symbolic link: only"),
    "hard link": (odd("layers/1-0-1.lmdb", tarfile.LNKTYPE, linkname="manifest.json"), "is a hard link: only"),
    "device": (odd("layers/1-0-1.lmdb", tarfile.CHRTYPE, devmajor=1, devminor=5), "is a character device: only"),
    "disk": (odd("layers/1-0-1.lmdb", tarfile.BLKTYPE, devmajor=8), "is a block device: only"),
    "pipe": (odd("layers/1-0-1.lmdb", tarfile.FIFOTYPE), "is a pipe: only"),
    "folder": (odd("layers", tarfile.DIRTYPE), "'layers/' is a folder: only"),
    "sparse": (odd("layers/1-0-1.lmdb", tarfile.GNUTYPE_SPARSE), "is a sparse file: only"),
    "contiguous": (odd("layers/1-0-1.lmdb", tarfile.CONTTYPE), "is of the type b'7': only"),
    "pax": (
        odd("layers/1-0-1.lmdb", format_=tarfile.PAX_FORMAT, pax_headers={"size": "9", "path": "../x"}),
        "is an extended head .pax.: only",
    ),
    "pax for all": (odd("pax", tarfile.XGLTYPE), "is an extended head .pax.: only"),
    "long name": (odd("layers/" + "x" * 200, format_=tarfile.GNU_FORMAT), "is an extended head .GNU.: only"),
    "control characters": (odd("\x1b[2J\u202e"), r"'\\x1b\[2J\\u202e' is not among"),
    "runnable": (odd("layers/1-0-1.lmdb", mode=0o4755, size=20_480), "has another size, mode, owner"),
    "somebody's": (odd("layers/1-0-1.lmdb", uid=1000, uname="x", size=20_480), "has another size, mode, owner"),
    "size": (odd("layers/1-0-1.lmdb", size=20_479), "has another size, mode, owner"),
    "no head": (Member(b"\x07" * BLOCK_BYTES, b""), "the head of a file is damaged, or none"),
    "bad sum": (Member(head("layers/1-0-1.lmdb", 20_480)[:-1] + b"\x01", b""), "is damaged, or none"),
}


@pytest.mark.parametrize("which", ODD)
@pytest.mark.parametrize("where", ["first", "behind a layer", "last"])
def test_odd_member_is_refused_wherever_it_stands(parts: Parts, which: str, where: str) -> None:
    """CVE-2007-4559 and its family: no name, link, device or extended head has any effect."""
    one, words = ODD[which]
    layers = list(parts.layers)
    layers.insert({"first": 0, "behind a layer": 1, "last": len(layers)}[where], one)
    refused(compressed(parts.tar(*layers)), words if where != "last" else "more follows the")


@pytest.mark.parametrize("which", ODD)
def test_odd_member_in_place_of_the_manifest_is_refused(parts: Parts, which: str) -> None:
    tar = b"".join((*ODD[which][0], *(part for layer in (parts.first, *parts.layers) for part in layer), END))
    refused(compressed(tar), "is no archive of a savepoint: it should begin with manifest.json, but")


def test_member_that_comes_twice_is_refused(parts: Parts) -> None:
    """The second one would replace what was verified."""
    refused(compressed(parts.tar(parts.layers[0], *parts.layers)), "or is there twice")
    refused(compressed(parts.tar(*parts.layers, parts.layers[0])), "more follows")
    refused(compressed(parts.tar(parts.first, *parts.layers)), "'manifest.json' is not among")


def test_layer_that_is_missing_is_said(parts: Parts) -> None:
    refused(compressed(parts.tar(*parts.layers[1:])), "it ends, and 1 of its layers are missing")
    refused(compressed(parts.tar()), f"it ends, and {len(parts.layers)} of its layers are missing")


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_any_order_of_layers_is_one_savepoint(parts: Parts, data: st.DataObject) -> None:
    order = data.draw(st.permutations(parts.layers))
    assert taken_or_refused(compressed(parts.tar(*order)), parts)


@given(
    which=st.integers(0, 99),
    at=st.integers(0, 147) | st.integers(156, BLOCK_BYTES - 1),
    change=st.integers(1, 255),
)
@settings(max_examples=200, deadline=None)
def test_head_with_any_other_byte_is_refused(parts: Parts, which: int, at: int, change: int) -> None:
    """Its sum made right again: the reader knows the whole block, not some fields of it."""
    members = [parts.first, *parts.layers]
    one = members[which % len(members)]
    block = bytearray(one.head)
    block[at] ^= change
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    members[which % len(members)] = Member(bytes(block), one.content)
    refused(compressed(b"".join(part for member_ in members for part in member_) + END))


def test_name_in_the_manifest_that_leads_out_is_refused(parts: Parts) -> None:
    """A seal is no signature: whoever makes an archive can make a right one."""
    for name in ("../../x", "/etc/x", "1-0-1.lmdb/../x", "1-0-1.lmdb\0", ".", ""):
        entry = LayerEntry(LayerName(name), 1, "0" * 32, 1)
        data = sealed.seal(replace(parts.manifest, layers=[entry], operators={}))
        refused(compressed(b"".join(member(MANIFEST, data)) + END), "is no layer name")


# -- what is behind the heads ------------------------------------------------------------------------------------------


def test_wrong_content_is_refused(parts: Parts) -> None:
    """T134 has its like here: the bytes decide, not the name they came under."""
    one, *others = parts.layers
    content = bytearray(one.content)
    content[10_000] ^= 1
    refused(compressed(parts.tar(one._replace(content=bytes(content)), *others)), "has digest")
    heads = [layer.head for layer in parts.layers]
    swapped = [Member(heads[at - 1], layer.content) for at, layer in enumerate(parts.layers)]
    refused(compressed(parts.tar(*swapped)), "has digest")


def test_bytes_that_no_file_has_room_for_are_refused(parts: Parts) -> None:
    whole = parts.tar(*parts.layers)
    filled = parts.first._replace(content=parts.first.content[:-1] + b"x")
    refused(compressed(whole.replace(parts.first.content, filled.content)), "there are bytes between two of its files")
    refused(compressed(whole + b"\0"), "goes on behind its end")
    refused(compressed(whole + bytes(20 * BLOCK_BYTES)), "goes on behind its end")
    refused(compressed(whole) + b"x", "goes on behind its end")
    refused(compressed(whole) + bytes(2 * MIB), "goes on behind its end")
    refused(compressed(whole) + compressed(b""), "goes on behind its end")
    refused(compressed(whole) + skippable(), "goes on behind its end")
    refused(compressed(whole[:5000]) + compressed(whole[5000:]), "ends too early")
    refused(skippable() + compressed(whole), "is no archive of a savepoint")
    refused(compressed(parts.tar(*parts.layers, end=END[:-1] + b"x")), "more follows")


def skippable() -> bytes:
    """Give a frame that zstd passes over."""
    return b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"ours"


def test_archive_cut_at_every_block_is_refused(parts: Parts) -> None:
    tar = parts.tar(*parts.layers)
    for size in range(0, len(tar), BLOCK_BYTES):
        refused(compressed(tar[:size]), "ends too early")


def test_archive_cut_at_every_byte_is_refused(parts: Parts) -> None:
    """Also the last ones, when all layers have been read: the end is part of it."""
    data = parts.archive.read_bytes()
    refused(b"", "is empty and is no archive")
    for size in range(1, len(data)):
        refused(data[:size], "ends too early" if size >= 4 else "is no archive")


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_bit_may_flip(parts: Parts, data: st.DataObject) -> None:
    whole = bytearray(parts.archive.read_bytes())
    for bit in data.draw(st.sets(st.integers(0, 8 * len(whole) - 1), min_size=1, max_size=3)):
        whole[bit // 8] ^= 1 << bit % 8
    taken_or_refused(bytes(whole), parts)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_piece_may_be_lost_doubled_or_moved(parts: Parts, data: st.DataObject) -> None:
    """In the tar, with a right frame around it: zstd's checksum is no part of what protects us."""
    tar = parts.tar(*parts.layers)
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(tar) // BLOCK_BYTES)] * 2)))
    to = data.draw(st.integers(0, len(tar) // BLOCK_BYTES)) * BLOCK_BYTES
    piece = tar[start * BLOCK_BYTES : end * BLOCK_BYTES]
    without = tar[: start * BLOCK_BYTES] + tar[end * BLOCK_BYTES :]
    base = data.draw(st.sampled_from([tar, without]))
    other = base[:to] + piece + base[to:] if data.draw(st.booleans()) else without
    assert taken_or_refused(compressed(other), parts) is (other == tar)


# -- bombs -------------------------------------------------------------------------------------------------------------


def bomb(*starts: bytes, zeros: int) -> bytes:
    """Compress `starts` and then so many zeros, without having them at once."""
    packer = _zstd().ZstdCompressor()
    pieces = [packer.compress(start) for start in starts]
    pieces += [packer.compress(bytes(MIB)) for _ in range(zeros // MIB)]
    return b"".join([*pieces, packer.flush()])


def test_bomb_stops_at_the_cap_in_bounded_memory(parts: Parts) -> None:
    """512 MiB of zeros in 17 kB, at every place where something is read."""
    size, whole = 512 * MIB, parts.tar(*parts.layers)
    bombs = {
        "as the whole": (bomb(zeros=size), "should begin with manifest.json"),
        "as the manifest": (bomb(head(MANIFEST, size), zeros=size), f"has {size} bytes, over the limit of"),
        "as a manifest of the largest size": (bomb(head(MANIFEST, 16 * MIB), zeros=size), "do not end in a digest"),
        "as a layer": (bomb(*parts.first, parts.layers[0].head, zeros=size), "has digest"),
        "as a layer's size": (bomb(*parts.first, head("layers/1-0-1.lmdb", size), zeros=size), "another size"),
        "behind the end": (bomb(whole, zeros=size), "goes on behind its end"),
    }
    for place_, (data, words) in bombs.items():
        assert len(data) < MIB, place_
        tracemalloc.start()
        try:
            refused(data, words)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < (40 if "largest" in place_ else 6) * MIB, place_


def test_window_larger_than_every_reader_takes_is_refused(parts: Parts) -> None:
    """A frame may ask for gigabytes of memory before its first byte."""
    parameter = _zstd().CompressionParameter
    packer = _zstd().ZstdCompressor(options={parameter.window_log: 27})
    data = packer.compress(parts.tar(*parts.layers)) + packer.flush()
    refused(data, "is damaged: .* too much memory")


@pytest.mark.parametrize("size", [-1, -(1 << 62), (1 << 63) - 1])
def test_size_that_no_file_has_is_refused(parts: Parts, size: int) -> None:
    entries = [replace(entry, size=size) for entry in parts.manifest.layers]
    data = sealed.seal(replace(parts.manifest, layers=entries))
    words = "a layer of less than 0 bytes" if size < 0 else "the disk is too full for this savepoint"
    refused(compressed(b"".join(member(MANIFEST, data)) + END), words)


def test_nested_manifest_is_refused(parts: Parts) -> None:
    """10,000 levels: an error of the document, not of the stack."""
    data = sealed.seal(parts.manifest)
    shape = b"[" * 10_000 + b"]" * 10_000
    body = data[: data.rindex(b'"digest"')] + b'"more": ' + shape + b',\n "digest": ""\n}\n'
    refused(compressed(b"".join(member(MANIFEST, sealed._closed(body))) + END), "right digest but a wrong shape")


# -- what is no archive ------------------------------------------------------------------------------------------------


def test_newer_archive_says_that_it_is_newer(parts: Parts) -> None:
    data = sealed.seal(replace(parts.manifest, format=99))
    refused(compressed(b"".join(member(MANIFEST, data)) + END), "has format 99, written by a newer actorstream")


def test_damaged_manifest_is_named(parts: Parts) -> None:
    data = parts.files[MANIFEST].replace(b'"orders"', b'"order2"', 1)
    refused(compressed(b"".join(member(MANIFEST, data)) + END), r"/a: manifest\.json is damaged: it says its digest")


def test_other_files_are_no_archives(parts: Parts) -> None:
    tar = parts.tar(*parts.layers)
    refused(tar, r"starts with b'manifest' and is no archive of a savepoint")
    refused(gzip.compress(tar), r"starts with b'\\x1f\\x8b.* is no archive of a savepoint")
    refused(parts.files[MANIFEST], "is no archive of a savepoint")
    refused(parts.layers[0].content, "is no archive of a savepoint")
    refused(compressed(b"hello"), "ends too early")
    refused(compressed(b"hello" * 200), "is no archive of a savepoint: it should begin with manifest.json")
    refused(b"\x28\xb5\x2f\xfd and no more", "is damaged")


def test_tar_of_other_files_is_named_by_its_first(parts: Parts) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("notes/today.txt"))
    refused(compressed(packed.getvalue()), "'notes/today.txt' is not among its files")


def test_savepoint_packed_by_another_program_is_refused_in_words(parts: Parts, tmp_path: Path) -> None:
    """Its owner and times are not ours: unpacked by hand it is a savepoint all the same."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, data in parts.files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    refused(compressed(packed.getvalue()), "is no archive of a savepoint")


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"none\.zst: reading failed: No such file"):
        unpack(tmp_path / "none.zst", tmp_path / "kept")
    with pytest.raises(StoreError, match="reading failed: Is a directory"):
        unpack(tmp_path, tmp_path / "kept")
    assert names(tmp_path) == []
