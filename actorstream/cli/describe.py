"""`actorstream describe module:pipeline`: what runs where, and what is promised of it."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import typer

from actorstream.cli.loading import load_pipeline

Format: TypeAlias = Literal["text", "mermaid"]


def describe(
    pipeline: Annotated[str, typer.Argument(metavar="MODULE:PIPELINE", help="A Pipeline, or what builds one.")],
    *,
    format: Annotated[Format, typer.Option(help="Words, or a flowchart for Markdown.")] = "text",  # noqa: A002
) -> None:
    """Draw a pipeline: actors, exchanges, and the guarantee of every source and sink."""
    typer.echo(load_pipeline(pipeline).describe(format), nl=False)
