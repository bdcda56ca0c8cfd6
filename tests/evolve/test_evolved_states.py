"""Snapshots whose values have several schemas: each is read by its own, and what is written goes on beside them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from actorstream import RestoreError
from actorstream.codec.evolution import split_header
from actorstream.errors import CodecError
from actorstream.evolve import open_snapshot, write_savepoint
from actorstream.evolve.snapshot_diff import differences
from actorstream.state.entries import EXPIRING, EXPIRY_END, take_apart
from tests.evolve.generations import Newest, Spoken, pipeline, run_all, shown_by_job
from tests.evolve.jobs import contents, manifest_of
from tests.golden import changed, first
from tests.golden.changed import Cents, Second, Third, shown_by_third
from tests.golden.first import LONG_KEY, NOON, Kind, Ledger
from tests.golden.write import HERE

if TYPE_CHECKING:
    from pathlib import Path

    from actorstream.checkpoints.manifest import StateEntry
    from actorstream.evolve import Snapshot

CHANGED = {"total", "aging", "kind", "place", "number", "parts", "lines"}
"""All but `anything`, whose schema is the same in the first two."""


def entries(savepoint: Path) -> dict[str, StateEntry]:
    return manifest_of(savepoint).operators["ledger"].states


def numbers_in(snapshot: Snapshot, state: str) -> dict[object, int]:
    """Give the number of the schema of each stored value, by item."""
    found = snapshot.state("ledger", state)
    numbers = {}
    for _, parts, value in found.rows():
        tagged = take_apart(value).tagged
        numbers[found.of.item_of(parts)] = split_header(tagged[EXPIRY_END if tagged[0] == EXPIRING else 1 :])[0]
    return numbers


# ---- reading ---------------------------------------------------------------------------------------------------------


async def test_without_a_pipeline_each_value_is_read_by_the_schema_it_was_written_with(tmp_path: Path) -> None:
    job = await run_all(tmp_path)
    with open_snapshot(job) as snapshot:
        assert numbers_in(snapshot, "total") == {"ada": 0, LONG_KEY: 0, "bob": 1, "cid": 2}
        held: dict[str, Any] = {
            name: dict(snapshot.state("ledger", name).items()) for name in snapshot.states("ledger")
        }
        assert snapshot.state("ledger", "parts").get("cid") == {"gift 3": "third 3"}
    totals = [{"euros": 5, "lines": 1}, {"amount": 9.0, "lines": 1, "notes": ["second"]}]
    assert [held["total"][key] for key in ("ada", "bob", "cid")] == [*totals, {"cents": 300, "notes": ("third",)}]
    assert [held["aging"][key] for key in ("ada", "bob", "cid")] == [
        {"euros": 5, "lines": 2},
        {"amount": 9.0, "lines": 2, "notes": ["second"]},
        {"cents": 300, "notes": ("third",)},
    ]
    assert [held["kind"][key] for key in ("ada", "bob", "cid")] == ["t", "s", "third"]
    assert [held["number"][key] for key in ("ada", "bob", "cid")] == [5, 9.5, Decimal(3)]
    assert held["parts"]["ada", "order 5"] == {"Order": {"id": "o5", "price": Decimal("1.25"), "at": NOON}}
    assert held["parts"]["bob", "gift 9"] == {"Gift": {"id": "g9"}}
    assert held["lines"]["ada"] == [{"item": "item 5", "count": 5, "colour": "red"}]
    assert held["lines"]["bob"][2] == {"title": "title 9", "count": 9}
    assert held["lines"]["cid"] == ["line 3"]


async def test_with_a_pipeline_values_are_renamed_and_migrated_as_a_job_does_it(tmp_path: Path) -> None:
    job = await run_all(tmp_path)
    with open_snapshot(job, pipeline=pipeline(Newest, {})) as snapshot:
        for key, number in (("ada", 5), (LONG_KEY, 7)):
            held = {name: snapshot.state("ledger", name).get(key) for name in snapshot.states("ledger")}
            assert held == {name: value for name, value in shown_by_third(key, number).items() if name != "key"}
        totals = snapshot.state("ledger", "total")
        assert [totals.get(key) for key in ("bob", "cid")] == [Cents(900, ("second",)), Cents(300, ("third",))]
        assert snapshot.state("ledger", "lines").get("bob") == ["item 6", "item 8", "title 9"]


async def test_a_pipeline_that_is_older_than_the_snapshot_is_refused_by_name(tmp_path: Path) -> None:
    job = await run_all(tmp_path)
    with (
        open_snapshot(job, pipeline=pipeline(Second, {})) as snapshot,
        pytest.raises(RestoreError, match=r"ledger\.total .*version 2 was stored.*read it without the pipeline"),
    ):
        snapshot.state("ledger", "total")


def test_kept_stores_of_earlier_versions_are_read_as_they_are() -> None:
    """One without numbers, one with two schemas; a fold's sum, that was widened, among them. Nothing is changed."""
    before = contents(HERE / "two-schemas")
    for name, bob, total in (("unnumbered", {"euros": 8, "lines": 1}, 14), ("two-schemas", {"amount": 9.0}, 23.0)):
        with open_snapshot(HERE / name / "store") as snapshot:
            assert snapshot.state("ledger", "total").get("ada") == {"euros": 5, "lines": 1}
            assert snapshot.state("ledger", "total").get("bob").items() >= bob.items()
            assert snapshot.state("sum", "value").get("bob") == total
    made: Any = [first.pipeline(owner, [], print, start=0.0) for owner in (Second, Third)]
    with open_snapshot(HERE / "two-schemas" / "store", pipeline=made[0]) as snapshot:
        assert snapshot.state("ledger", "total").get("ada") == changed.Total(5.0, 1)
        assert snapshot.state("ledger", "kind").get("ada") is changed.WiderKind.TRADE
        assert snapshot.state("sum", "value").get("ada") == 5.0
    with open_snapshot(HERE / "two-schemas" / "store", pipeline=made[1]) as snapshot:
        assert snapshot.state("ledger", "total").get("bob") == Cents(900, ("second",))
    old: Any = first.pipeline(Ledger, [], print)
    with open_snapshot(HERE / "unnumbered" / "store", pipeline=old) as snapshot:
        assert snapshot.state("ledger", "kind").get("bob") is Kind.TRADE
    assert contents(HERE / "two-schemas") == before


