"""JSON lines: every record once, from wherever reading goes on, and what is no record is named."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.codec.contract import RECORD_BYTES_MAX
from actorstream.connectors.files import FileSource, JsonLines, file_bytes
from actorstream.errors import InputError, PlanError, RestoreError, StoreError
from tests.connectors.files.setting import Click, Hit, fetched, records

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actorstream.model.connect import Fetched

TWO = b'{"user":"ann","page":1}\n{"user":"bob","page":2,"note":"x"}\n'


def put(folder: Path, data: bytes) -> Path:
    path = folder / "clicks.jsonl"
    path.write_bytes(data)
    return path


async def each_fetched(source: FileSource[Hit], path: Path, look_at: Callable[[Fetched[int, Hit]], object]) -> None:
    """Read as far as it goes; do something at each step."""
    async for each in source.read(str(path), None):
        look_at(each)


async def test_lines_become_records_of_the_type(tmp_path: Path) -> None:
    path = put(tmp_path, TWO)
    assert await records(path, JsonLines(Click)) == [Click("ann", 1), Click("bob", 2, "x")]
    assert await records(path, JsonLines(Hit)) == [Hit("ann", 1), Hit("bob", 2, "x")]
    assert await records(path, JsonLines(dict)) == [
        {"user": "ann", "page": 1},
        {"user": "bob", "page": 2, "note": "x"},
    ]


@pytest.mark.parametrize(
    "data",
    [
        TWO.rstrip(),
        b"\xef\xbb\xbf" + TWO,
        TWO.replace(b"\n", b"\r\n"),
        b"\n\n" + TWO.replace(b"\n", b"\n \n\n"),
    ],
    ids=["no end of the last line", "byte order mark", "CRLF", "empty lines"],
)
async def test_what_editors_make_of_a_file_changes_nothing(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path, data)
    assert await records(path, JsonLines(Hit)) == [Hit("ann", 1), Hit("bob", 2, "x")]
    (*_, (_, end)) = await fetched(FileSource(path, JsonLines(Hit)), str(path))
    assert await records(path, JsonLines(Hit), end) == []


@pytest.mark.parametrize("data", [b"", b"\n\r\n", b"\xef\xbb\xbf"])
async def test_an_empty_file_has_no_records(tmp_path: Path, data: bytes) -> None:
    assert await records(put(tmp_path, data), JsonLines(Hit)) == []


@given(
    lines=st.lists(st.sampled_from([b'{"user":"a","page":1}', b"", b" ", b"oops", '{"user":"ö","page":2}'.encode()])),
    end=st.sampled_from([b"\n", b"\r\n"]),
    last=st.booleans(),
    piece=st.integers(1, 40),
)
async def test_from_every_position_the_rest_follows(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], end: bytes, last: bool, piece: int
) -> None:
    """Whatever pieces the file comes in: what was read before a position and after it is all, once, and in order."""
    path = put(tmp_path_factory.mktemp("files"), end.join(lines) + (end if last else b""))
    expected = [Hit("ö", 2) if "ö".encode() in line else Hit("a", 1) for line in lines if line.startswith(b"{")]
    with patch.multiple(file_bytes, PIECE_BYTES=piece):
        got: list[Hit] = []
        for values, position in await fetched(FileSource(path, JsonLines(Hit), on_bad_line="skip"), str(path)):
            got += values
            assert got + await records(path, JsonLines(Hit), position, on_bad_line="skip") == expected
    assert got == expected


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (
            b'{"user":"x","page":"three"}',
            r"Expected `int`, got `str` - at `\$.page`: '{\"user\":\"x\",\"page\":\"three\"}'",
        ),
        (b'{"user":"x"', "truncated"),
        (b'{"user":"x"}', "missing required field `page`"),
        (b'{"user":"\xff","page":1}', r"not UTF-8 .*b'\\xff'"),
        (b'{"user":"' + b"x" * 500 + b'","page":""}', r"x{50,75}…'"),
    ],
    ids=["type", "malformed", "missing", "encoding", "long"],
)
async def test_a_bad_line_is_named_with_its_place(tmp_path: Path, bad: bytes, what: str) -> None:
    path = put(tmp_path, TWO + bad + b"\n" + TWO)
    with pytest.raises(
        InputError, match=rf"clicks.jsonl, line 3 \(byte 59\): .*{what}.*on_bad_line=\"skip\""
    ) as caught:
        await records(path, JsonLines(Click))
    assert len(str(caught.value)) < 500

    source = FileSource(path, JsonLines(Click), on_bad_line="skip")
    assert [value.page for values, _ in await fetched(source, str(path)) for value in values] == [1, 2, 1, 2]
    assert source.skipped == 1


async def test_what_comes_before_a_bad_line_is_given_first(tmp_path: Path) -> None:
    path = put(tmp_path, TWO + b"oops\n")
    got: list[int] = []
    with pytest.raises(InputError):
        await each_fetched(FileSource(path, JsonLines(Hit)), path, lambda each: got.extend(v.page for v in each.values))
    assert got == [1, 2]


async def test_a_file_that_grows_is_read_as_it_was_and_its_last_line_to_the_end(tmp_path: Path) -> None:
    """The line that was begun would otherwise be half a record."""
    path = put(tmp_path, TWO * 20_000 + b'{"user":"cid",')
    got: list[Hit] = []
    async for each in FileSource(path, JsonLines(Hit)).read(str(path), None):
        if not got:
            with path.open("ab") as file:
                file.write(b'"page":3}\n' + TWO)
        got += each.values
    assert len(got) == 40_001
    assert got[-1] == Hit("cid", 3)
    assert await records(path, JsonLines(Hit), each.position) == [Hit("ann", 1), Hit("bob", 2, "x")]


async def test_a_file_that_is_cut_short_while_it_is_read_is_no_end(tmp_path: Path) -> None:
    path = put(tmp_path, TWO * 20_000)
    with pytest.raises(InputError, match="had 1180000 bytes when its reading began: it was cut short"):
        await each_fetched(FileSource(path, JsonLines(Hit)), path, lambda _: path.write_bytes(TWO))


async def test_another_file_than_that_of_the_checkpoint_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, TWO)
    with pytest.raises(RestoreError, match=r"taken at 1000 of .*clicks.jsonl, which now ends at 59"):
        await records(path, JsonLines(Hit), 1000)
    with pytest.raises(RestoreError, match=r"at byte 30 .* where no line begins now"):
        await records(path, JsonLines(Hit), 30)
    with pytest.raises(RestoreError, match="holds 'x' as a position"):
        await records(path, JsonLines(Hit), "x")  # type: ignore[arg-type]
    path.unlink()
    with pytest.raises(StoreError, match=r"clicks.jsonl.* it was removed or moved"):
        await records(path, JsonLines(Hit))


async def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    path = put(tmp_path, b"x" * (RECORD_BYTES_MAX + 1_000_000))
    with pytest.raises(InputError, match=r"begins at byte 0 has over .* bytes: is it a file of lines"):
        await records(path, JsonLines(Hit), on_bad_line="skip")


async def test_a_file_that_is_followed_is_read_on_when_a_line_has_its_end(tmp_path: Path) -> None:
    path = put(tmp_path, TWO + b'{"user":"cid",')
    got: list[Hit] = []
    ends: list[int] = []
    async for each in FileSource(path, JsonLines(Hit, follow=True)).read(str(path), None):
        got += each.values
        if each.caught_up:
            ends.append(each.position)
            if len(ends) == 2:
                with path.open("ab") as file:
                    file.write(b'"page":3}\n')
        if len(got) == 3:
            break
    assert ends == [59, 59]
    assert got[2] == Hit("cid", 3)


async def test_a_file_that_is_followed_and_cut_short_is_told(tmp_path: Path) -> None:
    path = put(tmp_path, TWO)
    with pytest.raises(InputError, match="has 0 bytes, 59 were read: it was cut short while it was followed"):
        await each_fetched(
            FileSource(path, JsonLines(Hit, follow=True)), path, lambda each: each.caught_up and path.write_bytes(b"")
        )


@pytest.mark.parametrize("type_", [int, list[int], tuple[int, int], str])
def test_a_type_without_fields_is_refused(type_: type) -> None:
    with pytest.raises(PlanError, match="expected a dataclass, NamedTuple, TypedDict or dict"):
        JsonLines(type_)
