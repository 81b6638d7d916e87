"""`netc compile`: a net as a folder that runs with numpy alone, or with a GPU's driver alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from ..grammar.source import UserError
from ..request import Request
from ..weights import Weights
from .options import MACHINE, NUMBERS, SCHEDULES, arch_names, net_file, program, say, tell, weights_files

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
@weights_files()
@click.option("--arch", metavar="NAME,...", callback=_names, shell_complete=arch_names, help=ARCH_HELP)
@click.option("--train", "update", is_flag=True, help="A training step that learns (targets c, triton).")
@click.option("--labels", type=click.Path(path_type=Path, dir_okay=False), help="Names of the classes, a line each.")
@click.option("--embed", is_flag=True, help="Put the weights into the source (target c).")
@click.option(
    "--cc", default="", metavar="COMMAND", help="Build the program by this C compiler, for its machine (target c)."
)
@click.option("--untrained", is_flag=True, help="First values: the net is not trained.")
@program("outputs", *MACHINE, "seed", *NUMBERS, *SCHEDULES, "max_memory", mode="test", ahead=True)
def command(
    file: Path,
    out: Path,
    weights: Weights,
    arch: tuple[str, ...],
    update: bool,
    labels: Path | None,
    embed: bool,
    cc: str,
    untrained: bool,
    request: Request,
) -> None:
    """Compile a net ahead of time: module, weights and manifest in a folder, which needs numpy and nothing of netc.

    Run it there with `python NET.py INPUT.npz`. Without --output all outputs of the net are compiled in, and nothing
    that only a loss needs. The weights are those of the net's last run, unless --weights names some; without any,
    --untrained has to say that first values are meant.

    With --target c the folder holds C that needs the C library alone: NET.h, NET.c, a class for C++, a program that
    classifies images, a Makefile and a CMakeLists.txt. --cc builds the program too, for another machine if that is what
    the compiler is for: --cc "zig cc -target aarch64-linux-musl".

    With --target triton the folder holds kernels for each --arch, compiled on any machine, and launchers in Python
    (`netc_program.py`) and C (`main.c`), which need the GPU's driver; its README.md says how they are used.
    """
    from ..api.inference import read_labels
    from ..deployment.exporting import export, kernel_progress

    if weights and untrained:
        raise UserError("--weights and --untrained contradict each other")
    if request.mode == "train" and not update:
        note = "--mode train alone is the net as it is in training, dropout included; a step that learns is --train"
        tell(f"{note} (targets c, triton)")
    with kernel_progress() as told:
        want = replace(request, update=update)
        names = read_labels(labels)
        found = export(
            file,
            want,
            out,
            weights,
            archs=arch,
            labels=names,
            embed=embed,
            cc=cc,
            untrained=untrained,
            told=told,
            notify=tell,
        )
    below: dict[Path, list[int]] = {}
    for path in found:
        if path.parent == out:
            say(f"{path} ({path.stat().st_size:,} bytes)")
        else:
            below.setdefault(path.parent, []).append(path.stat().st_size)
    for folder, sizes in below.items():
        say(f"{folder} ({len(sizes)} files, {sum(sizes):,} bytes)")
