"""What is said where pyarrow is not installed."""

from __future__ import annotations

import sys

import pytest

from actorstream.connectors.files import Parquet
from actorstream.errors import PlanError
from tests.connectors.files.setting import Hit


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"] or ["pyarrow"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PlanError, match=r"pip install 'actorstream\[arrow\]'"):
        Parquet(Hit)
