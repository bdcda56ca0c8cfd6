"""Settings: code before environment before file before default, and no name that nobody knows."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorstream.api.settings import ResolvedSettings, Settings, SettingValues, duration_us
from actorstream.errors import PlanError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_defaults(tmp_path: Path) -> None:
    """Users rely on them: a change belongs in the change log."""
    assert Settings().resolved({}, str(tmp_path)) == ResolvedSettings(
        checkpoint_timeout_us=60_000_000,
        checkpoint_pause_us=0,
        tolerated_failures=3,
        retained=3,
        burst_us=5_000,
    )


def test_code_goes_before_environment_before_file(tmp_path: Path) -> None:
    (tmp_path / "actorstream.toml").write_text("retained = 3\ntolerated_failures = 30\nburst = 0.03\n")
    environ = {"ACTORSTREAM_RETAINED": "2", "ACTORSTREAM_TOLERATED_FAILURES": "20", "HOME": "/root"}
    resolved = Settings(retained=1).resolved(environ, str(tmp_path))
    assert (resolved.retained, resolved.tolerated_failures, resolved.burst_us) == (1, 20, 30_000)


def test_the_process_itself_is_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACTORSTREAM_CHECKPOINT_TIMEOUT", "2.5")
    (tmp_path / "actorstream.toml").write_text("checkpoint_pause = 4\n")
    resolved = Settings().resolved()
    assert (resolved.checkpoint_timeout_us, resolved.checkpoint_pause_us) == (2_500_000, 4_000_000)


def test_making_settings_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may stand at the top of a module: importing it must touch no disk."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "actorstream.toml").write_text("this is no TOML")
    settings = Settings()
    with pytest.raises(PlanError, match=r"actorstream\.toml cannot be read as TOML"):
        settings.resolved({})


def test_an_unknown_name_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    """The message lists those that exist: most unknown names are misspelt."""
    known = (
        "known are alignment_timeout, allow_dropped, burst, checkpoint_pause, checkpoint_timeout, claim, "
        "restore_as, retain, retained, "
        "timers_at_end, tolerated_failures, watchdog"
    )
    with pytest.raises(PlanError, match=f"Settings: there is no setting 'retains'; {known}"):
        Settings(retains=3)  # type: ignore[call-arg]
    with pytest.raises(PlanError, match=r"environment.*no setting 'retains'"):
        Settings().resolved({"ACTORSTREAM_RETAINS": "3"}, str(tmp_path))
    (tmp_path / "actorstream.toml").write_text("retains = 3")
    with pytest.raises(PlanError, match=r"actorstream\.toml: there is no setting 'retains'"):
        Settings().resolved({}, str(tmp_path))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"checkpoint_timeout": 0}, "checkpoint_timeout is 0, expected 0.001 seconds to one year"),
        ({"checkpoint_pause": -1}, "checkpoint_pause is -1"),
        ({"burst": "fast"}, "burst is 'fast', expected a timedelta or seconds"),
        ({"retained": 0}, "retained is 0, expected a whole number from 1"),
        ({"retained": 1.5}, "retained is 1.5"),
        ({"retained": True}, "retained is True"),
        ({"retained": 0}, "retained is 0"),
    ],
)
def test_a_value_out_of_its_range_is_refused(given: Any, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Settings(**given)


@pytest.mark.parametrize(("text", "shown"), [("many", "'many'"), ("", "''"), ("1.5", "1.5"), ("nan", "nan")])
def test_a_bad_value_in_the_environment_is_refused(text: str, shown: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=rf"the environment \(ACTORSTREAM_\*\): retained is {shown}"):
        Settings().resolved({"ACTORSTREAM_RETAINED": text}, str(tmp_path))


def test_settings_are_frozen_values() -> None:
    """A running job would not see a change."""
    settings = Settings(retained=2, burst=timedelta(milliseconds=1))
    assert settings == Settings(burst=timedelta(milliseconds=1), retained=2)
    assert hash(settings) == hash(Settings(burst=timedelta(milliseconds=1), retained=2))
    one, other = Settings(restore_as={"a": "b", "c": "d"}), Settings(restore_as={"c": "d", "a": "b"})
    assert one == other
    assert hash(one) == hash(other)
    assert settings != Settings(retained=3)
    assert repr(Settings(retained=2)) == "Settings(retained=2)"
    with pytest.raises(AttributeError, match="frozen"):
        settings.retained = 3


def test_every_setting_has_a_resolved_value() -> None:
    """One added to the first and forgotten in the second would be silently without effect."""
    names = {field.name.removesuffix("_us") for field in fields(ResolvedSettings)}
    assert names == set(SettingValues.__optional_keys__)


@given(st.integers(0, 31_536_000_000_000))
def test_a_timedelta_and_its_seconds_are_the_same_duration(us: int) -> None:
    duration = timedelta(microseconds=us)
    assert duration_us(duration, "x") == duration_us(duration.total_seconds(), "x") == us


@pytest.mark.parametrize("value", [None, "1", True, float("inf"), timedelta(days=400), -0.1, [1]])
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(PlanError, match="x is "):
        duration_us(value, "x")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"ACTORSTREAM_ALLOW_DROPPED": "old,views.last"}, {"allow_dropped": frozenset({"old", "views.last"})}),
        ({"ACTORSTREAM_RESTORE_AS": "a=b,c=d"}, {"restore_as": {"a": "b", "c": "d"}}),
        ({"ACTORSTREAM_CLAIM": "true"}, {"claim": True}),
        ({"ACTORSTREAM_CLAIM": "0"}, {"claim": False}),
    ],
)
def test_what_fits_a_snapshot_to_new_code_may_come_from_the_environment(
    tmp_path: Path, environ: dict[str, str], expected: dict[str, object]
) -> None:
    """An upgrade is an operator's matter as often as a programmer's."""
    resolved = Settings().resolved(environ, str(tmp_path))
    assert {name: getattr(resolved, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"allow_dropped": [1]}, "allow_dropped is \\[1\\], expected names of operators"),
        ({"restore_as": ["a"]}, "restore_as is \\['a'\\], expected names of operators"),
        ({"restore_as": {"a": ""}}, "restore_as is"),
        ({"claim": []}, r"claim is \[\], expected true or false"),
        ({"claim": "maybe"}, "claim is 'maybe', expected true or false"),
    ],
)
def test_wrong_values_for_a_restore_are_refused(given: dict[str, Any], message: str) -> None:
    """As every other setting."""
    with pytest.raises(PlanError, match=message):
        Settings(**given)
