"""`netc demo`: what netc does, on the data that comes with it."""

from __future__ import annotations

import click


@click.group("demo", short_help="Show what netc does, on data that comes with it.", invoke_without_command=True)
@click.option("--steps", type=click.IntRange(1), help="Steps of training; else 1,000.")
@click.pass_context
def command(ctx: click.Context, steps: int | None) -> None:
    """Train LeNet on the digits that come with netc, then measure what fusion buys: about a minute."""
    if ctx.invoked_subcommand is None:
        from ..examples.demo import main

        main(steps)
