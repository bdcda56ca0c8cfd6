"""A stored schema in a word or two, as its author would write the annotation."""

from __future__ import annotations

from typing import Any

from actorstream.codec.shape_grammar import strange_part


def schema_text(shape: Any) -> str:  # noqa: ANN401  (JSON: see actorstream/codec/shape_grammar.py)
    """Give the words; a record by its name and fields. One that this version does not know is shown as it is."""
    return _text(shape) if strange_part(shape) is None else f"{shape!r:.200}"


def _text(shape: Any) -> str:  # noqa: ANN401, PLR0911  (JSON; one way out a kind)
    if not isinstance(shape, dict):
        return str(shape)
    kind, inner = next(iter(shape.items()))
    match kind:
        case "record":
            return f"{inner}({', '.join(name for name, *_ in shape['fields'])})"
        case "maybe":
            return f"{_text(inner)} | None"
        case "tagged":
            return " | ".join(map(_text, inner.values()))
        case "one of" | "literal":
            return " | ".join(map(str, inner))
        case "dict" | "tuple of":
            return f"{kind.split()[0]}[{', '.join(map(_text, inner))}]"
        case "tuple":
            return f"tuple[{_text(inner)}, ...]"
        case "list" | "set" | "frozenset":
            return f"{kind}[{_text(inner)}]"
        case _:
            return str(inner)
