"""The list of what survived ordinary mutation testing, a line each, with its kind: made by `.ci/mutmut` at its end.

    tried.txt, mutmut's own diffs ──┐
    kinds in the list of before ────┴──> docs/design/survivors/<room>.txt ──> whoever finds a `?` in it explains that

A kind is one of `KINDS`; docs/design/mutants.md says for each kind what is meant. Some can be told from the change
itself. What somebody has found out is taken over as long as function, old line and new line are the same, whatever
number mutmut gives the mutant.

    python -m tests.mutations.survivors ROOM LIST [COMMIT]      in the copy that .ci/mutmut works in, by its environment
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

KINDS = {
    "same": "nothing can show it: the result is the same, by the same way or by a longer one",
    "unread": "a first value that is set before it is read, or an argument that nobody asks for",
    "types": "a type for the checker, `None` for `False`, `strict=` of what has one length",
    "pieces": "work is cut elsewhere: where it pauses is no promise",
    "text": "what a message says, in what case",
    "generator": "asked by the generator of chains only, which then calls what it would have written out",
    "elsewhere": "tests of another room, or the gate, hold it",
    "endless": "it goes round for ever, which its time tells",
    "small": "real, and left as it is",
}
UNKNOWN = "?"
_VERDICTS = {"no_test": "elsewhere", "too_slow": "endless", "broken": UNKNOWN}
_SPLIT = " | "
_STRICT = r", strict=\w+|, (?=\))"


@dataclass(frozen=True)
class Survivor:
    """One mutant that no test of its room notices: the lines that it takes away, and those that it puts there."""

    kind: str
    where: str
    old: str
    new: str

    @property
    def change(self) -> tuple[str, str, str]:
        """What it is, whatever its number."""
        return self.where, self.old, self.new

    def line(self) -> str:
        """Write it."""
        return _SPLIT.join((f"{self.kind:<10}", self.where, self.old, f"=> {self.new}"))


def read(lines: Iterable[str]) -> list[Survivor]:
    """Read a list; what a change consists of may hold anything but our separator with blanks around it, thrice."""
    found = []
    for line in lines:
        if line.strip() and not line.startswith("#"):
            kind, where, change = line.rstrip("\n").split(_SPLIT, 2)
            old, _, new = change.partition(f"{_SPLIT}=> ")
            found.append(Survivor(kind.strip(), where, old, new))
    return found


def told(name: str) -> str:
    """Give the function of a mutant, by its names in Python: mutmut writes `module.xǁClassǁmethod__mutmut_7`."""
    module, _, function = name.partition("__mutmut_")[0].rpartition(".")
    return f"{module.rpartition('.')[2]}.{function.replace('xǁ', '').replace('ǁ', '.').removeprefix('x_')}"


def changed(diff: str) -> tuple[str, str]:
    """Give what a diff takes away, and what it puts there."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    old, new = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return old, new


def guessed(old: str, new: str) -> str:
    """Give the kind that can be told from the change alone."""
    if "strict=" in old and _outside_of(_STRICT, old) == _outside_of(_STRICT, new):
        return "types"
    if re.sub(r"\bFalse\b", "None", old) == re.sub(r"\bFalse\b", "None", new):
        return "types"
    if _outside_of(r'cast\("[^"]*"', old) == _outside_of(r'cast\((None|"[^"]*")', new):
        return "types"
    if old.startswith(("raise ", 'f"', '"')) and _outside_of(r'"[^"]*"', old) == _outside_of(r'"[^"]*"', new):
        return "text"
    return UNKNOWN


def _outside_of(pattern: str, line: str) -> str:
    return re.sub(pattern, "", line)


def survivors(tried: Iterable[str], known: Sequence[Survivor], diffs: Mapping[str, str]) -> list[Survivor]:
    """Give what survived, in order, each with the kind that is known of it."""
    kinds = {each.change: each.kind for each in known if each.kind != UNKNOWN}
    found = []
    for verdict, name, *_ in map(str.split, tried):
        if verdict != "killed":
            old, new = changed(diffs[name])
            kind = kinds.get((told(name), old, new)) or _VERDICTS.get(verdict) or guessed(old, new)
            found.append(Survivor(kind, told(name), old, new))
    return sorted(found, key=lambda each: (each.where, each.old, each.new))


def main(room: str, target: Path, commit: str) -> None:
    """Write the list anew."""
    diff_of = import_module("mutmut.__main__").get_diff_for_mutant  # only the environment of .ci/mutmut has it
    tried = Path("tried.txt").read_text().splitlines()
    diffs = {name: diff_of(name) for verdict, name, *_ in map(str.split, tried) if verdict != "killed"}
    known = read(target.read_text().splitlines()) if target.exists() else []
    found = survivors(tried, known, diffs)
    target.parent.mkdir(parents=True, exist_ok=True)
    verdicts = Counter(line.split()[0] for line in tried)
    head = [
        f"# actorstream/{room} at {commit}: of {len(tried):,} mutants {verdicts['killed']:,} killed, {len(found)} not.",
        "# kind | function | line | => what the mutant has in its place.   What the kinds mean: ../mutants.md",
        "# Made by .ci/mutmut; a kind is kept as long as the change is the same.",
    ]
    target.write_text("\n".join([*head, *(each.line() for each in found)]) + "\n")
    counts = Counter(each.kind for each in found)
    print(f"{target}: {', '.join(f'{count} {kind}' for kind, count in counts.most_common())}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "an unknown commit")
