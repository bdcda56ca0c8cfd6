"""What holds for every test of the tree."""

from __future__ import annotations

import gc


def pytest_collection_finish() -> None:
    """Spare collections what pytest keeps to its end: going through 7,000 tests took each full one a quarter second."""
    gc.collect()
    gc.freeze()
