"""Whether bytes of one schema can be read as another, and what is to be done to them before.

    old shape, new shape ──> None               read as they are
                         ──> a function         raw values of the old shape (as msgspec reads them untyped) to the new
                         ──> DifferenceError    a sentence that names the place, and what to do there

    as they are    equal; fields with a default added, removed, reordered; enums, unions, Literals that grew;
                   T -> T | None
    renamed        rename={"old": "new"}: fields of every record in the type that has `new` and had `old`, and classes
                   of unions; a chain is followed to its end
    widened        int -> float (a value that no float holds exactly is an error when it is read), int -> Decimal,
                   bool -> int, a choice of str or int -> str or int, T -> a union with T in it,
                   list <-> tuple, set <-> frozenset, a tuple of known length -> one of any, NamedTuple <-> dataclass

Nothing is read as `object`: what was typed would be taken for what a new initial value is.
Records that hold themselves are compared as such: a pair of records that is being compared is taken for equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from actorstream.codec.schema import kind_of
from actorstream.codec.shape_grammar import strange_part
from actorstream.codec.shapes import TYPED_DICT
from actorstream.codec.widening import DifferenceError, differs, is_scalar, widen
from actorstream.errors import CodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from actorstream.codec.contract import Schema

Json: TypeAlias = Any
Step: TypeAlias = "Callable[[Any], Any]"

_INTERCHANGEABLE: Final = frozenset({
    ("list", "list"), ("list", "tuple"), ("tuple", "list"), ("tuple", "tuple"),
    ("set", "set"), ("set", "frozenset"), ("frozenset", "set"), ("frozenset", "frozenset"),
})  # fmt: skip


def upgrade(old: Schema, new: Schema, rename: Mapping[str, str]) -> Step | None:
    """Give what makes raw values of `old` raw values of `new`; None where there is nothing to do.

    Raises:
        DifferenceError: There is no such thing.
    """
    if old.fingerprint == new.fingerprint:
        return None
    if (part := strange_part(old.shape)) is not None:
        raise DifferenceError(
            f"what was stored has a schema that this version does not know: {part}",
            "run the actorstream that wrote it, or restore another snapshot",
        )
    # First as if records that hold themselves needed nothing; if that holds to the end, it is so.
    if _Comparison(rename, lazy=False).step(old.shape, new.shape, "value") is None:
        return None
    return _Comparison(rename, lazy=True).step(old.shape, new.shape, "value")


class _Comparison:
    """One way down two shapes."""

    def __init__(self, rename: Mapping[str, str], *, lazy: bool) -> None:
        self._rename = rename
        self._lazy = lazy
        self._above: tuple[dict[str, Json], dict[str, Json]] = ({}, {})
        self._begun: dict[tuple[int, int], list[Step | None]] = {}

    def step(self, old: Json, new: Json, place: str) -> Step | None:
        """Give the step between the shapes at a place."""
        old, new = self._resolved(0, old), self._resolved(1, new)
        kind = kind_of(new)
        if kind == "maybe":
            return self._to_maybe(old, new["maybe"], place)
        if kind == "tagged":
            return self._to_union(old, new["tagged"], place)
        if kind_of(old) == kind == "record":
            return self._records(old, new, place)
        return self._inside(old, new, place)

    def _inside(self, old: Json, new: Json, place: str) -> Step | None:
        kinds = kind_of(old), kind_of(new)
        if kinds in _INTERCHANGEABLE:
            return _each(self.step(old[kinds[0]], new[kinds[1]], f"{place}[item]"))
        if kinds[0] == "tuple of":
            return self._tuples(old["tuple of"], new, place)
        if kinds == ("dict", "dict"):
            return self._dicts(old["dict"], new["dict"], place)
        return widen(old, new, place)

    def _to_maybe(self, old: Json, item: Json, place: str) -> Step | None:
        if kind_of(old) == "maybe":
            return _unless_none(self.step(old["maybe"], item, place))
        return None if old == "None" else self.step(old, item, place)

    def _resolved(self, side: int, shape: Json) -> Json:
        return self._above[side][shape["again"]] if kind_of(shape) == "again" else shape

    def _to_union(self, old: Json, members: Mapping[str, Json], place: str) -> Step | None:
        if kind_of(old) == "tagged":
            return self._unions(old["tagged"], members, place)
        if kind_of(old) == "one of":
            if all(members.get(each) == each for each in old["one of"]):
                return lambda raw: (type(raw).__name__, raw)
            raise differs(old, {"tagged": members}, place)
        tag = self._renamed(_tag_of(old), members)
        if tag not in members:
            raise differs(old, {"tagged": members}, place)
        inner = self.step(old, members[tag], f"{place} as {tag}") or _same
        return lambda raw: (tag, inner(raw))

    def _unions(self, old: Mapping[str, Json], new: Mapping[str, Json], place: str) -> Step | None:
        steps: dict[str, tuple[str, Step | None]] = {}
        for tag, shape in old.items():
            now = self._renamed(tag, new)
            if now not in new:
                raise DifferenceError(
                    f"{place} may have been a {tag}, which the union has no more",
                    f"keep it in the union, or say rename={{{tag!r}: ...}} if the class has another name now",
                )
            steps[tag] = now, self.step(shape, new[now], f"{place} as {tag}")
        if all(tag == now and inner is None for tag, (now, inner) in steps.items()):
            return None

        def step(raw: list[Any]) -> object:
            tag, inner = steps[raw[0]]
            return tag, raw[1] if inner is None else inner(raw[1])

        return step

    def _tuples(self, old: list[Json], new: Json, place: str) -> Step | None:
        kind = kind_of(new)
        if kind in {"tuple", "list"}:
            items = [new[kind]] * len(old)
        elif kind == "tuple of":
            items = new["tuple of"]
        else:
            raise differs({"tuple of": old}, new, place)
        if len(old) != len(items):
            raise DifferenceError(f"{place} had {len(old)} parts and has {len(items)} now")
        steps = [self.step(o, n, f"{place}[{i}]") for i, (o, n) in enumerate(zip(old, items, strict=True))]
        if not any(steps):
            return None
        ways = [each or _same for each in steps]
        return lambda raw: [way(part) for way, part in zip(ways, raw, strict=True)]

    def _dicts(self, old: list[Json], new: list[Json], place: str) -> Step | None:
        key, item = self.step(old[0], new[0], f"{place}[0]"), self.step(old[1], new[1], f"{place}[1]")
        was_map, is_map = is_scalar(old[0]), is_scalar(new[0])
        if key is None and item is None and was_map == is_map:
            return None
        of_key, of_item = key or _same, item or _same

        def step(raw: Any) -> object:  # noqa: ANN401  (a dict or a list of pairs)
            pairs = [(of_key(k), of_item(v)) for k, v in (raw.items() if was_map else raw)]
            return dict(pairs) if is_map else pairs

        return step

    def _records(self, old: Json, new: Json, place: str) -> Step | None:
        pair = id(old), id(new)
        begun = self._begun.get(pair)
        if begun is not None:
            return _later(begun) if self._lazy else None
        above = self._above
        holder: list[Step | None] = []
        self._begun[pair] = holder
        self._above = {**above[0], old["record"]: old}, {**above[1], new["record"]: new}
        holder.append(self._fields(old, new, place))
        self._above = above
        del self._begun[pair]
        return holder[0]

    def _fields(self, old: Json, new: Json, place: str) -> Step | None:
        had = {name: shape for name, shape, _ in old["fields"]}
        has = [name for name, _, _ in new["fields"]]
        gone = {self._renamed(name, has): name for name in had if name not in has}
        optional = _may_be_missing(old, new)
        steps: list[tuple[str, str, Step | None]] = []
        missing: str | None = None
        for name, shape, required in new["fields"]:
            source = name if name in had else gone.get(name)
            if source is not None:
                if required and source in optional:
                    raise _was_optional(f"{place}.{name}", name)
                steps.append((name, source, self.step(had[source], shape, f"{place}.{name}")))
                if missing is not None and new["by"] == "position":
                    raise DifferenceError(
                        f"{place} is a NamedTuple, whose fields may only be added at the end: had {list(had)}, "
                        f"has {has} now",
                        f"move {missing!r} to the end",
                    )
            elif required:
                raise _added(f"{place}.{name}", name, sorted(gone.values()))
            else:
                missing = missing or name
        kept = [name for name, source, inner in steps if name == source and inner is None]
        if old["by"] == new["by"] == "name" and len(kept) == len(steps):
            return None
        if old["by"] == new["by"] == "position" and kept == list(had) == has[: len(had)]:
            return None
        return _rebuilt(list(had), steps, from_list=old["by"] == "position", to_list=new["by"] == "position")

    def _renamed(self, name: str, there: Iterable[str]) -> str:
        """Follow the renaming of a name that is not there any more, to its end."""
        seen = {name}
        while name not in there and (following := self._rename.get(name)) is not None and following not in seen:
            seen.add(following)
            name = following
        return name


def _rebuilt(had: list[str], steps: list[tuple[str, str, Step | None]], *, from_list: bool, to_list: bool) -> Step:
    def step(raw: Any) -> object:  # noqa: ANN401  (a dict or a list)
        fields = dict(zip(had, raw, strict=False)) if from_list else raw
        found = {
            name: fields[source] if inner is None else inner(fields[source])
            for name, source, inner in steps
            if source in fields
        }
        if not to_list:
            return found
        if list(found) != [name for name, _, _ in steps[: len(found)]]:
            raise CodecError(
                f"a record has only {list(found)}, and fields of a NamedTuple may be missing at its end only"
            )
        return list(found.values())

    return step


def _later(holder: list[Step | None]) -> Step:
    """Give the step of a pair of records that is still being compared: of one that holds itself."""

    def step(raw: object) -> object:
        found = holder[0]
        return raw if found is None else found(raw)

    return step


def _same(raw: object) -> object:
    return raw


def _unless_none(step: Step | None) -> Step | None:
    return None if step is None else lambda raw: None if raw is None else step(raw)


def _each(step: Step | None) -> Step | None:
    return None if step is None else lambda raw: [step(item) for item in raw]


def _tag_of(shape: Json) -> str:
    """Give the name of a shape's class, as it is the tag in a union."""
    if isinstance(shape, str):
        return shape
    kind = kind_of(shape)
    name = str(shape[kind]) if kind in {"record", "enum"} else kind.split()[0]
    return name.rpartition(".")[2]