async def test_a_number_that_no_schema_has_is_an_error_that_names_the_state_and_key(tmp_path: Path) -> None:
    """As if the manifest were of another snapshot."""
    job = await run_all(tmp_path)
    with open_snapshot(job) as snapshot:
        entry = snapshot.states("ledger")["total"]
        forgotten = replace(entry, older=[each for each in entry.older if each.number != 1])
        snapshot.manifest.operators["ledger"].states["total"] = forgotten
        with pytest.raises(CodecError, match=r"state ledger\.total, 'bob': it is of schema 1, which is not among"):
            snapshot.state("ledger", "total").get("bob")


# ---- writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wide", [128, 50])
async def test_what_is_not_written_keeps_its_bytes_and_all_its_schemas(wide: int, tmp_path: Path) -> None:
    """Linked, or taken over into other key groups; and map keys their type."""
    job = await run_all(tmp_path)
    with write_savepoint(pipeline(Newest, {}, wide=wide), tmp_path / "new", base=job):
        pass
    with open_snapshot(job) as before, open_snapshot(tmp_path / "new") as after:
        assert after.states("ledger") == before.states("ledger")
        assert [each.number for each in after.states("ledger")["total"].schemas] == [0, 1, 2]
        assert after.states("ledger")["parts"].map_key == "str"
        assert all(numbers_in(after, state) == numbers_in(before, state) for state in CHANGED)
        assert all(differences(before, after))
    shown = await shown_by_job(tmp_path / "next", tmp_path / "new", Newest, "ada", "bob", "cid", LONG_KEY, wide=wide)
    for key, number in (("ada", 5), (LONG_KEY, 7)):
        assert shown[key] == shown_by_third(key, number)
    assert (shown["bob"]["total"], shown["cid"]["total"]) == (Cents(900, ("second",)), Cents(300, ("third",)))


@pytest.mark.parametrize("generations", [1, 2, 3])
async def test_what_is_put_over_older_values_has_the_number_that_a_job_would_give_it(
    generations: int, tmp_path: Path
) -> None:
    """A new number beside those of the base, or that of the same schema; behind an expiry, and under a long key too."""
    job = await run_all(tmp_path, generations)
    new = 1 if generations == 1 else 2
    with write_savepoint(pipeline(Newest, {}), tmp_path / "new", base=job) as writer:
        for state in ("total", "aging"):
            writer.put("ledger", state, [("dan", Cents(1)), (LONG_KEY, Cents(2)), ("bob", Cents(3))])
        writer.put("ledger", "parts", [((LONG_KEY, "p" * 300), "put"), (("ada", "order 5"), "put")])
        writer.put("ledger", "lines", [("dan", ["put"])])
    with open_snapshot(tmp_path / "new") as snapshot:
        held = {"ada": 0, LONG_KEY: new, "bob": new, "dan": new} | ({"cid": 2} if generations == 3 else {})
        assert numbers_in(snapshot, "total") == numbers_in(snapshot, "aging") == held
        entry, kind = snapshot.states("ledger")["total"], snapshot.states("ledger")["kind"]
        assert (entry.version, entry.schema, [each.number for each in entry.older]) == (2, new, list(range(new)))
        with open_snapshot(job) as before:
            assert kind == before.states("ledger")["kind"], "nothing was put there"
    keys = ("ada", "bob", "dan", LONG_KEY)
    shown = await shown_by_job(tmp_path / "next", tmp_path / "new", Newest, *keys, generations=generations)
    assert [shown[key]["total"].cents for key in keys] == [500, 3, 1, 2]
    assert [shown[key]["aging"].cents for key in keys] == [500, 3, 1, 2]
    assert shown["ada"]["parts"] == {"order 5": "put", "refund 5": "Refund r5"}
    assert shown[LONG_KEY]["parts"]["p" * 300] == "put"
    assert (shown["dan"]["lines"], shown["bob"]["lines"][:1]) == (["put"], ["item 6"])


