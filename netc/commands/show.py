"""`netc show`: a net at any station of its compilation, as text or as a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from ..request import Request
from .options import (
    MACHINE,
    NUMBERS,
    choice_of_arch,
    net_file,
    nothing_beside,
    program,
    say,
    settled,
    svg_file,
)


def _completed(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from ..passes.pipeline import ALONE, LOWER, plain
    from ..report.show import OTHERS

    names = [*OTHERS, "build", "update", "flatten", "precision", *(plain(name) for name, _ in ALONE)]
    names += [name for stages in LOWER.values() for name, _ in stages]
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


@click.command("show", short_help="Print or draw a stage of the compilation.")
@net_file
@click.option("--stage", default="graph", show_default=True, metavar="NAME", shell_complete=_completed)
@click.option("--stages", "listed", is_flag=True, help="List the stages: what each does, nodes, time.")
@click.option("--diff", "pair", nargs=2, metavar="A B", shell_complete=_completed, help="What stages A to B changed.")
@svg_file("Draw it instead.")
@program("outputs", *MACHINE, "threads", *NUMBERS, mode="auto")
@choice_of_arch
@click.option("--unfused", is_flag=True, help="Keep each op a kernel of its own.")
def command(
    file: Path,
    stage: str,
    listed: bool,
    pair: tuple[str, str] | None,
    svg: Path | None,
    request: Request,
    arch: str,
    unfused: bool,
) -> None:
    """Print a station of the compilation.

    \b
    ast       the syntax tree
    graph     the net as primitives, before anything is done to it
    gradient  with gradients and the solver's update
    fused     as kernels, each with its body
    kernels   the launches in order, with layers, lines, and buffers;
              with --arch, what each kernel uses of a GPU
    source    the generated module

    Any stage of --stages can be shown too: the passes, and how kernels are made, as text that `netc opt` reads.
    """
    from ..grammar.source import UserError

    if stage == "ast":
        if svg is not None:
            raise UserError("--svg draws the stages graph, gradient, fused and kernels, not ast")
        from ..report.shown import tree_shown

        nothing_beside("--stage ast", "file", "stage", "settings", "shapes", "lenient")
        say(str(tree_shown(file, request)))
        return
    from ..driver import compilation
    from ..report.show import difference, picture, stages_table
    from ..report.shown import looked_at, shown

    made = settled(compilation(file, replace(looked_at(request), fused=not unfused)), request)
    if listed or pair:
        if stage != "graph" or svg is not None or arch or (listed and pair):
            raise UserError("--stages and --diff are asked for alone, without --stage, --svg, --arch or each other")
        if pair:
            say(difference(made, *pair) or f"{pair[0]} and {pair[1]} leave the same graph")
        else:
            stages_table(made).show()
        return
    if arch:
        if stage != "kernels" or svg is not None:
            raise UserError("--arch is for --stage kernels as text")
        from ..report.kernels import compiled_for, kernel_table

        kernel_table(*compiled_for(made, arch), arch).show()
        return
    if svg is not None:
        from ..runtime.atomic import write_text

        write_text(svg, picture(made, stage))
        say(f"{svg}: {stage} of {made.net.name}", err=True)
    else:
        say(str(shown(made, stage)))
