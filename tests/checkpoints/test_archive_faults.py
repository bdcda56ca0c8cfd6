"""A failure, a crash, a loss of power, SIGKILL at every call of export and import: the old or the new, never half."""

from __future__ import annotations

import errno
import random
import shutil
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actorstream.checkpoints.archive import export_savepoint
from actorstream.checkpoints.put import PutUnknownError
from actorstream.checkpoints.savepoints import IMPORTING, MANIFEST
from actorstream.checkpoints.unpacking import import_savepoint
from actorstream.errors import StoreError
from actorstream.system.files import RealFiles
from actorstream.testing.disk import SimulatedDisk, temporary_disk
from actorstream.testing.faults import Effect, Fault, FaultyFiles
from actorstream.testing.loop import SimulatedCrash
from tests.checkpoints.savepoints import contents, names, pack, unpack
from tests.checkpoints.stepped_files import SteppedFiles, fail_at
from tests.crash.process import started
from tests.state.rig import QuickFiles

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorstream.model.world import FileSystem

EFFECTS: list[Effect] = ["EIO", "ENOSPC", "short write"]


@contextmanager
def disk_with(source: Path) -> Iterator[SimulatedDisk]:
    """Give a disk on which `source` lies as "given"."""
    with temporary_disk() as disk:
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, Path(disk.root, "given"))
        yield SimulatedDisk(disk.root)


class Export:
    """An export of the savepoint "given" to "made"; its result is right if it is the archive."""

    def __init__(self, archive: Path) -> None:
        self.right = archive.read_bytes()

    def run(self, files: FileSystem, root: Path, token: str = "first") -> None:
        export_savepoint(files, str(root / "given"), str(root / "made"), token=token)

    def made(self, root: Path) -> bool:
        """Tell whether the result is there: then it is whole."""
        if not (root / "made").exists():
            return False
        assert (root / "made").read_bytes() == self.right
        return True

    def left(self, root: Path) -> set[str]:
        """Give what lies about."""
        return set(names(root)) - {"given", "made"}


class Import:
    """An import of the archive "given" into "made"; its result is right if it is the savepoint."""

    def __init__(self, savepoint: Path) -> None:
        self.right = contents(savepoint)

    def run(self, files: FileSystem, root: Path) -> None:
        import_savepoint(files, str(root / "given"), str(root / "made"))

    def made(self, root: Path) -> bool:
        """Tell whether the result is there: then it is whole."""
        if not (root / "made" / MANIFEST).exists():
            return False
        found = contents(root / "made")
        assert {path: data for path, data in found.items() if path in self.right} == self.right
        return True

    def left(self, root: Path) -> set[str]:
        """Give what lies about: in the folder, beside the lock of an unfinished import."""
        kept = set(self.right) if self.made(root) else {IMPORTING}
        return set(contents(root / "made")) - kept if (root / "made").exists() else set()


@pytest.fixture(params=["export", "import"])
def case(request: pytest.FixtureRequest, savepoint: Path, archive: Path) -> tuple[Export | Import, Path]:
    """What is done, and to what."""
    return (Export(archive), savepoint) if request.param == "export" else (Import(savepoint), archive)


def finish(work: Export | Import, root: Path, files: FileSystem) -> None:
    """Do it again, as somebody would: it works, or says that it has been done; nothing lies about then."""
    if work.made(root):
        with pytest.raises(StoreError, match="replaces nothing"):
            work.run(files, root)
    else:
        work.run(files, root)
    assert work.made(root)
    assert work.left(root) == set()


@pytest.mark.parametrize("power", [False, True], ids=["kill -9", "power cut"])
def test_a_crash_at_every_step_leaves_all_or_nothing_and_the_next_try_works(
    case: tuple[Export | Import, Path], *, power: bool
) -> None:
    work, source = case
    results = set()
    for number in count(1):
        crashed = False
        for seed in range(4):
            with disk_with(source) as disk:
                root = Path(disk.root)
                try:
                    work.run(disk.attach(crash_at=number), root)
                except SimulatedCrash:
                    crashed = True
                if power:
                    disk.power_cut(random.Random(seed))
                else:
                    disk.kill()
                results.add(work.made(root))
                assert work.made(root) or crashed, "what was reported as done survives"
                finish(work, root, disk.attach())
                disk.power_cut(random.Random(seed))
                assert work.made(root), "what was reported as there already survives, too"
        if not crashed:
            break
    assert number > 6
    assert results == {False, True}


