"""From `module:attribute` to a pipeline."""

from __future__ import annotations

import importlib
import os
import sys

from actorstream.api.pipeline import Pipeline
from actorstream.errors import ActorstreamError, PlanError


def load_pipeline(name: str) -> Pipeline:
    """Import what `name` names; a function is called without arguments and must give a pipeline.

    The working directory is searched first, as with `python -m`.

    Raises:
        PlanError: There is no such module, attribute or pipeline, or importing or building it raised; says which.
    """
    found = load_attribute(name, "pipeline")
    if callable(found):
        try:
            found = found()
        except ActorstreamError:
            raise
        except Exception as error:  # the user's code: anything
            raise PlanError(f"{name}() raised {type(error).__name__}: {error}") from error
    if not isinstance(found, Pipeline):
        raise PlanError(f"{name} gives a {type(found).__name__}: expected a Pipeline, or a function that builds one")
    return found


def load_attribute(name: str, what: str) -> object:
    """Import `module:attribute`.

    Args:
        name: For example `app:pipeline`.
        what: What it should be, for messages.

    Raises:
        PlanError: There is no such module or attribute, or importing it raised.
    """
    module_name, _, path = name.partition(":")
    if not module_name or not path:
        raise PlanError(f"{name!r} names no {what}: expected module:attribute, for example app:{what}")
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module_name}.".startswith(f"{error.name}."):
            raise PlanError(f"there is no module {error.name!r}, neither in {folder} nor installed") from error
        raise PlanError(f"importing {module_name} raised ModuleNotFoundError: {error}") from error
    except ActorstreamError:
        raise
    except Exception as error:  # the user's code: anything
        raise PlanError(f"importing {module_name} raised {type(error).__name__}: {error}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise PlanError(f"module {module_name} has no {path!r}: check the name behind the colon")
        found = getattr(found, part)
    return found
