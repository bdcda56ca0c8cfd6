"""Write the golden texts anew, to be read in the diff: `python -m tests.operators.accept`."""

from __future__ import annotations

from pathlib import Path

from tests.operators.chains import CHAINS

GOLDEN = Path(__file__).parent / "golden" / "steps.txt"


def written() -> str:
    """Give every chain's function under its name."""
    return "\n".join(f"# {name}\n{make().step.source}" for name, make in CHAINS.items())


if __name__ == "__main__":
    GOLDEN.write_text(written())
