"""A stored schema in a word or two, as its author would write the annotation."""

from __future__ import annotations

from typing import Any


def schema_text(shape: Any) -> str:  # noqa: ANN401, PLR0911  (JSON: see actorstream/codec/shapes.py; one way out a kind)
    """Give the words; a record by its name and fields."""
    if not isinstance(shape, dict):
        return str(shape)
    kind, inner = next(iter(shape.items()))
    match kind:
        case "record":
            return f"{inner}({', '.join(name for name, *_ in shape['fields'])})"
        case "maybe":
            return f"{schema_text(inner)} | None"
        case "tagged":
            return " | ".join(map(schema_text, inner.values()))
        case "one of" | "literal":
            return " | ".join(map(str, inner))
        case "dict" | "tuple of":
            return f"{kind.split()[0]}[{', '.join(map(schema_text, inner))}]"
        case "tuple":
            return f"tuple[{schema_text(inner)}, ...]"
        case "list" | "set" | "frozenset":
            return f"{kind}[{schema_text(inner)}]"
        case _:
            return str(inner)
