"""`netc opt`: stages of the compiler on the text of a graph, as LLVM's `opt` and `xdsl-opt` run passes."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .options import arch_names, say


def _completed(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from ..passes.pipeline import LOWER, alone

    names = [name for target in LOWER for name, _ in alone(target)]
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


@click.command("opt", short_help="Run stages of the compiler on a graph's text.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), metavar="GRAPH.txt")
@click.option("--stage", "names", multiple=True, metavar="NAME", shell_complete=_completed, help="Run it; repeatable.")
@click.option("-o", "--output", "out", type=click.Path(path_type=Path, dir_okay=False), metavar="OUT.txt")
@click.option("--target", default="numpy", show_default=True, metavar="NAME", help="Whose stages make kernels.")
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, metavar="N")
@click.option("--arch", default="cuda:90", show_default=True, metavar="NAME", shell_complete=arch_names)
@click.option("--tf32", is_flag=True, help="Products of f32 by TF32.")
@click.option("--unfused", is_flag=True, help="Keep each op a kernel of its own.")
def command(
    file: Path,
    names: tuple[str, ...],
    out: Path | None,
    target: str,
    threads: int,
    arch: str,
    tf32: bool,
    unfused: bool,
) -> None:
    """Read the text of a graph, as `netc show --stage` prints it (`-` is standard input), run stages on it in the
    order given, and print what they leave; without a stage, print the graph.

    \b
    netc show lenet.net --stage simplify |
        netc opt - --stage materialize --stage fuse

    The stages are gradient (by all inputs and parameters), erase_surrogate, simplify, fold_weights, and those that make
    kernels for the target (`netc show --stages` lists them).
    """
    from ..compiler.text_reader import MAX_SIZE
    from ..grammar.parse import file_bytes
    from ..grammar.source import UserError
    from ..passes.lowering.machines import DEVICES
    from ..passes.opt import opt
    from ..runtime.atomic import write_text
    from ..targets import check_target

    if arch not in DEVICES:
        raise UserError(f"there is no architecture `{arch[:40]}`; there are {', '.join(DEVICES)}")
    most = 4 * MAX_SIZE + 1
    piped = str(file) == "-"
    named = "standard input" if piped else str(file)
    data = sys.stdin.buffer.read(most) if piped else file_bytes(file, most)
    try:
        given = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        given = "\0"
    if "\0" in given:
        raise UserError(f"{named}: this is no text in UTF-8")
    precision = "tf32" if tf32 else "ieee"
    how = {"fused": not unfused, "threads": threads, "arch": arch, "precision": precision}
    unit = opt(given, names, target=check_target(target), file=named, **how)
    if out is None:
        say(unit.text(), nl=False)
    else:
        write_text(out, unit.text())
