"""What `module:attribute` may name, and what is said when it names nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from actorstream.cli.loading import load_attribute, load_pipeline
from actorstream.errors import PlanError

if TYPE_CHECKING:
    from tests.cli.conftest import Shell

APP = """
from actorstream import Pipeline

pipeline = Pipeline("one")

def build():
    return Pipeline("two")

def broken():
    raise ValueError("no weather today")

class Namespace:
    inner = Pipeline("three")

number = 7
"""


def test_a_pipeline_is_found_in_the_working_directory(shell: Shell) -> None:
    """That is where a user stands; `python -m` looks there too."""
    shell.write("app_a.py", APP)
    assert load_pipeline("app_a:pipeline").name == "one"


def test_a_function_builds_the_pipeline(shell: Shell) -> None:
    """A module need not build everything when it is imported."""
    shell.write("app_b.py", APP)
    assert load_pipeline("app_b:build").name == "two"


def test_an_attribute_may_be_nested(shell: Shell) -> None:
    shell.write("app_c.py", APP)
    assert load_pipeline("app_c:Namespace.inner").name == "three"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("app_d", "expected module:attribute, for example app:pipeline"),
        ("app_d:", "expected module:attribute"),
        ("app_none:pipeline", "there is no module 'app_none'"),
        ("app_d.deeper:pipeline", "there is no module 'app_d.deeper'"),
        ("app_d:nothing", "module app_d has no 'nothing'"),
        ("app_d:number", "gives a int: expected a Pipeline, or a function that builds one"),
        ("app_d:broken", r"app_d:broken\(\) raised ValueError: no weather today"),
    ],
)
def test_what_cannot_be_loaded_is_said(shell: Shell, name: str, said: str) -> None:
    """One sentence instead of an importer's traceback."""
    shell.write("app_d.py", APP)
    with pytest.raises(PlanError, match=said):
        load_pipeline(name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import no_such_library", "importing app_e raised ModuleNotFoundError: No module named 'no_such_library'"),
        ("1 / 0", "importing app_e raised ZeroDivisionError"),
        ("from actorstream import Pipeline\nPipeline('x').source(7)", r"source\(7\)"),
    ],
)
def test_a_module_that_fails_says_why(shell: Shell, text: str, said: str) -> None:
    """A library that the module lacks must not look as if the module itself were missing."""
    shell.write("app_e.py", text)
    with pytest.raises(PlanError, match=said):
        load_attribute("app_e:pipeline", "pipeline")
