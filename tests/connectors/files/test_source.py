"""Files as splits: which they are, that each is read once whatever happens, and never on the event loop."""

from __future__ import annotations

import gzip
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import JobFailed, Pipeline, Restart
from actorstream.connectors.files import Csv, FileSource, JsonLines
from actorstream.errors import InputError, PlanError, RestoreError
from actorstream.model.connect import Source
from actorstream.system.files import RealFiles
from actorstream.testing.conformance import check_source
from tests.connectors.files.setting import Hit, fetched, records

if TYPE_CHECKING:
    from pathlib import Path


def lines(start: int, stop: int) -> bytes:
    return b"".join(b'{"user":"u%d","page":%d}\n' % (page % 7, page) for page in range(start, stop))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("in/b.jsonl", "in/a.jsonl", "in/.part-x.jsonl", "in/_tmp.jsonl", "in/deep/er/c.jsonl", "in/d.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        ("in", ["in/a.jsonl", "in/b.jsonl", "in/d.csv"]),
        ("in/*.jsonl", ["in/a.jsonl", "in/b.jsonl"]),
        ("in/[ac].*", ["in/a.jsonl"]),
        ("in/_*", ["in/_tmp.jsonl"]),
        ("in/*/*/*.jsonl", ["in/deep/er/c.jsonl"]),
        ("**/*.jsonl", ["in/a.jsonl", "in/b.jsonl", "in/deep/er/c.jsonl"]),
        ("*/b.jsonl", ["in/b.jsonl"]),
        (["in/d.csv", "in/*.csv", "other"], ["in/d.csv", "other"]),
        ("in/*.parquet", []),
    ],
)
async def test_a_path_means_files(folder: Path, paths: Any, found: list[str]) -> None:
    source = FileSource(paths, JsonLines(Hit))
    assert isinstance(source, Source)
    assert await source.splits() == found
    absolute = [str(folder / path) for path in ([paths] if isinstance(paths, str) else paths)]
    assert await FileSource(absolute, JsonLines(Hit)).splits() == [str(folder / name) for name in found]


async def test_a_folder_that_is_not_there_is_told(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no folder nowhere for the files nowhere/\*\.jsonl"):
        await FileSource("nowhere/*.jsonl", JsonLines(Hit)).splits()


def test_what_makes_no_sense_is_refused_before_it_runs() -> None:
    with pytest.raises(PlanError, match="there are no paths"):
        FileSource([], JsonLines(Hit))
    with pytest.raises(PlanError, match="on_bad_line is 'ignore'"):
        FileSource("in", JsonLines(Hit), on_bad_line="ignore")  # type: ignore[arg-type]
    with pytest.raises(PlanError, match="expected one such as JsonLines"):
        FileSource("in", Hit)  # type: ignore[arg-type]


async def test_a_compressed_file_is_read_as_if_it_were_not(tmp_path: Path) -> None:
    """Also one that is several, one behind the other, as log rotation makes them."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(lines(0, 30_000)) + gzip.compress(lines(30_000, 30_010)))
    slices = await fetched(FileSource(path, JsonLines(Hit)), str(path))
    assert [value.page for values, _ in slices for value in values] == list(range(30_010))
    middle = slices[len(slices) // 2]
    assert (await records(path, JsonLines(Hit), middle[1]))[0].page == middle[0][-1].page + 1

    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"a.jsonl.gz is cut short at byte"):
        await records(path, JsonLines(Hit))
    path.write_bytes(lines(0, 10))
    with pytest.raises(InputError, match="is no gzip file, or damaged"):
        await records(path, JsonLines(Hit))
    path.write_bytes(gzip.compress(lines(0, 10)))
    with pytest.raises(RestoreError, match="taken at 9999 of"):
        await records(path, JsonLines(Hit), 9999)


async def test_files_are_read_in_threads_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(0, 5_000))
    where: set[int] = set()
    read_at = RealFiles.read_at

    def noting(self: RealFiles, path: str, offset: int, size: int, /) -> bytes:
        where.add(threading.get_ident())
        return read_at(self, path, offset, size)

    monkeypatch.setattr(RealFiles, "read_at", noting)
    assert len(await records(path, JsonLines(Hit))) == 5_000
    assert where
    assert threading.get_ident() not in where


async def test_every_record_counts_once_over_failures_and_another_parallelism(tmp_path: Path) -> None:
    """A file that has ended may be removed; one that has come since is read from its start."""
    (tmp_path / "in").mkdir()
    for name in range(3):
        (tmp_path / "in" / f"{name}.jsonl").write_bytes(lines(name * 1_000, name * 1_000 + 1_000))
    seen: list[int] = []
    raised = False

    def note(hit: Hit) -> Hit:
        nonlocal raised
        seen.append(hit.page)
        if len(seen) == 2_000 and not raised:
            raised = True
            raise OSError("once")
        return hit

    def pipeline() -> Pipeline:
        made = Pipeline("p")
        hits = made.source(FileSource(tmp_path / "in" / "*.jsonl", JsonLines(Hit)), name="in")
        hits.map(note).key_by(lambda hit: hit.user).count(name="counts").changes().sink(changes.append)
        return made

    changes: list[Any] = []
    options: dict[str, Any] = {"store": tmp_path / "store", "checkpoint_interval": 0.01}
    await pipeline().run(**options, parallelism=2, restart=Restart.fixed_delay(3, delay=0.0))
    assert raised
    assert set(seen) == set(range(3_000))

    os.unlink(tmp_path / "in" / "0.jsonl")
    (tmp_path / "in" / "3.jsonl").write_bytes(lines(3_000, 3_500))
    seen.clear()
    changes.clear()
    await pipeline().run(**options, parallelism=1)


async def test_a_bad_line_fails_the_job_at_once(tmp_path: Path) -> None:
    """Trying again would find it again."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"user,page\nann,1\nbob\n")
    pipeline = Pipeline("p")
    pipeline.source(FileSource(path, Csv(Hit))).sink(print)
    with pytest.raises(JobFailed, match=r"InputError: .*a.csv, line 3 \(byte 16\): it has 1 values, expected 2"):
        await pipeline.run(store=tmp_path / "store")


@pytest.mark.parametrize("bad", ["", "oops\n"])
async def test_files_come_again_from_wherever_they_were_broken_off(tmp_path: Path, bad: str) -> None:
    names = [str(tmp_path / name) for name in ("a.csv", "b.csv.gz")]
    rows = "user,page\n" + "".join(f"u{page % 7},{page}\n{bad if page % 300 == 0 else ''}" for page in range(1_200))
    (tmp_path / "a.csv").write_text(rows)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(rows.encode()))
    hits = [Hit(f"u{page % 7}", page) for page in range(1_200)]
    policy: Any = "skip" if bad else "fail"
    await check_source(lambda: FileSource(tmp_path, Csv(Hit), on_bad_line=policy), dict.fromkeys(names, hits))
