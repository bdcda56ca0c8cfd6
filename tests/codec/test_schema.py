"""Schemas: what a manifest keeps of an annotation."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Literal

import pytest

from actorstream.codec.schema import Schema, schema_of
from actorstream.codec.typed import codec_for
from actorstream.codec.upgrade import upgrade
from tests.codec.domain import Color, Everything, Order, Packed, Point, Profile, Reading, Refund, Shape, Tree

GOLDEN: list[tuple[object, str]] = [
    (int, "e112304b73f079f7"),
    (str, "eb67ad86541f0f34"),
    (datetime, "3c0dc30871c30ab6"),
    (object, "0000000000000000"),
    (Order, "4d2933358e4e239d"),
    (Order | Refund, "88465b820f44d1c3"),
    (Point, "ce230db63381c696"),
    (Profile, "a0cc6043c97aa364"),
    (Tree, "2ede316451ee73d1"),
    (dict[str, list[Order | None]], "b3adce9fcc5291d5"),
    (Color, "dc5a977d8ba3ba2c"),
    (Everything, "d6ce66952eb19e5f"),
]


@pytest.mark.parametrize(("annotation", "fingerprint"), GOLDEN, ids=lambda v: str(v)[:40])
def test_fingerprint_of_an_annotation_never_changes(annotation: object, fingerprint: str) -> None:
    """It is in manifests: a change would make every restore a question."""
    assert schema_of(annotation).fingerprint == fingerprint


@pytest.mark.parametrize("annotation", [Everything, Tree, Order | Refund, Packed, Reading, Shape, Literal[True, 1]])
def test_shape_is_json_and_survives_it(annotation: object) -> None:
    """A manifest is JSON: lists come back as lists, nothing else changes."""
    schema = schema_of(annotation)
    assert schema == codec_for(annotation).schema
    restored = Schema(schema.fingerprint, json.loads(json.dumps(schema.shape)))
    assert restored == schema
    assert upgrade(restored, Schema("other", schema.shape), {}) is None
