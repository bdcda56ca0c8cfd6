"""The newest of three generations of a program, to be named as `tests.cli.newest:pipeline`."""

from __future__ import annotations

from tests.evolve import generations

pipeline = generations.pipeline(generations.Newest, {})