def _added(place: str, name: str, gone: list[str]) -> DifferenceError:
    renamed = f", or say rename={{{gone[0]!r}: {name!r}}} if that is what it was called" if gone else ""
    return DifferenceError(f"{place} was added without a default", f"give {name!r} a default{renamed}")


def _may_be_missing(old: Json, new: Json) -> frozenset[str]:
    """Name the fields that bytes of a record may lack: of a TypedDict, of all others each field is stored.

    Older versions did not note what a TypedDict is: then what it is now is taken for what it was.
    """
    if TYPED_DICT not in old and TYPED_DICT not in new:
        return frozenset()
    return frozenset(name for name, _, required in old["fields"] if not required)


def _was_optional(place: str, name: str) -> DifferenceError:
    return DifferenceError(f"{place} was not required, and is now: values may lack it", f"keep {name!r} NotRequired")


def names_in(shape: Json) -> frozenset[str]:
    """Give the names of all fields of records, and of classes in unions, anywhere in a shape."""
    found: set[str] = set()
    todo = [shape]
    while todo:
        each = todo.pop()
        if isinstance(each, list):
            todo += each
        elif isinstance(each, dict):
            if "record" in each:
                found |= {name for name, _, _ in each["fields"]}
            found |= set(each.get("tagged", ()))
            todo += each.values()
    return frozenset(found)