@pytest.mark.parametrize("effect", EFFECTS)
def test_a_failure_of_every_call_leaves_all_or_nothing_and_the_next_try_works(
    case: tuple[Export | Import, Path], effect: Effect
) -> None:
    """Every call, reads too.

    Until the next try there may lie about what the disk refused to remove, and what a link of unknown outcome may need.
    """
    work, source = case
    results = set()
    for number in count(1):
        with disk_with(source) as disk:
            root = Path(disk.root)
            files = FaultyFiles(QuickFiles(), Fault(number, effect))
            failed: StoreError | None = None
            try:
                work.run(files, root)
            except StoreError as error:
                failed = error
            if files.fired is None:
                break
            assert work.made(root) or failed is not None
            assert not work.made(root) or failed is None or isinstance(failed, PutUnknownError)
            if files.fired.kind != "unlink" and not isinstance(failed, PutUnknownError):
                assert work.left(root) == set(), files.fired
            if failed is not None and effect != "EIO":
                assert "No space left on device" in str(failed)
            results.add(failed is None)
            finish(work, root, QuickFiles())
    assert number > (1 if effect == "short write" else 8)
    assert effect == "short write" or results == {False, True}


def test_a_disk_that_fills_leaves_no_target_and_no_draft_and_says_so(savepoint: Path, tmp_path: Path) -> None:
    for step in ("create", "write", "sync", "link"):
        files = SteppedFiles(fail_at(step, "made" if step == "link" else ".draft", errno.ENOSPC))
        with pytest.raises(StoreError, match="No space left on device; the disk is full: free some space"):
            pack(savepoint, tmp_path / "made", files=files)
        assert names(tmp_path) == []


def test_what_says_that_it_is_an_import_is_durable_before_any_of_it(archive: Path, tmp_path: Path) -> None:
    """POSIX orders no names in a folder but by its sync."""
    steps: list[str] = []
    unpack(archive, tmp_path / "made", files=SteppedFiles(lambda step, path: steps.append(f"{step} {Path(path).name}")))
    layer = ["create", "write", "sync"]
    before, after = steps.index("make_dirs layers"), steps.index("create manifest.json.draft")
    assert steps[before - 1] == "sync_dir made"
    found = [step.partition(" ")[0] for step in steps[steps.index("sync_dir made", before) + 1 : after - 1]]
    assert found == layer * (len(found) // 3)
    assert steps[after - 1] == "sync_dir layers"
    assert steps[-3:] == ["unlink manifest.json.draft", "sync_dir made", "unlink importing"]


def test_no_layer_goes_while_its_manifest_may_come_back(archive: Path, savepoint: Path, tmp_path: Path) -> None:
    """A link that failed may have been made all the same, as on a network's disk."""
    files = SteppedFiles(fail_at("link", MANIFEST, errno.EIO))
    with pytest.raises(PutUnknownError):
        unpack(archive, tmp_path / "made", files=files)
    right = contents(savepoint)
    assert set(contents(tmp_path / "made")) == (set(right) - {MANIFEST}) | {IMPORTING}
    unpack(archive, tmp_path / "made")
    assert contents(tmp_path / "made") == right


def test_any_row_of_crashes_errors_and_tries_ends_in_the_one_right_result(case: tuple[Export | Import, Path]) -> None:
    """What one try leaves is what the next one starts from; half of the crashes with loss of power."""
    work, source = case
    failures = 0
    for seed in range(40):
        rng = random.Random(seed)
        with disk_with(source) as disk:
            root = Path(disk.root)
            for _ in range(5):
                faults = {rng.randint(1, 30): rng.choice([errno.EIO, errno.ENOSPC])}
                try:
                    with suppress(StoreError):
                        work.run(disk.attach(crash_at=rng.randint(1, 25), fail_at=faults), root)
                except SimulatedCrash:
                    failures += 1
                work.made(root)
                if rng.random() < 0.5:
                    disk.power_cut(rng)
                else:
                    disk.kill()
            finish(work, root, disk.attach())
    assert failures > 15


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("what", ["export", "import"])
async def test_sigkill_at_every_step_of_a_real_process(
    what: str, savepoint: Path, archive: Path, tmp_path: Path
) -> None:
    """The real disk, the real lock: it ends with the process."""
    source = savepoint if what == "export" else archive
    work = Export(archive) if what == "export" else Import(savepoint)
    results = set()
    # A process takes half a second: the other steps are left to the simulated crashes above.
    for step in count(0, 2 if what == "export" else 4):
        root = tmp_path / str(step)
        root.mkdir()
        (root / "given").symlink_to(source)
        order = (what, str(root / "given"), str(root / "made"), str(step))
        async with started("-m", "tests.checkpoints.archiving", *order, folder=tmp_path) as child:
            await child.until("there")
            await child.kill()
        results.add(work.made(root))
        finish(work, root, RealFiles())
        if "done" in child.said:
            break
    assert step > 5
    assert results == {False, True}
