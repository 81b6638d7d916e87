"""`netc show`: a net at any station of its compilation, as text or as a picture."""

from __future__ import annotations

from pathlib import Path

import click

from ..numbers import Numbers
from .options import (
    choice_of_arch,
    choice_of_machine,
    choice_of_numbers,
    choice_of_program,
    dimensions,
    net_file,
    nothing_beside,
    settings_of,
    shown_for,
)

STAGES = ("ast", "graph", "gradient", "fused", "kernels", "source")


@click.command("show", short_help="Print or draw a stage of the compilation.")
@net_file
@click.option("--stage", type=click.Choice(STAGES), default="graph", show_default=True)
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.svg", help="Draw it instead.")
@choice_of_program(mode="train")
@choice_of_machine(seed=False)
@choice_of_numbers
@choice_of_arch
@click.option("--unfused", is_flag=True, help="Keep each op a kernel of its own.")
def command(
    file: Path,
    stage: str,
    svg: Path | None,
    net: str | None,
    mode: str,
    batch: int | None,
    dims: tuple[str, ...],
    settings: tuple[str, ...],
    outputs: tuple[str, ...],
    target: str,
    device: str,
    threads: int | None,
    numbers: Numbers,
    arch: str,
    unfused: bool,
) -> None:
    """Print a station of the compilation.

    \b
    ast       the syntax tree
    graph     the net as primitives, before anything is done to it
    gradient  with gradients and the solver's update
    fused     as kernels, each with its body
    kernels   the launches in order, with layers, lines, and buffers; with --arch, what each kernel uses of a GPU
    source    the generated module
    """
    from ..grammar.source import UserError

    if stage == "ast":
        if svg is not None:
            raise UserError("--svg draws the stages graph, gradient, fused and kernels, not ast")
        from ..report.show import ast

        nothing_beside("--stage ast", "file", "stage")
        click.echo(ast(file), nl=False)
        return
    from ..driver import compilation
    from ..report.show import TEXTS, picture

    made = compilation(
        file,
        mode=mode,
        net=net,
        dims=dimensions(batch, dims),
        settings=settings_of(settings),
        outputs=outputs or None,
        update=None,
        fused=not unfused,
        target=target,
        numbers=numbers,
        device=device,
        arch=shown_for(target, device),
        threads=threads,
    )
    if arch:
        if stage != "kernels" or svg is not None:
            raise UserError("--arch is for --stage kernels as text")
        from ..report.kernels import compiled_for, kernel_table

        kernel_table(*compiled_for(made, arch), arch).show()
        return
    if stage == "gradient" and mode == "test":
        raise UserError("there are no gradients in test mode; use --mode train")
    if svg is not None:
        from ..runtime.atomic import write_text

        write_text(svg, picture(made, stage))
        click.echo(f"{svg}: {stage} of {made.net.name}", err=True)
    else:
        click.echo(TEXTS[stage](made).rstrip("\n"))