async def test_what_is_transformed_has_one_schema_and_no_memory_of_others(tmp_path: Path) -> None:
    """`fn` is given values of the declared type, whatever they were; the result is as if it had always been so."""
    job = await run_all(tmp_path)
    given: list[Cents] = []

    def doubled(key: str, total: Cents) -> tuple[str, Cents]:
        given.append(total)
        return key, Cents(total.cents * 2, total.notes)

    made = pipeline(Newest, {})
    with write_savepoint(made, tmp_path / "new", base=job) as writer:
        writer.transform("ledger", "total", doubled)
        writer.transform("ledger", "parts", lambda item, part: (item, part))
    assert sorted(each.cents for each in given) == [300, 500, 700, 900]
    entry = entries(tmp_path / "new")["total"]
    assert (entry.version, entry.schema, entry.older) == (2, 0, [])
    with open_snapshot(tmp_path / "new") as snapshot:
        assert set(numbers_in(snapshot, "total").values()) == {0}
        assert snapshot.state("ledger", "total").get("bob") == {"cents": 1800, "notes": ("second",)}
        assert snapshot.states("ledger")["parts"].map_key == "str"
    with open_snapshot(job, pipeline=made) as before, open_snapshot(tmp_path / "new", pipeline=made) as after:
        found = {each.name: each for each in differences(before, after)}
        assert {name for name, each in found.items() if not each} == {"total"}
        assert (found["total"].different, found["parts"].same) == (4, 10)
    with open_snapshot(job) as before, open_snapshot(tmp_path / "new") as after:
        found = {each.name: each for each in differences(before, after, name="parts")}
        assert (found["parts"].same, found["parts"].different) == (1, 9), "as they are stored, they are of other types"
    shown = await shown_by_job(tmp_path / "next", tmp_path / "new", Newest, "ada", "bob")
    assert [shown[key]["total"].cents for key in ("ada", "bob")] == [1000, 1800]
    assert shown["ada"]["lines"] == ["item 5"]


@pytest.mark.parametrize("put_first", [True, False])
async def test_values_of_schemas_that_cannot_be_read_are_plain_for_the_function(
    *, put_first: bool, tmp_path: Path
) -> None:
    """Each as it was written; whichever comes first, what was put is of the one schema that there is at the end."""
    job = await run_all(tmp_path)

    def spoken(key: str, total: dict[str, Any]) -> tuple[str, str]:
        return key, " ".join(sorted(total))

    with write_savepoint(pipeline(Spoken, {}), tmp_path / "new", base=job) as writer:
        if put_first:
            writer.put("ledger", "total", [("dan", "put")])
        writer.transform("ledger", "total", spoken)
        if not put_first:
            writer.put("ledger", "total", [("dan", "put")])
    keys = ("ada", "bob", "cid", "dan")
    shown = await shown_by_job(tmp_path / "next", tmp_path / "new", Spoken, *keys)
    assert [shown[key]["total"] for key in keys] == ["euros lines", "amount lines notes", "cents notes", "put"]

    with (
        pytest.raises(RestoreError, match=r"could not start from this savepoint: state ledger\.total"),
        write_savepoint(pipeline(Spoken, {}), tmp_path / "refused", base=job) as writer,
    ):
        writer.put("ledger", "total", [("dan", "put")])
    assert not (tmp_path / "refused").exists()


async def test_a_savepoint_of_a_savepoint_goes_on_counting_schemas(tmp_path: Path) -> None:
    """What one put there, the next one keeps, and a job after both reads all of it."""
    job = await run_all(tmp_path, 1)
    with write_savepoint(pipeline(Second, {}), tmp_path / "1", base=job) as writer:
        writer.put("ledger", "total", [("bob", changed.Total(8.5, 1))])
    with write_savepoint(pipeline(Newest, {}, wide=40), tmp_path / "2", base=tmp_path / "1") as writer:
        writer.put("ledger", "total", [("cid", Cents(3))])
    with open_snapshot(tmp_path / "2") as snapshot:
        assert numbers_in(snapshot, "total") == {"ada": 0, LONG_KEY: 0, "bob": 1, "cid": 2}
    shown = await shown_by_job(tmp_path / "next", tmp_path / "2", Newest, "ada", "bob", "cid", wide=40, generations=1)
    assert [shown[key]["total"].cents for key in ("ada", "bob", "cid")] == [500, 850, 3]
