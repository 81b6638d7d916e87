"""`netc compile`: a net as a folder that runs with numpy alone, or with a GPU's driver alone."""

from __future__ import annotations

from pathlib import Path

import click

from ..grammar.source import UserError
from ..numbers import Numbers
from .options import (
    arch_names,
    choice_of_machine,
    choice_of_numbers,
    choice_of_program,
    choice_of_schedules,
    dimensions,
    net_file,
    settings_of,
)

ARCH_HELP = "GPUs, as cuda:90,hip:gfx942; else all that are known."


def _names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(",")) if value is not None else ()
    if not all(names):
        raise UserError(f"--arch wants names between commas, as cuda:80,cuda:90; not `{value}`")
    return names


@click.command("compile", short_help="Make a folder that runs without netc.")
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
@click.option("--arch", metavar="NAME,...", callback=_names, shell_complete=arch_names, help=ARCH_HELP)
@click.option("--train", "update", is_flag=True, help="A training step that learns (target triton).")
@choice_of_program(mode="test")
@choice_of_machine(threads=False)
@choice_of_numbers
@choice_of_schedules(ahead=True)
def command(
    file: Path,
    out: Path,
    weights: tuple[Path, ...],
    arch: tuple[str, ...],
    update: bool,
    net: str | None,
    mode: str,
    batch: int | None,
    dims: tuple[str, ...],
    settings: tuple[str, ...],
    outputs: tuple[str, ...],
    target: str,
    device: str,
    seed: int | None,
    numbers: Numbers,
) -> None:
    """Compile a net ahead of time: module, weights and manifest in a folder, which needs numpy and nothing of netc.

    Run it there with `python NET.py INPUT.npz`. Without --output all outputs of the net are compiled in, and nothing
    that only a loss needs.

    With --target triton the folder holds kernels for each --arch, compiled on any machine, and launchers in Python
    (`netc_program.py`) and C (`main.c`), which need the GPU's driver; its README.md says how they are used.
    """
    from ..api.functions import export
    from ..export.exporting import kernel_progress

    if mode == "train" and not update:
        note = "--mode train alone is the net as it is in training, dropout included; a step that learns is --train"
        click.echo(f"netc: {note} (target triton)", err=True)
    with kernel_progress() as told:
        found = export(
            file,
            out,
            weights=list(weights) or None,
            mode="train" if mode == "train" else "test",
            net=net,
            target=target,
            precision=numbers.precision,
            tf32=numbers.tf32,
            dims=dimensions(batch, dims),
            settings=settings_of(settings),
            outputs=outputs or None,
            archs=arch,
            update=update,
            seed=seed,
            told=told,
            notify=lambda text: click.echo(f"netc: {text}", err=True),
        )
    below: dict[Path, list[int]] = {}
    for path in found:
        if path.parent == out:
            click.echo(f"{path} ({path.stat().st_size:,} bytes)")
        else:
            below.setdefault(path.parent, []).append(path.stat().st_size)
    for folder, sizes in below.items():
        click.echo(f"{folder} ({len(sizes)} files, {sum(sizes):,} bytes)")
