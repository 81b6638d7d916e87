"""`netc compile`: a net as a folder that runs with numpy alone."""

from __future__ import annotations

from pathlib import Path

import click

from .options import choice_of_machine, choice_of_program, dimensions, net_file, settings_of


@click.command("compile", short_help="Make a folder that needs only numpy.")
@net_file
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="A folder: new, or of an earlier call.",
)
@click.option(
    "--weights", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="Else those of the last run."
)
@choice_of_program(mode="test")
@choice_of_machine
def command(
    file: Path,
    out: Path,
    weights: tuple[Path, ...],
    net: str | None,
    mode: str,
    batch: int | None,
    dims: tuple[str, ...],
    settings: tuple[str, ...],
    outputs: tuple[str, ...],
    target: str,
    device: str,
    threads: int | None,
    seed: int | None,
) -> None:
    """Compile a net ahead of time: module, weights and manifest in a folder, which needs numpy and nothing of netc.

    Run it there with `python NET.py INPUT.npz`. Without --output all outputs of the net are compiled in, and nothing
    that only a loss needs.
    """
    from ..api import export

    found = export(
        file,
        out,
        weights=list(weights) or None,
        mode="train" if mode == "train" else "test",
        net=net,
        target=target,
        dims=dimensions(batch, dims),
        settings=settings_of(settings),
        outputs=outputs or None,
        seed=seed,
        notify=lambda text: click.echo(f"netc: {text}", err=True),
    )
    for path in found:
        click.echo(f"{path} ({path.stat().st_size:,} bytes)")
