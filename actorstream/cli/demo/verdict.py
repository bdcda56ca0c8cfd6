"""After a run: read both outputs to the end and hold every record against the plain loop."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from os.path import join
from typing import TYPE_CHECKING

from actorstream.cli.demo import reference
from actorstream.cli.demo.comparison import Difference, compare
from actorstream.cli.demo.load import payment_lines
from actorstream.cli.demo.outside import Output
from actorstream.codec.documents import decode_json, encode_json
from actorstream.errors import CodecError, StoreError
from actorstream.system.current import current_world

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTE = "demo.json"


@dataclass(frozen=True, slots=True)
class Note:
    """What must be known of a kept run to judge it again."""

    seed: int
    payments: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the comparison found: by output, how many records must be there, and what is wrong with those that are."""

    expected: Mapping[str, int]
    differences: Mapping[str, Difference]

    @property
    def lost(self) -> int:
        """How many records are missing."""
        return sum(len(difference.lost) for difference in self.differences.values())

    @property
    def doubled(self) -> int:
        """How many records are there once too often."""
        return sum(len(difference.doubled) for difference in self.differences.values())

    @property
    def wrong(self) -> int:
        """How many records should not be there at all, or are out of their card's order."""
        return sum(len(difference.wrong) + len(difference.disordered) for difference in self.differences.values())

    @property
    def right(self) -> bool:
        """Whether every output record is the one it must be."""
        return not any(self.differences.values())


def keep_note(folder: str, note: Note) -> None:
    """Write down what a run was fed with."""
    file = current_world().files.create(join(folder, _NOTE))
    file.write(encode_json(note))
    file.close()


def read_note(folder: str) -> Note:
    """Read it again.

    Raises:
        StoreError: The folder holds no run that ended, or its note is damaged.
    """
    files = current_world().files
    path = join(folder, _NOTE)
    if not files.exists(path):
        raise StoreError(f"{path} is missing: expected the folder that `actorstream demo --keep` has filled")
    try:
        return decode_json(Note, files.read(path))
    except CodecError as error:
        raise StoreError(f"{path} is damaged: {error}; run `actorstream demo --keep` again") from error


async def judge(folder: str, note: Note) -> Verdict:
    """Compare both outputs in `folder`."""
    must = reference.fold(islice(payment_lines(note.seed), note.payments))
    expected = {"totals": must.totals, "alerts": must.alerts}
    cards = {"totals": 0, "alerts": 1}
    differences = {}
    for name, records in expected.items():
        output = Output(folder, name)
        differences[name] = compare(records, await output.records(), key=cards[name])
        await output.aclose()
    return Verdict({name: len(records) for name, records in expected.items()}, differences)
